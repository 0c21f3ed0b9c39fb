"""What somebody from outside does to a workflow as a whole.

Errors are those of the released server, 3.32.1, in class and words. None of these blocks for longer than other calls
hold the engine's lock; all are thread-safe, and done to the end, decision included, when they return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import ending
from conductor_grpc.server.embedded.engine.failures import (
    ConflictFailure,
    IllegalArgumentFailure,
    IllegalStateFailure,
)
from conductor_grpc.server.embedded.engine.records import TaskRecord
from conductor_grpc.server.embedded.engine.rerun import rerun, restart
from conductor_grpc.server.embedded.engine.retry import retry
from conductor_grpc.server.embedded.engine.revival import short_name
from conductor_grpc.server.embedded.engine.scheduling import offer
from conductor_grpc.server.embedded.engine.tasks import new_id
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.pb.model.skiptaskrequest_pb2 import SkipTaskRequest
    from conductor_grpc.server.embedded.engine.engine import Engine

__all__ = [
    "decide",
    "pause",
    "remove",
    "rerun",
    "reset_callbacks",
    "restart",
    "resume",
    "retry",
    "skip_task",
    "terminate",
]


def decide(engine: Engine, workflow_id: str) -> None:
    """Brings it as far as it goes by itself; one that is paused or has ended stays as it is. Raises NotFoundFailure."""
    with engine.transaction():
        engine.decide_soon(engine.shelf.workflow(workflow_id))


def pause(engine: Engine, workflow_id: str) -> None:
    """Nothing is scheduled until it is resumed; what is scheduled already goes on.

    :raises NotFoundFailure: there is no such workflow.
    :raises ConflictFailure: it has ended.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if not workflow.is_open:
            raise ConflictFailure(f"Workflow {short_name(workflow)} has ended, status cannot be updated.")
        workflow.status = WorkflowStatus.PAUSED
        engine.touch(workflow)


def resume(engine: Engine, workflow_id: str) -> None:
    """A paused workflow goes on; its timeout counts from now.

    :raises NotFoundFailure: there is no such workflow.
    :raises IllegalStateFailure: it is not paused.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.status is not WorkflowStatus.PAUSED:
            raise IllegalStateFailure(
                f"The workflow {workflow_id} is not PAUSED so cannot resume. Current status is {workflow.status.value}"
            )
        workflow.status = WorkflowStatus.RUNNING
        workflow.last_retried_time = engine.clock.now()
        engine.touch(workflow)
        engine.decide_soon(workflow)


def skip_task(engine: Engine, workflow_id: str, reference_name: str, request: SkipTaskRequest) -> None:
    """Puts a SKIPPED task in the place of one that has not been reached yet, with the request's input and output.

    :raises NotFoundFailure: there is no such workflow.
    :raises IllegalStateFailure: it is not RUNNING, its definition has no such task, or that has been reached already.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.status is not WorkflowStatus.RUNNING:
            raise IllegalStateFailure(
                f"The workflow {workflow_id} is not running so the task referenced by {reference_name} cannot be"
                " skipped"
            )
        plan = workflow.plan.by_reference.get(reference_name)
        if plan is None:
            raise IllegalStateFailure(
                f"The task referenced by {reference_name} does not exist in the WorkflowDefinition {workflow.name}"
            )
        if workflow.by_reference(reference_name) is not None:
            raise IllegalStateFailure(
                f"The task referenced {reference_name} has already been processed, cannot be skipped"
            )
        now = engine.clock.now()
        task = TaskRecord(
            task_id=new_id(),
            workflow=workflow,
            plan=plan,
            task_type=plan.proto.name,
            reference_name=reference_name,
            status=TaskStatus.SKIPPED,
            name=plan.proto.name,
            input=from_values(request.task_input),
            output=from_values(request.task_output),
            input_message=request.task_input_message if request.HasField("task_input_message") else None,
            output_message=request.task_output_message if request.HasField("task_output_message") else None,
            scheduled_time=now,
            end_time=now,
        )
        # It has no number, and stands before all that have one.
        workflow.tasks.insert(0, task)
        engine.shelf.add_task(task)
        engine.touch(task)
        engine.decide_soon(workflow)


def reset_callbacks(engine: Engine, workflow_id: str) -> None:
    """Workers get the tasks now that wait for their callback or retry delay.

    :raises NotFoundFailure: there is no such workflow.
    :raises ConflictFailure: it has ended.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if not workflow.is_open:
            raise ConflictFailure(f"Workflow is in terminal state. Status = {workflow.status.value}")
        now = engine.clock.now()
        for task in workflow.tasks:
            if task.queued and task.callback_after_seconds > 0:
                task.callback_after_seconds = 0
                task.update_time = now
                offer(engine, task, now)
                engine.touch(task)


def terminate(engine: Engine, workflow_id: str, reason: str) -> None:
    """Ends it; its failure workflow is not started. One that is TERMINATED stays as it is.

    :raises NotFoundFailure: there is no such workflow.
    :raises ConflictFailure: it is COMPLETED.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.status is WorkflowStatus.COMPLETED:
            raise ConflictFailure("Cannot terminate a COMPLETED workflow.")
        if workflow.status is not WorkflowStatus.TERMINATED:
            ending.fail(engine, workflow, WorkflowStatus.TERMINATED, reason, failure_workflow=False)


def remove(engine: Engine, workflow_id: str, archive: bool) -> None:
    """It and its tasks are gone, whether it has ended or not; there is no archive that it could go to.

    :raises NotFoundFailure: there is no such workflow.
    :raises IllegalArgumentFailure: it is to be archived and has not ended.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if archive and workflow.is_open:
            raise IllegalArgumentFailure(f"Cannot archive workflow: {workflow_id} with status: {workflow.status.value}")
        engine.remove(workflow)
