"""RetryWorkflow: a workflow that has failed goes on with new attempts at what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import fork, join, references, states, states_of_workers_tasks, task_named, terminate_task
from wire import error_of, plain, simple, status, statuses
from workflow_calls import failure, pause, retry, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

NOTHING_TO_RETRY = failure(
    "There are no retryable tasks! Use restart if you want to attempt entire workflow execution again.",
    "ConflictException",
)


LOST_JOIN = "a JOIN that a retry took up may fail the workflow again or never end, if the server was looking at it"


def failed(server: ServerUnderTest, **definition: object) -> tuple[str, str]:
    """A workflow whose second task has failed with the reason "bad"; the type of that task and the workflow's id."""
    first, second = server.task_definition(), server.task_definition(**definition)
    node = simple(second, "second", input_parameters={"from": "${first.output.out}"})
    workflow_id = server.start(
        server.workflow(simple(first, "first"), node, output_parameters={"x": "${second.output.x}"})
    )
    server.complete(server.take(first), out="1")
    server.fail(server.take(second), "bad")
    return second, workflow_id


def test_retry_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: retry(server, "nope")) == unknown_workflow("nope")


def test_retry_needs_a_workflow_id(server: ServerUnderTest) -> None:
    expected = failure("retryWorkflow.arg0: WorkflowId cannot be null or empty.", "ConstraintViolationException")
    assert error_of(lambda: retry(server, "")) == expected


def test_retry_of_a_running_workflow(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    expected = failure("Workflow is still running.  status=RUNNING", "NotFoundException")
    assert error_of(lambda: retry(server, workflow_id)) == expected


def test_retry_of_a_paused_workflow(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    pause(server, workflow_id)
    expected = failure("Workflow is still running.  status=PAUSED", "NotFoundException")
    assert error_of(lambda: retry(server, workflow_id)) == expected


def test_retry_of_a_completed_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.complete(server.take(task_type))
    assert error_of(lambda: retry(server, workflow_id)) == NOTHING_TO_RETRY


def test_retry_of_what_a_terminate_task_failed(server: ServerUnderTest) -> None:
    workflow_id = server.start(server.workflow(terminate_task("end", "FAILED")))
    assert error_of(lambda: retry(server, workflow_id)) == NOTHING_TO_RETRY


def test_retry_makes_a_new_attempt_with_the_same_input(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server)
    old = server.get(workflow_id).tasks[1]
    retry(server, workflow_id)
    new = server.take(task_type)
    assert new.task_id != old.task_id
    assert (new.retried_task_id, new.retry_count, new.seq, new.poll_count) == (old.task_id, 1, 3, 1)
    assert (plain(new.input_data), new.reason_for_incompletion) == ({"from": "1"}, "")


def test_retry_leaves_the_old_attempt_as_it_was(server: ServerUnderTest) -> None:
    _, workflow_id = failed(server)
    old = server.get(workflow_id).tasks[1]
    retry(server, workflow_id)
    retried = server.get(workflow_id).tasks[1]
    assert (old.retried, retried.retried, retried.executed) == (False, True, True)
    assert (status(retried), retried.reason_for_incompletion) == ("FAILED", "bad")
    assert (retried.task_id, retried.end_time) == (old.task_id, old.end_time)


def test_retry_makes_the_workflow_run_again(server: ServerUnderTest) -> None:
    """What tells of its failure stays, but for the reason."""
    task_type, workflow_id = failed(server)
    old = server.get(workflow_id)
    retry(server, workflow_id)
    workflow = server.get(workflow_id)
    assert (status(workflow), workflow.reason_for_incompletion) == ("RUNNING", "")
    assert old.last_retried_time == 0 < old.end_time <= workflow.last_retried_time
    assert (workflow.end_time, plain(workflow.output)) == (old.end_time, {"x": None})
    assert list(workflow.failed_reference_task_names) == ["second"]
    assert list(workflow.failed_task_names) == [task_type]


def test_a_retried_workflow_completes(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server)
    retry(server, workflow_id)
    server.complete(server.take(task_type), x="2")
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "2"})
    assert statuses(workflow) == ["COMPLETED", "FAILED", "COMPLETED"]
    assert list(workflow.failed_reference_task_names) == ["second"]


def test_retry_waits_for_no_retry_delay(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server, retry_delay_seconds=60)
    retry(server, workflow_id)
    assert server.take(task_type).retry_count == 1


def test_retry_counts_on_beyond_the_retries_of_the_definition(server: ServerUnderTest) -> None:
    task_type, workflow_id = failed(server)
    for attempt in (1, 2):
        retry(server, workflow_id)
        task = server.take(task_type)
        assert task.retry_count == attempt
        server.fail(task, "again")
        assert status(server.get(workflow_id)) == "FAILED"
    assert [task.retry_count for task in server.get(workflow_id).tasks] == [0, 0, 1, 2]


def test_retry_after_a_terminal_error(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.update(server.take(task_type), "FAILED_WITH_TERMINAL_ERROR")
    retry(server, workflow_id)
    assert server.take(task_type).retry_count == 1


def test_retry_of_a_terminated_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.terminate(workflow_id, "stop")
    retry(server, workflow_id)
    assert server.take(task_type).retry_count == 1
    assert statuses(server.get(workflow_id)) == ["CANCELED", "IN_PROGRESS"]


@pytest.mark.differs("sqlite", LOST_JOIN)
@pytest.mark.differs("redis", LOST_JOIN)
def test_retry_takes_up_what_the_failure_of_another_branch_cancelled(server: ServerUnderTest) -> None:
    """The JOIN is the same task as before, not another attempt."""
    one, two = server.task_definition(), server.task_definition()
    tasks = fork("fork", [simple(one, "a")], [simple(two, "b")]), join("join", "a", "b")
    workflow_id = server.start(server.workflow(*tasks))
    server.take(two)
    server.fail(server.take(one))
    failed = server.get(workflow_id)
    assert states_of_workers_tasks(failed) == {"fork": "COMPLETED", "a": "FAILED", "b": "CANCELED"}
    retry(server, workflow_id)
    workflow = server.get(workflow_id)
    attempts = {(task.reference_task_name, task.retry_count) for task in workflow.tasks}
    assert attempts >= {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    if server.name in ("sqlite", "redis"):
        return
    assert task_named(workflow, "join").task_id == task_named(failed, "join").task_id
    assert references(workflow) == ["fork", "a", "b", "join", "a", "b"]
    assert states(workflow) == {"fork": "COMPLETED", "a": "SCHEDULED", "b": "SCHEDULED", "join": "IN_PROGRESS"}
    server.complete(server.take(one), x="1")
    server.complete(server.take(two), x="2")
    joined = task_named(server.ended(workflow_id), "join")
    assert plain(joined.output_data) == {"a": {"x": "1"}, "b": {"x": "2"}}
