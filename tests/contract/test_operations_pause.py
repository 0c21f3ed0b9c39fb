"""PauseWorkflow and ResumeWorkflow: nothing more is scheduled in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import references, states
from wire import Failure, error_of, plain, simple, status, statuses
from workflow_calls import failure, pause, resume, running, unknown_workflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from server_under_test import ServerUnderTest


def two_tasks(server: ServerUnderTest) -> tuple[str, str, str]:
    """A workflow of two tasks, the first of them scheduled; their types and its id."""
    one, two = server.task_definition(), server.task_definition()
    return one, two, server.start(server.workflow(simple(one, "one"), simple(two, "two")))


def not_paused(workflow_id: str, status: str) -> Failure:
    text = f"The workflow {workflow_id} is not PAUSED so cannot resume. Current status is {status}"
    return failure(text, "IllegalStateException")


@pytest.mark.parametrize("call", [pause, resume])
def test_of_an_unknown_workflow(server: ServerUnderTest, call: Callable[[ServerUnderTest, str], None]) -> None:
    assert error_of(lambda: call(server, "nope")) == unknown_workflow("nope")


@pytest.mark.parametrize("call", [pause, resume])
def test_needs_a_workflow_id(server: ServerUnderTest, call: Callable[[ServerUnderTest, str], None]) -> None:
    text = f"{call.__name__}Workflow.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: call(server, "")) == failure(text, "ConstraintViolationException")


def test_a_paused_workflow_is_paused(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    assert status(server.get(workflow_id)) == "PAUSED"


def test_pausing_twice_is_fine(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    pause(server, workflow_id)
    assert status(server.get(workflow_id)) == "PAUSED"


def test_a_paused_workflow_schedules_nothing(server: ServerUnderTest) -> None:
    one, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    server.complete(server.take(one), x="1")
    server.decide(workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), states(workflow)) == ("PAUSED", {"one": "COMPLETED"})
    assert (plain(workflow.tasks[0].output_data), workflow.tasks[0].executed) == ({"x": "1"}, False)


def test_resume_schedules_what_is_next(server: ServerUnderTest) -> None:
    one, two, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    server.complete(server.take(one))
    resume(server, workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), states(workflow)) == ("RUNNING", {"one": "COMPLETED", "two": "SCHEDULED"})
    assert server.take(two).workflow_instance_id == workflow_id


def test_a_failure_in_the_pause_counts_at_resume(server: ServerUnderTest) -> None:
    one, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    server.fail(server.take(one), "bad")
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("PAUSED", ["FAILED"])
    resume(server, workflow_id)
    assert status(server.get(workflow_id)) == "FAILED"


def test_a_retry_waits_for_resume(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task(retry_count=1)
    pause(server, workflow_id)
    server.fail(server.take(task_type))
    assert statuses(server.get(workflow_id)) == ["FAILED"]
    resume(server, workflow_id)
    assert statuses(server.get(workflow_id)) == ["FAILED", "SCHEDULED"]


def test_the_last_task_done_in_the_pause_completes_at_resume(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    pause(server, workflow_id)
    server.complete(server.take(task_type), x="1")
    assert status(server.get(workflow_id)) == "PAUSED"
    resume(server, workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "1"})


def test_resume_of_a_running_workflow(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    assert error_of(lambda: resume(server, workflow_id)) == not_paused(workflow_id, "RUNNING")


def test_a_workflow_is_resumed_once(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    resume(server, workflow_id)
    assert error_of(lambda: resume(server, workflow_id)) == not_paused(workflow_id, "RUNNING")


def test_an_ended_workflow_can_be_neither_paused_nor_resumed(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition()))
    workflow_id = server.start(name)
    server.terminate(workflow_id)
    has_ended = f"Workflow {name}.1/{workflow_id} has ended, status cannot be updated."
    assert error_of(lambda: pause(server, workflow_id)) == failure(has_ended, "ConflictException")
    assert error_of(lambda: resume(server, workflow_id)) == not_paused(workflow_id, "TERMINATED")


def test_a_paused_workflow_can_be_terminated(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    pause(server, workflow_id)
    server.terminate(workflow_id, "stop")
    workflow = server.get(workflow_id)
    assert (status(workflow), references(workflow), statuses(workflow)) == ("TERMINATED", ["one"], ["CANCELED"])


def test_a_paused_workflow_counts_as_running(server: ServerUnderTest) -> None:
    _, _, workflow_id = two_tasks(server)
    name = server.get(workflow_id).workflow_definition.name
    pause(server, workflow_id)
    assert running(server, name) == [workflow_id]
