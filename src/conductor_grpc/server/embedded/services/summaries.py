"""Tasks and workflows in the short form in which the released server's index shows them (seen on 3.32.1, SQLite)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from conductor_grpc.pb.model.tasksummary_pb2 import TaskSummary
from conductor_grpc.pb.model.workflowsummary_pb2 import WorkflowSummary
from conductor_grpc.server.embedded.engine.java_text import java_text

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

CLASSIFIER = "workflow"
"""What an ordinary execution is called; there are no others here."""


def task_summary(task: TaskRecord, now: int) -> TaskSummary:
    """A task's summary. A time that has not come is 1970 in it, and counts as such in the execution time."""
    workflow = task.workflow
    return TaskSummary(
        workflow_id=workflow.workflow_id,
        workflow_type=workflow.name,
        correlation_id=task.correlation_id,
        scheduled_time=time_text(task.scheduled_time),
        start_time=time_text(task.start_time),
        update_time=time_text(task.update_time),
        end_time=time_text(task.end_time),
        status=task.status,
        reason_for_incompletion=task.reason,
        execution_time=task.end_time - task.start_time if task.end_time else 0,
        queue_wait_time=_queue_wait_time(task, now),
        task_def_name=task.name,
        task_type=task.task_type,
        input=java_text(task.input),
        output=java_text(task.output),
        task_id=task.task_id,
        external_input_payload_storage_path=task.external_input_path,
        external_output_payload_storage_path=task.external_output_path,
        workflow_priority=workflow.priority,
        domain=task.domain,
    )


def workflow_summary(workflow: WorkflowRecord) -> WorkflowSummary:
    """A workflow's summary. A time that has not come is left out."""
    return WorkflowSummary(
        workflow_type=workflow.name,
        version=workflow.version,
        workflow_id=workflow.workflow_id,
        correlation_id=workflow.correlation_id,
        start_time=time_text(workflow.create_time),
        update_time=time_text(workflow.update_time) if workflow.update_time else "",
        end_time=time_text(workflow.end_time) if workflow.end_time else "",
        status=workflow.status,
        input=java_text(workflow.input),
        output=java_text(workflow.output),
        reason_for_incompletion=workflow.reason,
        execution_time=workflow.end_time - workflow.create_time if workflow.end_time else 0,
        event=workflow.event,
        failed_reference_task_names=",".join(workflow.failed_reference_names),
        external_input_payload_storage_path=workflow.external_input_path,
        external_output_payload_storage_path=workflow.external_output_path,
        priority=workflow.priority,
        failed_task_names=workflow.failed_task_names,
        task_to_domain=workflow.task_to_domain,
        parent_workflow_id=workflow.parent_workflow_id,
        classifier=CLASSIFIER,
    )


def time_text(milliseconds: int) -> str:
    """A time as the index writes it: ISO 8601 in UTC, with milliseconds."""
    seconds, fraction = divmod(milliseconds, 1000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:03d}Z"


def _queue_wait_time(task: TaskRecord, now: int) -> int:
    """Milliseconds that it waited for its first poll; of one that was postponed, how long it has been due again."""
    if not (task.start_time and task.scheduled_time):
        return 0
    if task.update_time and task.callback_after_seconds:
        # A worker may name any int64 for seconds.
        return min(max(0, now - task.update_time - task.callback_after_seconds * 1000), 2**63 - 1)
    return task.start_time - task.scheduled_time
