"""DO_WHILE: the tasks of its body, its output, and what a failure does to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_tasks import do_while, fork, join, set_variable, switch, terminate_task
from definition_calls import UNEXPLAINED
from loops import THREE_TIMES, Loop
from wire import error_of, plain, simple, status
from workflow_calls import failure, retry

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def test_the_tasks_of_a_body_come_one_after_the_other_in_every_iteration(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, "$.loop['iteration'] < 2", simple(task_type, "a"), simple(task_type, "b"))
    seen = []
    for _ in range(4):
        task = server.take(task_type)
        seen.append((task.reference_task_name, task.iteration, task.seq))
        server.complete(task)
    assert seen == [("a__1", 1, 2), ("b__1", 1, 3), ("a__2", 2, 4), ("b__2", 2, 5)]
    loop.last()


def test_a_body_reads_the_latest_output(server: ServerUnderTest) -> None:
    """Of its own iteration where there is one, else of the one before; the numbered name means nothing."""
    task_type = server.task_definition()
    inputs = {"mine": "${a.output.x}", "numbered": "${a__1.output.x}"}
    body = (
        simple(task_type, "a", input_parameters={"before": "${a.output.x}"}),
        simple(task_type, "b", input_parameters=inputs),
    )
    Loop(server, "$.loop['iteration'] < 2", *body)
    seen = []
    for count in range(4):
        task = server.take(task_type)
        seen.append(plain(task.input_data))
        server.complete(task, x=str(count))
    assert seen == [
        {"before": None},
        {"mine": "0", "numbered": None},
        {"before": "0"},
        {"mine": "2", "numbered": None},
    ]


def test_the_iteration_can_be_read_as_text(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    body = simple(task_type, "a", input_parameters={"text": "no. ${loop.output.iteration}"})
    Loop(server, "$.loop['iteration'] < 2", body)
    for text in ("no. 1", "no. 2"):
        task = server.take(task_type)
        assert plain(task.input_data) == {"text": text}
        server.complete(task)


def test_the_output_is_that_of_every_iteration(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    inputs = {
        "one": "${loop.output.1}",
        "two": "${loop.output.2}",
        "deep": "${loop.output.2.b.x}",
        "count": "${loop.output.iteration} iterations",
        "latest": "${a.output.x}",
    }
    body = simple(task_type, "a"), simple(task_type, "b")
    loop = Loop(server, "$.loop['iteration'] < 2", *body, last_input=inputs)
    for count in range(4):
        server.complete(server.take(task_type), x=str(count))
    assert loop.last() == {
        "one": {"a": {"x": "0"}, "b": {"x": "1"}},
        "two": {"a": {"x": "2"}, "b": {"x": "3"}},
        "deep": "3",
        "count": "2 iterations",
        "latest": "2",
    }


def test_an_iteration_can_be_read_while_the_next_one_runs(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    body = simple(task_type, "a", input_parameters={"one": "${loop.output.1}", "two": "${loop.output.2}"})
    Loop(server, "$.loop['iteration'] < 2", body)
    server.complete(server.take(task_type), x="1")
    assert plain(server.take(task_type).input_data) == {"one": {"a": {"x": "1"}}, "two": None}


def test_a_switch_in_a_body(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    chosen = switch("switch", "${workflow.variables.seen}", {"yes": [simple(task_type, "b")]}, [simple(task_type, "a")])
    loop = Loop(
        server,
        "$.loop['iteration'] < 2",
        chosen,
        set_variable("set", seen="yes"),
        last_input={"one": "${loop.output.1}", "two": "${loop.output.2}"},
    )
    for name in ("a__1", "b__2"):
        task = server.take(task_type)
        assert task.reference_task_name == name
        server.complete(task)
    null, yes = ({"evaluationResult": [case], "selectedCase": case} for case in ("null", "yes"))
    assert loop.last() == {
        "one": {"switch": null, "a": {}, "set": {}},
        "two": {"switch": yes, "b": {}, "set": {}},
    }


def test_a_fork_in_a_body(server: ServerUnderTest) -> None:
    """The JOIN's own output has the numbered names."""
    one, two = server.task_definition(), server.task_definition()
    body = fork("fork", [simple(one, "a")], [simple(two, "b")]), join("join", "a", "b")
    loop = Loop(server, "$.loop['iteration'] < 2", *body, last_input={"one": "${loop.output.1}"})
    for _ in range(2):
        server.complete(server.take(one), x="1")
        server.complete(server.take(two), x="2")
    joined = {"a__1": {"x": "1"}, "b__1": {"x": "2"}}
    assert loop.last() == {"one": {"fork": {}, "a": {"x": "1"}, "b": {"x": "2"}, "join": joined}}


