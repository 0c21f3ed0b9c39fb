"""What the outbox sends: results and hand-backs, each one UpdateTask."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from typing import Final

from conductor_grpc.payload import Layout
from conductor_grpc.worker.kept_output import wire_keeping_output
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus
from conductor_grpc.worker.task import Task, without_payload

_REQUEST: Final = Layout([(1, "bytes")])
_OUTPUT_MESSAGE: Final = Layout([(8, "bytes")])


class Purpose(enum.Enum):
    """Why an update is sent."""

    RESULT = "result"
    """A worker's result."""
    HAND_BACK = "hand back"
    """Nobody has begun the task: the server is to give it to another worker at once."""
    CANCEL = "cancel"
    """The task was still running when the time to drain was over; it is handed back likewise."""
    GIVE_UP = "giving up"
    """The task was cancelled, and its worker has ended without a result. It is handed back if it is still ours."""


@dataclass(slots=True)
class Update:
    """One UpdateTask that has to reach the server."""

    task: Task
    """The task it is about: its ids, worker id and poll count; no payload, since thousands of updates may wait."""
    purpose: Purpose
    wire: bytes
    """The serialised UpdateTaskRequest."""
    repeatable: bool
    """Sending it twice does no harm: true for a terminal status, which the server keeps from then on."""
    attempts: int = 0
    in_doubt: bool = False
    """An attempt failed in a way that leaves open whether the server has applied it, or only now applies it."""
    refused: bool = False
    """The server will never take it, so its task stays IN_PROGRESS there."""
    given_up: bool = False
    """Refused only in that the outbox has had enough of errors that nobody can tell the cause of: a later run may
    well succeed with it."""
    unexplained_since: float | None = None
    """Since when, by the monotonic clock, nothing but such errors has come."""
    accepted_by_then: int = 0
    """How many updates the server had accepted by then."""
    unseen_since: float | None = None
    """Since when looks at its task have failed because of REST alone."""
    undone_since: float | None = None
    """Since when the server, having accepted it, has lost it again."""
    repairs: int = 0
    """How often it was sent again after the server had accepted it and lost it again."""


def result_update(task: Task, result: TaskResult, wire: bytes) -> Update:
    """The update that carries a worker's result; `task` is kept, so it should have no payload."""
    repeatable = result.status is not TaskResultStatus.IN_PROGRESS
    return Update(task, Purpose.RESULT, wire, repeatable)


def hand_back(
    task: Task,
    purpose: Purpose = Purpose.HAND_BACK,
    held: Task | None = None,
    output: dict[str, object] | None = None,
) -> Update:
    """The update that puts a task back on its queue. `held`: with the ids to go by, where a worker may have changed
    those of `task`. `output`: what its worker has reported last.

    IN_PROGRESS without a delay does that. The server replaces the task's output and reason by those of the
    update, so `output`, or else what the task came with, is sent along, unless the server would refuse that.
    """
    held = without_payload(task) if held is None else held
    result = TaskResult(
        workflow_instance_id=held.workflow_instance_id,
        task_id=held.task_id,
        status=TaskResultStatus.IN_PROGRESS,
        worker_id=held.worker_id,
    )
    with contextlib.suppress(Exception):  # the task is the worker's, which may have put anything there, or does so now
        result.reason_for_incompletion = str(task.reason_for_incompletion or "")
    wire = wire_keeping_output(result, task, output, "goes back", _output_message(task))
    return Update(held, purpose, wire, repeatable=False)


def failure(task: Task, reason: str) -> Update:
    """The update that fails a task in the place of its worker; the output that it has so far stays."""
    held = without_payload(task)
    result = TaskResult(
        workflow_instance_id=held.workflow_instance_id,
        task_id=held.task_id,
        status=TaskResultStatus.FAILED,
        reason_for_incompletion=reason,
        worker_id=held.worker_id,
    )
    wire = wire_keeping_output(result, task, None, "fails", _output_message(task))
    return Update(held, Purpose.RESULT, wire, repeatable=True)


def _output_message(task: Task) -> bytes:
    """A piece of an UpdateTaskRequest. Whoever reads it after another piece merges the two, as protobuf demands."""
    if not task.output_message:
        return b""
    return _REQUEST.encode((_OUTPUT_MESSAGE.encode((task.output_message,)),))
