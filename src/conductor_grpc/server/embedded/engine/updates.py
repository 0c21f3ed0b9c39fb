"""UpdateTask: what a worker reports, applied as the released server applies it (WorkflowExecutorOps.updateTask)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.server.embedded.engine import logs
from conductor_grpc.server.embedded.engine.failures import ConstraintViolation, NonTransientFailure
from conductor_grpc.server.embedded.engine.records import TaskLog
from conductor_grpc.server.embedded.engine.scheduling import offer
from conductor_grpc.server.embedded.engine.timeouts import SECOND
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord

_RACE_WINDOW = 0.003
"""Seconds between the read and the write of a lease extension: seen to undo a completion up to 3 ms apart."""

_STATUSES = {
    TaskResult.IN_PROGRESS: TaskStatus.IN_PROGRESS,
    TaskResult.FAILED: TaskStatus.FAILED,
    TaskResult.FAILED_WITH_TERMINAL_ERROR: TaskStatus.FAILED_WITH_TERMINAL_ERROR,
    TaskResult.COMPLETED: TaskStatus.COMPLETED,
    TaskResult.CANCELED: TaskStatus.CANCELED,
}


def update_task(engine: Engine, result: TaskResult) -> None:
    """Applies a result and decides its workflow. Raises EngineError; an update of what has ended changes nothing."""
    _require_ids(result)
    if result.extend_lease:
        _extend_lease(engine, result.task_id)
        return
    status = _STATUSES[result.status]
    output = from_values(result.output_data)
    with engine.transaction():
        workflow = engine.shelf.workflow(result.workflow_instance_id)
        task = engine.shelf.task(result.task_id)
        if not task.is_open or not workflow.is_open:
            return
        _apply(engine, task, result, status, output)
        if task.external_output_path:
            # There is no such storage. As on the released server the task is stored, and its workflow not decided.
            raise NonTransientFailure(
                f"Unable to download payload from external storage path: {task.external_output_path}"
            )
        if not engine.extending[task.task_id]:
            engine.decide_soon(workflow)
            return
    # The released server decides a while after it has stored the task: an extension may come in between.
    time.sleep(_RACE_WINDOW)
    with engine.transaction():
        engine.decide_soon(workflow)


def _require_ids(result: TaskResult) -> None:
    missing = []
    if not result.workflow_instance_id:
        missing.append("updateTask.arg0.workflowInstanceId: Workflow Id cannot be null or empty")
    if not result.task_id:
        missing.append("updateTask.arg0.taskId: Task ID cannot be null or empty")
    if missing:
        raise ConstraintViolation(", ".join(missing))


def _apply(engine: Engine, task: TaskRecord, result: TaskResult, status: TaskStatus, output: Payload) -> None:
    now = engine.clock.now()
    task.output = output
    task.reason = result.reason_for_incompletion
    task.worker_id = result.worker_id
    task.callback_after_seconds = result.callback_after_seconds
    task.sub_workflow_id = result.sub_workflow_id  # its child is a workflow of its own then
    if "subWorkflowId" in output:
        task.output = {**output, "subWorkflowId": result.sub_workflow_id}
    task.output_message = result.output_message if result.HasField("output_message") else None
    task.external_output_path = result.external_output_payload_storage_path
    for line in result.logs[: logs.PER_UPDATE]:
        task.logs.append(TaskLog(line.log, line.created_time))
    if status is not TaskStatus.IN_PROGRESS:
        task.status = status
        task.end_time = now
        engine.queues.remove(task)
        engine.on_task_ended(task)
    else:
        task.update_time = now
        if task.plan.type not in engine.controls:
            task.status = TaskStatus.SCHEDULED
            offer(engine, task, now + result.callback_after_seconds * SECOND)
    engine.touch(task)


def _extend_lease(engine: Engine, task_id: str) -> None:
    """Its response timeout counts from now.

    The released server reads the whole task, and writes it back a little later as it was: what an update has changed
    in between is undone. In strict mode so it is here.
    """
    if not engine.strict:
        with engine.transaction():
            task = engine.shelf.task(task_id)
            if task.is_open:
                task.update_time = engine.clock.now()
                engine.touch(task)
        return
    with engine.transaction():
        task = engine.shelf.task(task_id)
        if not task.is_open:
            return
        engine.extending[task_id] += 1
        as_read = (task.status, task.output, task.reason, task.worker_id, task.end_time, task.executed)
    time.sleep(_RACE_WINDOW)
    with engine.transaction():
        engine.extending[task_id] -= 1
        if not engine.extending[task_id]:
            del engine.extending[task_id]
        task.status, task.output, task.reason, task.worker_id, task.end_time, task.executed = as_read
        task.update_time = engine.clock.now()
        engine.touch(task)
