"""Finding stranded tasks over REST, at a bounded cost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from conductor_grpc.errors import ErrorKind, PayloadDecodeError, ServerError, UnmappablePayloadError
from conductor_grpc.poller.custody import ANY
from conductor_grpc.poller.reclaim import Found, TaskFinder, TaskIndex
from conductor_grpc.poller.sources import Unreadable, read_json_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.poller.custody import Custody, Seen
    from conductor_grpc.transport.rest import RestClient
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)


class Bound(NamedTuple):
    """What reading the list of pending tasks may cost."""

    tasks: int
    bytes: int
    seconds: float


FIRST: Final = Bound(tasks=1_000, bytes=4 << 20, seconds=10.0)
"""The list is unordered, holds those that still wait in the queue too, and costs the server some 2 kB and 50 us for
each, seen on 3.32.1. With a longer backlog the index is asked."""

WHOLE: Final = Bound(tasks=16_000, bytes=64 << 20, seconds=30.0)
"""For servers without an index."""

RATE: Final = 500_000
"""Bytes a second that looks for tasks of one type may cost on average: so many seconds later there may be another. A
list of a thousand tasks is worth four seconds, one of ten thousand three quarters of a minute."""

CREDIT: Final = 2.0
"""Seconds by which looks may be ahead of that: a few small ones at once put nobody off."""

SLOW: Final = 1.0
SLOW_FACTOR: Final = 10
"""A look that takes more than a second is a burden whatever its size, and allows the next after ten times that."""

LOOKUP_BYTES: Final = 5_000
"""What looking up a single task is taken to cost."""

NOT_TOLD: Final = (ErrorKind.UNKNOWN, ErrorKind.INVALID, ErrorKind.UNMAPPABLE_PAYLOAD)
"""How a server fails that has no index, or does not know the call."""


class RestReclaim:
    """By the list of pending tasks; where that is long, by the index and a call for each task found.

    Both show whose a task is, and JSON integers stay integers. A look may be refused since the last one was dear: it
    says when it is worth asking again.
    """

    def __init__(self, rest: RestClient, index: TaskIndex, finder: TaskFinder, custody: Custody) -> None:
        self._rest = rest
        self._index = index
        self._finder = finder
        self._custody = custody
        self._paid_at: dict[str, float] = {}
        """By type, when all looks so far are worth what they cost, by the monotonic clock."""

    def stranded(self, task_type: str, worker_id: str, since_ms: int, most: int, *, last: bool = False) -> Found:
        del most  # the worker id says it all
        began = time.monotonic()
        paid_at = self._paid_at.get(task_type, began)
        too_early = paid_at - CREDIT - began
        if too_early > 0 and not last:
            return Found([], complete=False, again=too_early)
        with self._custody.watch() as ours:
            look = _Look(self._rest, self._index, self._finder, task_type, worker_id, ours)
            try:
                return self._look(look, since_ms)
            finally:
                now = time.monotonic()
                worth = max(look.bytes / RATE, SLOW_FACTOR * max(0.0, now - began - SLOW))
                self._paid_at[task_type] = max(paid_at, now) + worth

    def _look(self, look: _Look, since_ms: int) -> Found:
        if look.waiting() < FIRST.tasks:
            found = look.by_list(FIRST)
            if found.complete:
                return found
        by_index = look.by_index(since_ms)
        if by_index is not None:
            return by_index
        found = look.by_list(WHOLE)
        if not found.complete:
            logger.warning(
                "the server has no index, and its list of pending tasks of type %r is longer than can be read (%d "
                "tasks, %d bytes, %.0f s): stranded tasks beyond are found when the backlog is shorter, or run again "
                "after their response timeout",
                look.task_type,
                *WHOLE,
            )
        return found


class _Look:
    """One look for the tasks of one worker id."""

    def __init__(
        self, rest: RestClient, index: TaskIndex, finder: TaskFinder, task_type: str, worker_id: str, ours: Seen
    ) -> None:
        self._rest = rest
        self._index = index
        self._finder = finder
        self.task_type = task_type
        self._worker_id = worker_id
        self._ours = ours
        self.bytes = 0
        """What it has cost so far."""

    def waiting(self) -> int:
        """How many tasks are in the queue; 0 where the server does not tell."""
        try:
            return self._index.waiting(self.task_type)
        except ServerError as error:
            self._check_hopeless(error)
            return 0

    def by_list(self, bound: Bound) -> Found:
        """Of a list that is cut short what has come of it is found."""
        listing = self._rest.list_pending(
            self.task_type, bound.tasks, self._strands, most_bytes=bound.bytes, seconds=bound.seconds
        )
        self.bytes += listing.bytes
        tasks = [read_json_task(document) for document in listing.tasks]
        return Found(tasks, complete=not listing.cut and listing.seen < bound.tasks)

    def by_index(self, since_ms: int) -> Found | None:
        """None where there is no index."""
        try:
            summaries, complete = self._index.in_progress(self.task_type, since_ms)
            if not summaries and not self._index.knows(self.task_type):
                return None
        except ServerError as error:
            self._check_hopeless(error)
            return None
        self.bytes += sum(summary.ByteSize() for summary in summaries)
        found = [self._one(summary.task_id) for summary in summaries]
        return Found([task for task in found if task is not None], complete)

    def _check_hopeless(self, error: ServerError) -> None:
        if error.kind not in NOT_TOLD:
            raise error
        logger.debug("the server does not tell how many or which tasks of type %r there are: %s", self.task_type, error)

    def _one(self, task_id: str) -> Task | Unreadable | None:
        """The task, if it is one of those looked for."""
        self.bytes += LOOKUP_BYTES
        try:
            task = self._finder.over_grpc(task_id)
        except (UnmappablePayloadError, PayloadDecodeError):
            document = self._rest.get_task(task_id)
            return read_json_task(document) if document is not None and self._strands(document) else None
        if task is None or task.status is not TaskStatus.IN_PROGRESS or task.worker_id != self._worker_id:
            return None
        return None if self._ours.holds(task.task_id, task.poll_count) else task

    def _strands(self, document: dict[str, Any]) -> bool:
        count = document.get("pollCount")
        return (
            document.get("status") == "IN_PROGRESS"
            and document.get("workerId") == self._worker_id
            and not self._ours.holds(str(document.get("taskId")), count if isinstance(count, int) else ANY)
        )
