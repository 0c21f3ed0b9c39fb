"""A workflow as the JSON document that REST would show: what a failure workflow gets as `failedWorkflow`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord, WorkflowRecord


def described(workflow: WorkflowRecord) -> Payload:
    """Its state with all its tasks, under REST's names; integers are integers."""
    return {
        "workflowId": workflow.workflow_id,
        "workflowName": workflow.name,
        "workflowVersion": workflow.version,
        "status": workflow.status.value,
        "reasonForIncompletion": workflow.reason,
        "correlationId": workflow.correlation_id,
        "priority": workflow.priority,
        "createTime": workflow.create_time,
        "endTime": workflow.end_time,
        "input": workflow.input,
        "output": workflow.output,
        "variables": workflow.variables,
        "taskToDomain": dict(workflow.task_to_domain),
        "failedReferenceTaskNames": list(workflow.failed_reference_names),
        "failedTaskNames": list(workflow.failed_task_names),
        "tasks": [_described(task) for task in workflow.tasks],
    }


def _described(task: TaskRecord) -> Payload:
    return {
        "taskId": task.task_id,
        "taskType": task.task_type,
        "taskDefName": task.name,
        "referenceTaskName": task.reference_name,
        "status": task.status.value,
        "reasonForIncompletion": task.reason,
        "retryCount": task.retry_count,
        "retriedTaskId": task.retried_task_id,
        "seq": task.seq,
        "iteration": task.iteration,
        "pollCount": task.poll_count,
        "workerId": task.worker_id,
        "scheduledTime": task.scheduled_time,
        "startTime": task.start_time,
        "endTime": task.end_time,
        "updateTime": task.update_time,
        "inputData": task.input,
        "outputData": task.output,
    }
