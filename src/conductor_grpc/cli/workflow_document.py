"""A workflow as the JSON that the command prints, with the keys that REST uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.clients import Workflow
    from conductor_grpc.worker import Task, TaskLog


def workflow_document(
    workflow: Workflow, *, tasks: bool = False, logs: Mapping[str, list[TaskLog]] | None = None
) -> dict[str, object]:
    """`reasonForIncompletion` and `correlationId` only where there is one; `tasks` only if asked for, with their
    `logs`, by the ids of the tasks, if these are given."""
    document: dict[str, object] = {
        "workflowId": workflow.workflow_id,
        "workflowName": workflow.name,
        "workflowVersion": workflow.version,
        "status": workflow.status.value,
        "correlationId": workflow.correlation_id,
        "reasonForIncompletion": workflow.reason_for_incompletion,
        "input": workflow.input,
        "output": workflow.output,
    }
    if tasks:
        document["tasks"] = [
            _task(task) if logs is None else _task(task) | {"logs": _lines(logs[task.task_id])}
            for task in workflow.tasks
        ]
    return {key: value for key, value in document.items() if value != ""}


def _lines(logs: list[TaskLog]) -> list[dict[str, object]]:
    return [{"log": each.log, "createdTime": each.created_time} for each in logs]


def _task(task: Task) -> dict[str, object]:
    document: dict[str, object] = {
        "taskId": task.task_id,
        "referenceTaskName": task.reference_task_name,
        "taskType": task.task_type,
        "status": task.status.value,
        "reasonForIncompletion": task.reason_for_incompletion,
        "retryCount": task.retry_count,
        "workerId": task.worker_id,
        "inputData": task.input_data,
        "outputData": task.output_data,
    }
    return {key: value for key, value in document.items() if value != ""}