def test_a_body_of_the_servers_own_tasks_runs_at_once(server: ServerUnderTest) -> None:
    body = set_variable("set", now="no. ${loop.output.iteration}", before="${workflow.variables.now}")
    loop = Loop(server, THREE_TIMES, body)
    assert plain(server.get(loop.id, tasks=False).variables) == {"now": "no. 3", "before": "no. 2"}


def test_a_terminate_task_in_a_body(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    end = terminate_task("end", "COMPLETED", workflowOutput={"x": "${a.output.x}"})
    loop = Loop(server, "true", simple(task_type, "a"), end)
    server.complete(server.take(task_type), x="1")
    workflow = server.get(loop.id, tasks=False)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "1"})


def test_a_loop_at_the_end_gives_the_workflow_the_output_of_the_last_task_in_it(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(do_while("loop", "$.loop['iteration'] < 2", simple(task_type, "a"))))
    for count in range(2):
        server.complete(server.take(task_type), x=str(count))
    workflow = server.get(workflow_id, tasks=False)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "1"})


def test_a_loop_needs_a_body(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.workflow(do_while("loop", THREE_TIMES))) == UNEXPLAINED


# -- failures --


def test_a_failing_body_fails_the_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, THREE_TIMES, simple(task_type, "a"))
    server.complete(server.take(task_type))
    task = server.take(task_type)
    server.fail(task, "bad")
    workflow = server.get(loop.id, tasks=False)
    assert (status(workflow), list(workflow.failed_reference_task_names)) == ("FAILED", ["a__2"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'bad'"


def test_an_optional_loop_fails_the_workflow_all_the_same(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, THREE_TIMES, simple(task_type, "a"), optional=True)
    server.fail(server.take(task_type))
    assert loop.status == "FAILED"


def test_an_optional_task_of_a_body_may_fail(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, "$.loop['iteration'] < 2", simple(task_type, "a", optional=True))
    server.fail(server.take(task_type))
    server.complete(server.take(task_type))
    loop.last()


def test_a_retry_within_an_iteration(server: ServerUnderTest) -> None:
    task_type = server.task_definition(retry_count=1)
    loop = Loop(server, "$.loop['iteration'] < 2", simple(task_type, "a"), last_input={"one": "${loop.output.1}"})
    server.fail(server.take(task_type))
    again = server.take(task_type)
    assert (again.reference_task_name, again.iteration, again.retry_count) == ("a__1", 1, 1)
    server.complete(again, x="1")
    server.complete(server.take(task_type), x="2")
    assert loop.last() == {"one": {"a": {"x": "1"}}}


def test_a_failed_loop_goes_on_after_retry_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, THREE_TIMES, simple(task_type, "a"))
    server.complete(server.take(task_type))
    server.fail(server.take(task_type))
    retry(server, loop.id)
    for name, attempt in (("a__2", 1), ("a__3", 0)):
        task = server.take(task_type)
        assert (task.reference_task_name, task.retry_count) == (name, attempt)
        server.complete(task)
    loop.last()


# -- integers --


def test_a_workflow_with_a_loop_can_be_read_only_without_its_tasks(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    loop = Loop(server, THREE_TIMES, simple(task_type, "a"))
    expected = failure("cannot map to Value type: 1", "ClassCastException")
    assert error_of(lambda: server.get(loop.id)) == expected
    assert loop.status == "RUNNING"
    assert server.task(server.take(task_type).task_id).iteration == 1


def test_the_iteration_as_a_number_poisons_the_task_that_gets_it(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    Loop(server, THREE_TIMES, simple(task_type, "a", input_parameters={"i": "${loop.output.iteration}"}))
    expected = failure("cannot map to Value type: 1", "ClassCastException")
    assert error_of(lambda: server.take(task_type)) == expected
