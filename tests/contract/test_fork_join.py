"""FORK_JOIN and JOIN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from control_tasks import fork, join, references, set_variable, states, states_of_workers_tasks, switch, task_named
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, status
from workflow_calls import pause, resume

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def two_branches(server: ServerUnderTest, *join_on: str, **fields: object) -> tuple[str, str, str, str]:
    """A fork of the tasks `a` and `b`, then `last`; the three types and the workflow's id."""
    one, two, three = (server.task_definition() for _ in range(3))
    tasks = fork("fork", [simple(one, "a", **fields)], [simple(two, "b")]), join("join", *join_on)
    last = simple(three, "last", input_parameters={"joined": "${join.output}"})
    return one, two, three, server.start(server.workflow(*tasks, last))


def test_all_branches_and_the_join_are_scheduled_with_the_fork(server: ServerUnderTest) -> None:
    *_, workflow_id = two_branches(server, "a", "b")
    workflow = server.get(workflow_id)
    assert references(workflow) == ["fork", "a", "b", "join"]
    assert [task.seq for task in workflow.tasks] == [1, 2, 3, 4]
    assert states(workflow) == {"fork": "COMPLETED", "a": "SCHEDULED", "b": "SCHEDULED", "join": "IN_PROGRESS"}


def test_a_fork_tells_about_itself(server: ServerUnderTest) -> None:
    *_, workflow_id = two_branches(server, "a", "b")
    task = task_named(server.get(workflow_id), "fork")
    assert (task.task_type, task.task_def_name, task.workflow_task.type) == ("FORK", "FORK", "FORK_JOIN")
    assert (plain(task.input_data), plain(task.output_data), task.executed) == ({}, {}, True)
    assert task.start_time == task.end_time > 0


def test_a_join_tells_what_it_joins_on(server: ServerUnderTest) -> None:
    *_, workflow_id = two_branches(server, "a", "b")
    task = task_named(server.get(workflow_id), "join")
    assert (task.task_type, plain(task.input_data)) == ("JOIN", {"joinOn": ["a", "b"]})
    assert task.start_time > 0


def test_join_waits_for_all_it_joins_on(server: ServerUnderTest) -> None:
    one, two, three, workflow_id = two_branches(server, "a", "b")
    server.complete(server.take(one), x="1")
    assert states(server.get(workflow_id))["join"] == "IN_PROGRESS"
    server.complete(server.take(two), x="2")
    assert plain(server.take(three).input_data) == {"joined": {"a": {"x": "1"}, "b": {"x": "2"}}}
    assert states(server.get(workflow_id))["join"] == "COMPLETED"


def test_join_leaves_out_tasks_without_output(server: ServerUnderTest) -> None:
    one, two, three, _ = two_branches(server, "a", "b")
    server.complete(server.take(one))
    server.complete(server.take(two), x="2")
    assert plain(server.take(three).input_data) == {"joined": {"b": {"x": "2"}}}


def test_join_on_some_of_the_branches(server: ServerUnderTest) -> None:
    """The branch that is not joined holds only the end of the workflow back."""
    one, two, three, workflow_id = two_branches(server, "a")
    server.complete(server.take(one), x="1")
    last = server.take(three)
    assert plain(last.input_data) == {"joined": {"a": {"x": "1"}}}
    server.complete(last)
    workflow = server.get(workflow_id)
    assert (status(workflow), states(workflow)["b"]) == ("RUNNING", "SCHEDULED")
    server.complete(server.take(two))
    assert status(server.get(workflow_id)) == "COMPLETED"


def test_join_on_a_task_in_the_middle_of_a_branch(server: ServerUnderTest) -> None:
    one, two, three = (server.task_definition() for _ in range(3))
    tasks = fork("fork", [simple(one, "a"), simple(one, "a2")], [simple(two, "b")]), join("join", "a", "b")
    workflow_id = server.start(server.workflow(*tasks, simple(three, "last")))
    server.complete(server.take(one))
    server.complete(server.take(two))
    server.take(three)
    assert states(server.get(workflow_id))["a2"] == "SCHEDULED"


