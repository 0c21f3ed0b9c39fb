"""Workflow and task records <-> the texts that the store keeps of them.

A record is a JSON object of its fields that differ from their defaults. Floats keep their point ("5.0"), so that
they come back as floats and integers as integers.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from google.protobuf.any_pb2 import Any as AnyMessage

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.plan import WorkflowPlan

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_MESSAGES = ("input_message", "output_message")


def _plain_fields(cls: type, *others: str) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of the fields that are JSON values and are kept as they are."""
    fields = (field for field in dataclasses.fields(cls) if field.name not in others)
    return tuple((field.name, _default(field)) for field in fields)


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


# `queued` follows from the status when the record is loaded, and a log's lines have rows of their own.
_TASK_FIELDS = _plain_fields(TaskRecord, "workflow", "plan", "queued", "logs", *_MESSAGES)
_WORKFLOW_FIELDS = _plain_fields(WorkflowRecord, "plan", "tasks")


def task_text(task: TaskRecord) -> str:
    """What is kept of a task. Raises ValueError, TypeError or RecursionError for what is no JSON value."""
    values = {name: value for name, default in _TASK_FIELDS if (value := getattr(task, name)) != default}
    values["plan"] = task.plan.reference_name
    for name in _MESSAGES:
        message = getattr(task, name)
        if message is not None:
            values[name] = base64.b64encode(message.SerializeToString()).decode()
    return _encode(values)


def task_from(text: str, workflow: WorkflowRecord) -> TaskRecord:
    """The task again. Raises ValueError, KeyError or TypeError for what `task_text` has not made."""
    values = json.loads(text)
    values["plan"] = workflow.plan.by_reference[values["plan"]]
    values["status"] = TaskStatus(values["status"])
    for name in _MESSAGES:
        if name in values:
            values[name] = AnyMessage.FromString(base64.b64decode(values[name]))
    return TaskRecord(workflow=workflow, **values)


def workflow_text(workflow: WorkflowRecord) -> str:
    """What is kept of a workflow besides its definition and its tasks; as `task_text`."""
    return _encode({name: value for name, default in _WORKFLOW_FIELDS if (value := getattr(workflow, name)) != default})


def workflow_from(text: str, plan: WorkflowPlan) -> WorkflowRecord:
    """The workflow again, without its tasks; as `task_from`."""
    values = json.loads(text)
    values["status"] = WorkflowStatus(values.get("status", WorkflowStatus.RUNNING))
    return WorkflowRecord(plan=plan, **values)
