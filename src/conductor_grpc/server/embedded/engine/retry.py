"""RetryWorkflow: new attempts at what has failed, as the released server makes them (seen on 3.32.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import ConflictFailure, NotFoundFailure
from conductor_grpc.server.embedded.engine.revival import (
    GOES_ON,
    child_of,
    go_on,
    is_unsuccessful,
    reopen,
    revive_parents,
)
from conductor_grpc.server.embedded.engine.scheduling import enter
from conductor_grpc.server.embedded.engine.tasks import new_attempt
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


def retry(engine: Engine, workflow_id: str, resume_subworkflow_tasks: bool) -> None:
    """New attempts at whatever has not succeeded, whether or not retries are left and without any delay.

    :param resume_subworkflow_tasks: retry the sub-workflow that has failed, and not start it anew.
    :raises NotFoundFailure: there is no such workflow, or it has not ended (the released server's choice).
    :raises ConflictFailure: there is nothing to retry.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.is_open:
            raise NotFoundFailure(f"Workflow is still running.  status={workflow.status.value}")
        if not workflow.tasks:
            raise ConflictFailure("Workflow has not started yet")
        if resume_subworkflow_tasks:
            if not any(map(is_unsuccessful, workflow.tasks)):
                return
            workflow = _innermost(engine, workflow)
        _retry(engine, workflow)
        revive_parents(engine, workflow, "retried")


def _innermost(engine: Engine, workflow: WorkflowRecord) -> WorkflowRecord:
    """The sub-workflow, at any depth, whose failure has made this one fail; itself if there is none."""
    while True:
        failed = next(task for task in workflow.tasks if is_unsuccessful(task))
        if failed.plan.type != "SUB_WORKFLOW":
            return workflow
        child = child_of(engine, failed)
        if not any(map(is_unsuccessful, child.tasks)):
            return workflow
        workflow = child


def _retry(engine: Engine, workflow: WorkflowRecord) -> None:
    latest = {task.reference_name: task for task in workflow.tasks}
    failed = [task for task in latest.values() if task.has_failed]
    cancelled = [each for each in failed if each.plan.type in GOES_ON and each.status is TaskStatus.CANCELED]
    if len(failed) == len(cancelled) and workflow.status is not WorkflowStatus.TIMED_OUT:
        raise ConflictFailure(
            "There are no retryable tasks! Use restart if you want to attempt entire workflow execution again."
        )
    reopen(engine, workflow)
    workflow.last_retried_time = engine.clock.now()
    for task in sorted(failed, key=lambda each: each.seq):
        if task.plan.type in GOES_ON:
            go_on(engine, task)
        else:
            _attempt_again(engine, task)


def _attempt_again(engine: Engine, task: TaskRecord) -> None:
    attempt = new_attempt(task)
    attempt.retry_count = task.retry_count + 1
    attempt.retried_task_id = task.task_id
    attempt.start_delay_seconds = attempt.callback_after_seconds = 0
    task.retried = task.executed = True
    engine.touch(task)
    enter(engine, task.workflow, [attempt])