def test_tasks_of_a_branch_come_one_after_the_other(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    second = simple(one, "a2", input_parameters={"from": "${a.output.x}"})
    tasks = fork("fork", [simple(one, "a"), second], [simple(two, "b")]), join("join", "a2", "b")
    workflow_id = server.start(server.workflow(*tasks))
    server.complete(server.take(one), x="1")
    task = server.take(one)
    assert (task.reference_task_name, plain(task.input_data)) == ("a2", {"from": "1"})
    assert references(server.get(workflow_id)) == ["fork", "a", "b", "join", "a2"]


def test_a_fork_may_be_last(server: ServerUnderTest) -> None:
    """The output of such a workflow is the last task's, which is the JOIN's."""
    one, two = server.task_definition(), server.task_definition()
    workflow_id = server.start(
        server.workflow(fork("fork", [simple(one, "a")], [simple(two, "b")]), join("j", "a", "b"))
    )
    server.complete(server.take(one), x="1")
    server.complete(server.take(two), x="2")
    workflow = server.ended(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"a": {"x": "1"}, "b": {"x": "2"}})


def test_a_failing_branch_ends_the_workflow(server: ServerUnderTest) -> None:
    one, _, _, workflow_id = two_branches(server, "a", "b")
    task = server.take(one)
    server.fail(task, "bad")
    workflow = server.get(workflow_id)
    assert status(workflow) == "FAILED"
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'bad'"
    assert states_of_workers_tasks(workflow) == {"fork": "COMPLETED", "a": "FAILED", "b": "CANCELED"}


def test_no_attempt_follows_the_failure_that_the_same_decision_finds_besides_a_last_one(
    server: ServerUnderTest,
) -> None:
    retried = server.task_definition(retry_count=1, retry_delay_seconds=0)
    last = server.task_definition()
    name = server.workflow(fork("fork", [simple(retried, "a")], [simple(last, "b")]), join("join", "a", "b"))
    workflow_id = server.start(name)
    pause(server, workflow_id)
    server.fail(server.take(retried))
    server.fail(server.take(last))
    resume(server, workflow_id)
    workflow = server.ended(workflow_id)
    assert states_of_workers_tasks(workflow) == {"fork": "COMPLETED", "a": "FAILED", "b": "FAILED"}
    assert [task.retried for task in workflow.tasks] == [False] * 4


HASTY_JOIN = "the JOIN may see a failed attempt before its retry is scheduled, and fails the workflow"


@pytest.mark.differs("sqlite", HASTY_JOIN)
@pytest.mark.differs("redis", HASTY_JOIN)
def test_a_retry_in_a_branch_joins(server: ServerUnderTest) -> None:
    is_hasty = server.name in ("sqlite", "redis")
    joined = server.until(lambda: joined_after_a_retry(server)) if is_hasty else joined_after_a_retry(server)
    assert joined == {"a": {"x": "1"}, "b": {"x": "2"}}


def joined_after_a_retry(server: ServerUnderTest) -> dict[str, Any]:
    """The output of a JOIN of two branches, in one of which a task fails once; empty if that failed the workflow."""
    one, two = server.task_definition(retry_count=1), server.task_definition()
    tasks = fork("fork", [simple(one, "a")], [simple(two, "b")]), join("join", "a", "b")
    workflow_id = server.start(server.workflow(*tasks))
    server.fail(server.take(one))
    for task in server.poll(one):
        server.complete(task, x="1")
    for task in server.poll(two):
        server.complete(task, x="2")
    return plain(task_named(server.ended(workflow_id), "join").output_data)


