"""Lease extensions on their way to the server, and the updates that have to wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ErrorKind, ServerError
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.poller.lease import Extended, Lease

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conductor_grpc.poller.outbox_updates import Update

    Told = Callable[[Lease, Extended], None]

IN_FLIGHT: Final = 16
"""Most extensions on their way at once, beside the updates: a lease that waits behind a thousand results is lost."""

TIMEOUT: Final = 30.0
"""Seconds until an extension without an answer counts as in doubt. No less than for an update, short as the response
timeout may be: a server that is slow goes on with what nobody waits for any more, and undoes results with it."""

WITHOUT_EFFECT: Final = (
    ErrorKind.NOT_FOUND,
    ErrorKind.CONFLICT,
    ErrorKind.INVALID,
    ErrorKind.THROTTLED,
    ErrorKind.AUTH,
)
"""Failures after which the server does nothing any more. After any other one it may still be at it."""


def extension_request(lease: Lease) -> bytes:
    """The serialised UpdateTaskRequest that extends a lease."""
    result = TaskResult(
        workflow_instance_id=lease.workflow_instance_id,
        task_id=lease.task_id,
        worker_id=lease.worker_id,
        extend_lease=True,
    )
    return UpdateTaskRequest(result=result).SerializeToString()


class Extensions:
    """Sends extensions such that none overlaps an update of the same task.

    The server reads the task, and writes it back as it was with a new time: an update in between is undone though
    both are answered OK (seen on 3.32.1). So none begins while an update of its task is in the outbox, and an update
    that comes while one is on its way is parked until that is answered. On the outbox's event loop only, apart from
    `add`.
    """

    def __init__(
        self,
        has_update: Callable[[str], bool],
        resume: Callable[[list[Update]], None],
        in_doubt: Callable[[str], None],
    ) -> None:
        """`has_update` says whether the outbox has an update of a task, `resume` takes those that were parked, and
        `in_doubt` is called with the id of a task that an extension may yet be written over."""
        self._has_update = has_update
        self._resume = resume
        self._in_doubt = in_doubt
        self._due: deque[tuple[Lease, Told]] = deque()
        self._parked: dict[str, list[Update]] = {}

    def add(self, lease: Lease, told: Told) -> None:
        """Thread-safe."""
        self._due.append((lease, told))

    def park(self, update: Update) -> bool:
        """Keep the update if it must wait; False if it may go."""
        parked = self._parked.get(update.task.task_id)
        if parked is None:
            return False
        parked.append(update)
        return True

    def begin(self, update_task: Callable[[bytes, float], Awaitable[bytes]]) -> list[asyncio.Task[None]]:
        """Send as many as may go; they are over when the tasks returned are."""
        begun = []
        while self._due and len(self._parked) < IN_FLIGHT:
            lease, told = self._due.popleft()
            # A lease is marked as ended before its update is put into the outbox. So whoever is not marked here has
            # an update that comes later, and finds the entry made below.
            if lease.ended:
                continue
            if lease.task_id in self._parked or self._has_update(lease.task_id):
                told(lease, Extended.BUSY)
                continue
            self._parked[lease.task_id] = []
            begun.append(asyncio.ensure_future(self._send(update_task, lease, told)))
        return begun

    async def _send(self, update_task: Callable[[bytes, float], Awaitable[bytes]], lease: Lease, told: Told) -> None:
        extended = Extended.YES
        try:
            await update_task(extension_request(lease), TIMEOUT)
        except ServerError as error:
            extended = Extended.GONE if error.kind is ErrorKind.NOT_FOUND else Extended.FAILED
            if error.kind not in WITHOUT_EFFECT:
                self._in_doubt(lease.task_id)
        finally:
            self._resume(self._parked.pop(lease.task_id))
        told(lease, extended)
