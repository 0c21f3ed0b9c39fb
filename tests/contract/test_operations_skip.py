"""SkipTaskFromWorkflow: a task that has not been scheduled yet is taken as done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import fork, join, references, set_variable, states, task_named
from wire import error_of, plain, simple, status
from workflow_calls import failure, pause, skip, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def three_tasks(server: ServerUnderTest) -> tuple[list[str], str]:
    """A workflow of three tasks, of which the first is scheduled; their types and its id."""
    one, two, three = (server.task_definition() for _ in range(3))
    last = simple(three, "three", input_parameters={"from": "${two.output.x}"})
    return [one, two, three], server.start(server.workflow(simple(one, "one"), simple(two, "two"), last))


def already_processed(reference_name: str) -> object:
    text = f"The task referenced {reference_name} has already been processed, cannot be skipped"
    return failure(text, "IllegalStateException")


def not_running(workflow_id: str, reference_name: str) -> object:
    text = f"The workflow {workflow_id} is not running so the task referenced by {reference_name} cannot be skipped"
    return failure(text, "IllegalStateException")


def test_skip_in_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: skip(server, "nope", "two")) == unknown_workflow("nope")


def test_skip_needs_both_names(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    no_workflow = "skipTaskFromWorkflow.arg0: WorkflowId name cannot be null or empty."
    no_task = "skipTaskFromWorkflow.arg1: TaskReferenceName cannot be null or empty."
    assert error_of(lambda: skip(server, "", "two")) == failure(no_workflow, "ConstraintViolationException")
    assert error_of(lambda: skip(server, workflow_id, "")) == failure(no_task, "ConstraintViolationException")


def test_skip_of_a_task_that_the_definition_does_not_have(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    name = server.get(workflow_id).workflow_definition.name
    text = f"The task referenced by nope does not exist in the WorkflowDefinition {name}"
    assert error_of(lambda: skip(server, workflow_id, "nope")) == failure(text, "IllegalStateException")


def test_skip_of_a_scheduled_task(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    assert error_of(lambda: skip(server, workflow_id, "one")) == already_processed("one")


def test_skip_of_a_completed_task(server: ServerUnderTest) -> None:
    (one, _, _), workflow_id = three_tasks(server)
    server.complete(server.take(one))
    assert error_of(lambda: skip(server, workflow_id, "one")) == already_processed("one")


def test_a_task_is_skipped_once(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    skip(server, workflow_id, "two")
    assert error_of(lambda: skip(server, workflow_id, "two")) == already_processed("two")


def test_skip_in_a_workflow_that_does_not_run(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    pause(server, workflow_id)
    assert error_of(lambda: skip(server, workflow_id, "two")) == not_running(workflow_id, "two")
    server.terminate(workflow_id)
    assert error_of(lambda: skip(server, workflow_id, "two")) == not_running(workflow_id, "two")


def test_a_skipped_task_tells_about_itself(server: ServerUnderTest) -> None:
    (_, two, _), workflow_id = three_tasks(server)
    skip(server, workflow_id, "two", task_input={"a": "b"}, task_output={"x": "y"})
    task = task_named(server.get(workflow_id), "two")
    assert (status(task), task.task_type, task.task_def_name) == ("SKIPPED", two, two)
    assert (plain(task.input_data), plain(task.output_data)) == ({"a": "b"}, {"x": "y"})
    assert (task.seq, task.retry_count, task.poll_count, task.start_time, task.update_time) == (0, 0, 0, 0, 0)
    assert task.end_time > 0
    assert (task.executed, task.worker_id) == (False, "")
    assert task.workflow_task.task_reference_name == "two"


def test_a_skipped_task_may_have_neither_input_nor_output(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    skip(server, workflow_id, "two")
    task = task_named(server.get(workflow_id), "two")
    assert (plain(task.input_data), plain(task.output_data)) == ({}, {})


def test_skipped_tasks_are_listed_before_all_others(server: ServerUnderTest) -> None:
    _, workflow_id = three_tasks(server)
    skip(server, workflow_id, "two")
    assert references(server.get(workflow_id)) == ["two", "one"]


def test_the_task_after_a_skipped_one_follows(server: ServerUnderTest) -> None:
    (one, _, three), workflow_id = three_tasks(server)
    skip(server, workflow_id, "two", task_output={"x": "skipped"})
    server.complete(server.take(one))
    assert plain(server.take(three).input_data) == {"from": "skipped"}
    assert states(server.get(workflow_id)) == {"two": "SKIPPED", "one": "COMPLETED", "three": "IN_PROGRESS"}


def test_skipped_tasks_in_a_row(server: ServerUnderTest) -> None:
    (one, _, _), workflow_id = three_tasks(server)
    skip(server, workflow_id, "two")
    skip(server, workflow_id, "three")
    server.complete(server.take(one))
    assert status(server.get(workflow_id)) == "COMPLETED"


def test_the_skipped_last_task_ends_the_workflow(server: ServerUnderTest) -> None:
    (one, two, _), workflow_id = three_tasks(server)
    skip(server, workflow_id, "three")
    server.complete(server.take(one))
    assert status(server.get(workflow_id)) == "RUNNING"
    server.complete(server.take(two))
    assert states(server.get(workflow_id)) == {"three": "SKIPPED", "one": "COMPLETED", "two": "COMPLETED"}
    assert status(server.get(workflow_id)) == "COMPLETED"


def test_a_branch_goes_on_after_a_skipped_task(server: ServerUnderTest) -> None:
    one, two, three = (server.task_definition() for _ in range(3))
    first = simple(one, "a"), simple(one, "a2"), simple(three, "a3")
    workflow_id = server.start(server.workflow(fork("fork", first, [simple(two, "b")]), join("join", "a3", "b")))
    skip(server, workflow_id, "a2")
    server.complete(server.take(one))
    server.complete(server.take(two), x="2")
    server.complete(server.take(three), x="3")
    joined = task_named(server.ended(workflow_id), "join")
    assert plain(joined.output_data) == {"a3": {"x": "3"}, "b": {"x": "2"}}


@pytest.mark.differs("embedded", "a JOIN takes a skipped task as done; the released server waits for it for ever")
def test_a_join_of_a_skipped_task_never_ends(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    tasks = fork("fork", [simple(one, "a"), simple(one, "a2")], [simple(two, "b")]), join("join", "a2", "b")
    workflow_id = server.start(server.workflow(*tasks))
    skip(server, workflow_id, "a2", task_output={"x": "skipped"})
    server.complete(server.take(one))
    server.complete(server.take(two), x="2")
    if server.name == "embedded":
        joined = task_named(server.ended(workflow_id), "join")
        assert plain(joined.output_data) == {"a2": {"x": "skipped"}, "b": {"x": "2"}}
        return
    server.until(lambda: "a2" in task_named(server.get(workflow_id), "join").output_data)
    server.decide(workflow_id)
    assert states(server.get(workflow_id))["join"] == "IN_PROGRESS"


def test_a_task_of_the_server_can_be_skipped(server: ServerUnderTest) -> None:
    """It then has its own name for a type."""
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type, "one"), set_variable("set", a="1")))
    skip(server, workflow_id, "set")
    assert task_named(server.get(workflow_id), "set").task_type == "set"
    server.complete(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.variables)) == ("COMPLETED", {})
