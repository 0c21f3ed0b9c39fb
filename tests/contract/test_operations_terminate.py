"""Calls that end a workflow or take it away: TerminateWorkflow and RemoveWorkflow; and ResetWorkflowCallbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from control_tasks import fork, join, states_of_workers_tasks
from wire import Failure, error_of, plain, simple, status, statuses
from workflow_calls import failure, remove, reset_callbacks, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


# -- TerminateWorkflow --


def test_terminate_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.terminate("nope")) == unknown_workflow("nope")


def test_terminate_needs_a_workflow_id(server: ServerUnderTest) -> None:
    text = "terminateWorkflow.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: server.terminate("")) == failure(text, "ConstraintViolationException")


def test_terminate_a_completed_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.complete(server.take(task_type))
    expected = failure("Cannot terminate a COMPLETED workflow.", "ConflictException")
    assert error_of(lambda: server.terminate(workflow_id)) == expected


def test_a_terminated_workflow_tells_why(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    parameters = {"x": "${only.output.x}", "k": "${workflow.input.k}"}
    workflow_id = server.start(server.workflow(simple(task_type, "only"), output_parameters=parameters), {"k": "v"})
    server.terminate(workflow_id, "enough")
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == ("TERMINATED", "enough")
    assert (plain(workflow.output), list(workflow.failed_reference_task_names)) == ({"x": None, "k": "v"}, [])
    assert workflow.end_time > 0


def test_a_reason_may_be_empty(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    server.terminate(workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == ("TERMINATED", "")


def test_open_tasks_of_a_terminated_workflow_are_cancelled(server: ServerUnderTest) -> None:
    """Be they scheduled or worked on."""
    one, two, three = (server.task_definition() for _ in range(3))
    branches = [simple(one, "a")], [simple(two, "b")], [simple(three, "c")]
    workflow_id = server.start(server.workflow(fork("fork", *branches), join("join", "a", "b", "c")))
    server.complete(server.take(one))
    server.take(two)
    server.terminate(workflow_id)
    workflow = server.get(workflow_id)
    assert states_of_workers_tasks(workflow) == {
        "fork": "COMPLETED",
        "a": "COMPLETED",
        "b": "CANCELED",
        "c": "CANCELED",
    }
    assert all(task.end_time for task in workflow.tasks if task.task_type != "JOIN")
    assert server.poll(three, wait=-1) == []


def test_terminating_again_changes_nothing(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    server.terminate(workflow_id, "first")
    before = server.get(workflow_id)
    server.terminate(workflow_id, "second")
    assert server.get(workflow_id) == before


def test_a_failed_workflow_can_be_terminated(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.fail(server.take(task_type), "bad")
    server.terminate(workflow_id, "enough")
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == ("TERMINATED", "enough")
    assert (statuses(workflow), list(workflow.failed_task_names)) == (["FAILED"], [task_type])


def test_a_late_update_of_a_cancelled_task_is_taken_and_ignored(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.terminate(workflow_id)
    before = server.get(workflow_id)
    server.complete(task, x="late")
    assert server.get(workflow_id) == before


# -- RemoveWorkflow --


def test_remove_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: remove(server, "nope")) == unknown_workflow("nope")


def test_remove_needs_a_workflow_id(server: ServerUnderTest) -> None:
    text = "deleteWorkflow.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: remove(server, "")) == failure(text, "ConstraintViolationException")


def test_a_removed_workflow_is_gone(server: ServerUnderTest) -> None:
    """Even one that runs; its tasks and what the queue held of it go with it."""
    task_type, workflow_id = server.start_task()
    (task,) = server.get(workflow_id).tasks
    remove(server, workflow_id)
    assert error_of(lambda: server.get(workflow_id)) == unknown_workflow(workflow_id)
    not_found = Failure(grpc.StatusCode.NOT_FOUND, f"No such task found by id={task.task_id}", None)
    assert error_of(lambda: server.task(task.task_id)) == not_found
    assert server.poll(task_type, wait=-1) == []
    assert error_of(lambda: remove(server, workflow_id)) == unknown_workflow(workflow_id)


def test_an_update_of_a_task_of_a_removed_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    remove(server, workflow_id)
    assert error_of(lambda: server.complete(task)) == unknown_workflow(workflow_id)


def test_an_open_workflow_cannot_be_archived(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    text = f"Cannot archive workflow: {workflow_id} with status: RUNNING"
    assert error_of(lambda: remove(server, workflow_id, archive=True)) == failure(text, "IllegalArgumentException")
    assert status(server.get(workflow_id)) == "RUNNING"


@pytest.mark.parametrize("archive", [False, True])
def test_an_ended_workflow_can_be_removed(server: ServerUnderTest, archive: bool) -> None:
    _, workflow_id = server.start_task()
    server.terminate(workflow_id)
    remove(server, workflow_id, archive=archive)
    assert error_of(lambda: server.get(workflow_id)) == unknown_workflow(workflow_id)


# -- ResetWorkflowCallbacks --


def test_reset_callbacks_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: reset_callbacks(server, "nope")) == unknown_workflow("nope")


def test_reset_callbacks_needs_a_workflow_id(server: ServerUnderTest) -> None:
    text = "resetWorkflow.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: reset_callbacks(server, "")) == failure(text, "ConstraintViolationException")


def test_reset_callbacks_of_an_ended_workflow(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    server.terminate(workflow_id)
    expected = failure("Workflow is in terminal state. Status = TERMINATED", "ConflictException")
    assert error_of(lambda: reset_callbacks(server, workflow_id)) == expected


def test_reset_callbacks_makes_waiting_tasks_pollable(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.update(server.take(task_type), "IN_PROGRESS", {"half": "done"}, callback_after_seconds=60)
    (waiting,) = server.get(workflow_id).tasks
    assert (status(waiting), waiting.callback_after_seconds) == ("SCHEDULED", 60)
    reset_callbacks(server, workflow_id)
    task = server.take(task_type)
    assert (task.task_id, task.poll_count, task.callback_after_seconds) == (waiting.task_id, 2, 0)
    assert (plain(task.output_data), task.start_time) == ({"half": "done"}, waiting.start_time)


def test_reset_callbacks_leaves_tasks_that_are_worked_on(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.take(task_type)
    before = server.get(workflow_id)
    reset_callbacks(server, workflow_id)
    assert server.get(workflow_id) == before
