"""What the clients answer with: small immutable views of the server's messages."""

# ruff: noqa: RUF009 - wire() makes a dataclass field, as dataclasses.field() does

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from conductor_grpc.errors import PayloadDecodeError
from conductor_grpc.payload.wire import WireReader, wire
from conductor_grpc.worker.status import TASK_STATUSES, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.errors import ServerError
    from conductor_grpc.worker.task import Task


class WorkflowStatus(str, enum.Enum):
    """The state of a workflow (`conductor.proto.Workflow.WorkflowStatus`)."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    TERMINATED = "TERMINATED"
    PAUSED = "PAUSED"

    @property
    def is_terminal(self) -> bool:
        """True if the workflow has ended; a restart, retry or rerun can still revive it."""
        return self not in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)


WORKFLOW_STATUSES = tuple(WorkflowStatus)
"""In the order of the numbers on the wire, from 0."""

Member = TypeVar("Member", bound=enum.Enum)


def member(members: tuple[Member, ...], number: int, what: str) -> Member:
    """The enum member with a number of the wire; PayloadDecodeError where a newer server has more."""
    if not 0 <= number < len(members):
        raise PayloadDecodeError(
            f"unknown {what} number {number} (known: 0 to {len(members) - 1}): the server is newer than this"
            " client, upgrade the client",
            "status",
        )
    return members[number]


@dataclass(frozen=True)
class WorkflowSummary:
    """One workflow as the server's index has it. Times are ISO 8601 texts, "" for "not yet"."""

    workflow_id: str = wire(3, "string")
    workflow_type: str = wire(1, "string")
    """The name of its definition."""
    version: int = wire(2, "int")
    correlation_id: str = wire(4, "string")
    start_time: str = wire(5, "string")
    update_time: str = wire(6, "string")
    end_time: str = wire(7, "string")
    status: WorkflowStatus = wire(8, "int", default=WorkflowStatus.RUNNING)
    input: str = wire(9, "string")
    """A text for people: Java's notation (`{x=7}`) unless the server is configured to write JSON."""
    output: str = wire(10, "string")
    """As `input`."""
    reason_for_incompletion: str = wire(11, "string")
    execution_time: int = wire(12, "int")
    """Milliseconds."""
    event: str = wire(13, "string")
    failed_reference_task_names: str = wire(14, "string")
    external_input_payload_storage_path: str = wire(15, "string")
    external_output_payload_storage_path: str = wire(16, "string")
    priority: int = wire(17, "int")
    failed_task_names: tuple[str, ...] = wire(18, "strings")
    created_by: str = wire(19, "string")
    task_to_domain: Mapping[str, str] = wire(20, "string_map")
    idempotency_key: str = wire(21, "string")
    parent_workflow_id: str = wire(22, "string")
    classifier: str = wire(23, "string")

    @classmethod
    def from_wire(cls, data: bytes) -> WorkflowSummary:
        """From a serialised `conductor.proto.WorkflowSummary`. Raises PayloadDecodeError."""
        values = _WORKFLOW_SUMMARY.read(data)
        values["status"] = member(WORKFLOW_STATUSES, values["status"], "workflow status")
        values["failed_task_names"] = tuple(values["failed_task_names"])
        return cls(**values)


_WORKFLOW_SUMMARY = WireReader(WorkflowSummary)


@dataclass(frozen=True)
class TaskSummary:
    """One task as the server's index has it. Times are ISO 8601 texts, "" for "not yet"."""

    task_id: str = wire(16, "string")
    workflow_id: str = wire(1, "string")
    workflow_type: str = wire(2, "string")
    correlation_id: str = wire(3, "string")
    scheduled_time: str = wire(4, "string")
    start_time: str = wire(5, "string")
    update_time: str = wire(6, "string")
    end_time: str = wire(7, "string")
    status: TaskStatus = wire(8, "int", default=TaskStatus.IN_PROGRESS)
    reason_for_incompletion: str = wire(9, "string")
    execution_time: int = wire(10, "int")
    """Milliseconds."""
    queue_wait_time: int = wire(11, "int")
    """Milliseconds."""
    task_def_name: str = wire(12, "string")
    task_type: str = wire(13, "string")
    input: str = wire(14, "string")
    """A text for people: Java's notation (`{x=7}`) unless the server is configured to write JSON."""
    output: str = wire(15, "string")
    """As `input`."""
    external_input_payload_storage_path: str = wire(17, "string")
    external_output_payload_storage_path: str = wire(18, "string")
    workflow_priority: int = wire(19, "int")
    domain: str = wire(20, "string")

    @classmethod
    def from_wire(cls, data: bytes) -> TaskSummary:
        """From a serialised `conductor.proto.TaskSummary`. Raises PayloadDecodeError."""
        values = _TASK_SUMMARY.read(data)
        values["status"] = member(TASK_STATUSES, values["status"], "task status")
        return cls(**values)


_TASK_SUMMARY = WireReader(TaskSummary)


@dataclass(frozen=True)
class QueueShard:
    """The state of one shard of a queue."""

    size: int
    """Messages in it. On SQL also those handed out or postponed."""

    unacknowledged: int
    """Messages handed out and not acknowledged."""


@dataclass(frozen=True)
class PolledTasks:
    """What one batch poll brought."""

    tasks: tuple[Task, ...]
    """These are this worker's now: the server has taken them off the queue."""

    error: ServerError | None = None
    """Why the batch ended early. The tasks that did not arrive are IN_PROGRESS until their response timeout."""