def test_a_failed_optional_task_joins(server: ServerUnderTest) -> None:
    """The JOIN then has completed with errors as well."""
    one, two, three, workflow_id = two_branches(server, "a", "b", optional=True)
    failed = server.take(one)
    server.fail(failed, "bad")
    server.complete(server.take(two), x="2")
    assert plain(server.take(three).input_data) == {"joined": {"b": {"x": "2"}}}
    joined = task_named(server.get(workflow_id), "join")
    assert states(server.get(workflow_id))["a"] == status(joined) == "COMPLETED_WITH_ERRORS"
    assert joined.reason_for_incompletion.strip() == f"{one}/{failed.task_id} completed with errors"


def test_a_fork_in_a_branch(server: ServerUnderTest) -> None:
    one, two, three = (server.task_definition() for _ in range(3))
    inner = fork("inner", [simple(one, "a")], [simple(one, "b")]), join("inner join", "a", "b"), simple(two, "c")
    outer = fork("outer", inner, [simple(three, "d")]), join("outer join", "c", "d")
    workflow_id = server.start(server.workflow(*outer))
    assert references(server.get(workflow_id)) == ["outer", "inner", "a", "b", "inner join", "d", "outer join"]
    server.complete(server.take(three), x="3")
    for _ in range(2):
        server.complete(server.take(one), x="1")
    server.complete(server.take(two), x="2")
    joined = task_named(server.ended(workflow_id), "outer join")
    assert plain(joined.output_data) == {"c": {"x": "2"}, "d": {"x": "3"}}


def test_branches_of_tasks_of_the_server(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    chosen = switch("switch", "yes", {"yes": [simple(task_type, "a")]})
    tasks = fork("fork", [chosen], [set_variable("set", v="1")]), join("join", "a", "set")
    workflow_id = server.start(server.workflow(*tasks))
    assert references(server.get(workflow_id)) == ["fork", "switch", "a", "set", "join"]
    server.complete(server.take(task_type), x="1")
    joined = task_named(server.ended(workflow_id), "join")
    assert plain(joined.output_data) == {"a": {"x": "1"}}


def test_join_on_a_switch_without_a_taken_case(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    nothing = switch("switch", "no", {"yes": [simple(task_type, "a")]})
    workflow_id = server.start(
        server.workflow(fork("fork", [nothing], [simple(task_type, "b")]), join("j", "switch", "b"))
    )
    server.complete(server.take(task_type), x="1")
    joined = task_named(server.ended(workflow_id), "j")
    assert plain(joined.output_data) == {"switch": {"evaluationResult": ["no"], "selectedCase": "no"}, "b": {"x": "1"}}


def test_tasks_of_one_type_in_all_branches_come_in_one_poll(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    refs = ["a", "b", "c"]
    tasks = fork("fork", *([simple(task_type, ref)] for ref in refs)), join("join", *refs)
    workflow_id = server.start(server.workflow(*tasks))
    polled = server.poll(task_type, count=3)
    assert sorted(task.reference_task_name for task in polled) == refs
    for task in polled:
        server.complete(task)
    assert status(server.ended(workflow_id)) == "COMPLETED"


def test_a_fork_needs_branches(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.workflow(fork("fork"), join("join"))) == UNEXPLAINED


@pytest.mark.parametrize("field", ["optional", "permissive"])
def test_a_permissive_or_optional_task_keeps_the_other_branches(server: ServerUnderTest, field: str) -> None:
    one, two, _, workflow_id = two_branches(server, "a", "b", **{field: True})
    server.fail(server.take(one))
    assert states(server.get(workflow_id))["b"] == "SCHEDULED"
    server.take(two)


def test_a_failed_permissive_task_fails_the_join(server: ServerUnderTest) -> None:
    one, two, _, workflow_id = two_branches(server, "a", "b", permissive=True)
    server.fail(server.take(one), "bad")
    server.complete(server.take(two))
    workflow = server.ended(workflow_id)
    assert (status(workflow), states(workflow)["join"]) == ("FAILED", "FAILED")
    assert sorted(workflow.failed_reference_task_names) == ["a", "join"]
