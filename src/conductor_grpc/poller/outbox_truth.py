"""What became of an update whose answer says nothing certain."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ErrorKind, PayloadDecodeError, ServerError, UnmappablePayloadError
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.outbox_updates import Update
    from conductor_grpc.worker.task import Task

AT_ONCE: Final = 4
"""Most looks at a time: after an outage every result may be in doubt, and new ones come first."""

SURELY_NOT_APPLIED: Final = (ErrorKind.THROTTLED, ErrorKind.AUTH)
"""Failures that come before the server looks at the request: they leave no doubt."""

PASSING: Final = (ErrorKind.UNAVAILABLE, ErrorKind.TRANSIENT, ErrorKind.THROTTLED)
"""Failures of a look after which another one may succeed. What else keeps us from seeing the task will go on doing
so: a proxy that forbids GetTask, or a base_url that leads elsewhere."""

_FAILED: Final = (TaskStatus.FAILED, TaskStatus.FAILED_WITH_TERMINAL_ERROR, TaskStatus.COMPLETED_WITH_ERRORS)

_LEADS_TO: Final[dict[TaskResult.Status, tuple[TaskStatus, ...]]] = {
    TaskResult.COMPLETED: (TaskStatus.COMPLETED,),
    TaskResult.FAILED: _FAILED,
    TaskResult.FAILED_WITH_TERMINAL_ERROR: _FAILED,
    TaskResult.CANCELED: (TaskStatus.CANCELED,),
}
"""The status of a task by that of the result which ended it. COMPLETED_WITH_ERRORS: the workflow did not mind."""


class Standing(enum.Enum):
    """How a task stands on the server, seen from an update of it."""

    APPLIED = "applied"
    """As the update left it."""
    IGNORED = "ignored"
    """It ended otherwise: it timed out, say, or its workflow was terminated. The server answers OK nevertheless."""
    REASSIGNED = "reassigned"
    """It is with another worker, or on its way to one."""
    OPEN = "open"
    """As it was handed out to us: the update has not been applied, or has been undone."""
    GONE = "gone"
    """The server knows no such task any more."""
    HIDDEN = "hidden"
    """Nobody can tell."""


def standing(update: Update, found: Task | None) -> Standing:
    """Compares an update with what the server has. None: it knows no such task."""
    if found is None:
        return Standing.GONE
    ours, result = update.task, UpdateTaskRequest.FromString(update.wire).result
    same_turn = found.poll_count == ours.poll_count
    if found.status is TaskStatus.IN_PROGRESS:
        return Standing.OPEN if same_turn and found.worker_id == ours.worker_id else Standing.REASSIGNED
    if result.status == TaskResult.IN_PROGRESS:
        if found.status is TaskStatus.SCHEDULED:
            return Standing.APPLIED
        return Standing.IGNORED if same_turn else Standing.REASSIGNED
    if found.status is TaskStatus.SCHEDULED:
        return Standing.REASSIGNED
    by_us = found.worker_id == result.worker_id and found.status in _LEADS_TO[result.status]
    return Standing.APPLIED if by_us else Standing.IGNORED


class Truth:
    """Looks at tasks, a few at a time, without blocking the event loop it is used on."""

    def __init__(self, find_task: Callable[[str], Task | None]) -> None:
        """`find_task` may block; it raises ServerError."""
        self._find_task = find_task
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def standing(self, update: Update) -> Standing:
        """How the task of this update stands.

        Raises:
            ServerError: Not to be known now, but perhaps a little later.
        """
        try:
            async with self._turns:
                found = await asyncio.to_thread(self._find_task, update.task.task_id)
        except (UnmappablePayloadError, PayloadDecodeError):
            return Standing.HIDDEN
        except ServerError as error:
            if error.kind not in PASSING:
                return Standing.HIDDEN
            raise
        return standing(update, found)
