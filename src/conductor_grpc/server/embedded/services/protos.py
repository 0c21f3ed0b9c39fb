"""Tasks and workflows as the released server shows them, field by field (seen on 3.32.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conductor_grpc.payload.reference_writer import varint
from conductor_grpc.pb.model.task_pb2 import Task
from conductor_grpc.pb.model.workflow_pb2 import Workflow
from conductor_grpc.server.embedded.engine.values import fill_values
from conductor_grpc.server.embedded.services.external_storage import fill_payload

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_WORKFLOW_TASK: Final = varint(Task.WORKFLOW_TASK_FIELD_NUMBER << 3 | 2)
_CONSTANT: Final = Task(callback_from_worker=True, execution_metadata={}).SerializeToString()
"""What every task says: the execution metadata is there, and empty."""


def task_wire(task: TaskRecord, *, strict: bool) -> bytes:
    """A `conductor.proto.Task`, serialized. Raises UnmappableValue in strict mode for an integer in a payload.

    Its place in the workflow definition, the larger part of it, was serialized when the workflow was planned.
    """
    place = task.plan.wire
    return b"".join(
        (_message(task, strict=strict).SerializeToString(), _CONSTANT, _WORKFLOW_TASK, varint(len(place)), place)
    )


def task_message(task: TaskRecord, *, strict: bool) -> Task:
    """As `task_wire`, for an answer that a task is a part of."""
    message = _message(task, strict=strict)
    message.MergeFromString(_CONSTANT)
    message.workflow_task.MergeFromString(task.plan.wire)
    return message


def _message(task: TaskRecord, *, strict: bool) -> Task:
    workflow = task.workflow
    message = Task(
        task_type=task.task_type,
        status=task.status,
        reference_task_name=task.reference_name,
        retry_count=task.retry_count,
        seq=task.seq,
        correlation_id=task.correlation_id,
        poll_count=task.poll_count,
        task_def_name=task.name,
        scheduled_time=task.scheduled_time,
        start_time=task.start_time,
        end_time=task.end_time,
        update_time=task.update_time,
        start_delay_in_seconds=task.start_delay_seconds,
        retried_task_id=task.retried_task_id,
        retried=task.retried,
        executed=task.executed,
        response_timeout_seconds=task.response_timeout_seconds,
        workflow_instance_id=workflow.workflow_id,
        workflow_type=workflow.name,
        task_id=task.task_id,
        reason_for_incompletion=task.reason,
        callback_after_seconds=task.callback_after_seconds,
        worker_id=task.worker_id,
        domain=task.domain,
        input_message=task.input_message,
        output_message=task.output_message,
        workflow_priority=workflow.priority,
        iteration=task.iteration,
        sub_workflow_id=task.sub_workflow_id,
        subworkflow_changed=task.sub_workflow_changed,
        first_start_time=task.first_start_time,
        parent_task_id=task.parent_task_id,
    )
    if task.plan.type == "SIMPLE":
        definition = task.definition
        message.rate_limit_per_frequency = definition.rate_limit_per_frequency
        message.rate_limit_frequency_in_seconds = definition.rate_limit_frequency_in_seconds
    message.external_input_payload_storage_path = fill_payload(
        message.input_data, task.input, task.external_input_path, f"input/{task.task_id}.json", strict=strict
    )
    message.external_output_payload_storage_path = fill_payload(
        message.output_data, task.output, task.external_output_path, f"output/{task.task_id}.json", strict=strict
    )
    return message


def workflow_message(workflow: WorkflowRecord, *, include_tasks: bool, strict: bool) -> Workflow:
    """A `conductor.proto.Workflow`. Raises UnmappableValue in strict mode for an integer in what it holds."""
    message = Workflow(
        status=workflow.status,
        end_time=workflow.end_time,
        workflow_id=workflow.workflow_id,
        parent_workflow_id=workflow.parent_workflow_id,
        parent_workflow_task_id=workflow.parent_workflow_task_id,
        correlation_id=workflow.correlation_id,
        re_run_from_workflow_id=workflow.rerun_from_workflow_id,
        reason_for_incompletion=workflow.reason,
        event=workflow.event,
        task_to_domain=workflow.task_to_domain,
        failed_reference_task_names=workflow.failed_reference_names,
        external_input_payload_storage_path=workflow.external_input_path,
        external_output_payload_storage_path=workflow.external_output_path,
        priority=workflow.priority,
        last_retried_time=workflow.last_retried_time,
        failed_task_names=workflow.failed_task_names,
    )
    message.workflow_definition.MergeFromString(workflow.plan.wire)
    fill_values(message.input, workflow.input, strict=strict)
    fill_values(message.output, workflow.output, strict=strict)
    fill_values(message.variables, workflow.variables, strict=strict)
    if include_tasks:
        message.tasks.extend(task_message(task, strict=strict) for task in workflow.tasks)
    return message
