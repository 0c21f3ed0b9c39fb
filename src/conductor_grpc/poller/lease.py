"""Keeping tasks that take longer than their response timeout from being given to somebody else."""

from __future__ import annotations

import enum
import heapq
import itertools
import logging
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from conductor_grpc.errors import ClosedChannelError, ServerError
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely
from conductor_grpc.transport.server_version import LeaseSupport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.worker.context import Cancellation
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

SHARE: Final = (0.4, 0.6)
"""The part of the response timeout after which a lease is extended: a random one in between, so that tasks taken
together are not extended together. What is left is enough for several more attempts."""

RETRY_SHARE: Final = 0.1
"""The part of the response timeout after which an extension that failed is tried again."""

RETRY_LIMIT: Final = 10.0

DEAD_LIMIT: Final = 256
"""Entries of ended tasks that the heap may hold, or as many as of running ones, before they are thrown out."""


class Extended(enum.Enum):
    """What became of a request to extend a lease."""

    YES = enum.auto()
    """The server has extended it; for a task that has ended meanwhile it says so too."""
    FAILED = enum.auto()
    """Not, or nobody knows."""
    BUSY = enum.auto()
    """Not sent, since an earlier update of the same task is on its way."""
    GONE = enum.auto()
    """The server knows no such task, or will never extend it."""


@dataclass(slots=True, eq=False)
class Lease:
    """The time for which the server leaves one task to us."""

    task_id: str
    workflow_instance_id: str
    worker_id: str
    task_def_name: str
    seconds: float
    """The response timeout."""
    began: float
    """When the task came, by the monotonic clock."""
    renewed: float
    """From when the response timeout counts now."""
    due: float = math.inf
    """When it is to be extended, by the monotonic clock; infinite: never (again)."""
    asked: float = 0.0
    """When the outbox was last asked to extend it."""
    ended: bool = False
    """The task has an outcome. Set before that is given to the outbox, and from then on nothing is extended."""
    in_heap: bool = False
    lost: bool = False
    cancelled: Cancellation | None = None
    when_extended: Callable[[], object] | None = None
    """Called after each extension, on any thread; it must not block."""

    @property
    def ends(self) -> float:
        """When the response timeout is over, by the monotonic clock; past once the lease is lost."""
        return -math.inf if self.lost else self.renewed + self.seconds


class LeaseSender(Protocol):
    """What the keeper asks of the outbox. Neither call blocks."""

    def extend(self, lease: Lease, told: Callable[[Lease, Extended], None]) -> None:
        """Extend the lease, unless it has ended, and tell; never while an update of that task is on its way."""

    def look_after(self, task_id: str) -> None:
        """The update of this task comes too late, probably: find out what becomes of it."""


class LeaseKeeper(BackgroundPart):
    """Extends the leases of the tasks that wait or run here, each when a part of its response timeout is over.

    A task that takes no time costs two turns of a lock: nothing is sent, and no thread is woken. Tasks whose type has
    no response timeout are none of its business. Whether the server knows extensions is asked when the first one is
    due; if it does not (before 3.32.0 it would hand the task out again), or nobody can tell, none is ever sent.
    """

    def __init__(
        self,
        sender: LeaseSender,
        support: Callable[[], LeaseSupport],
        limit: float | None,
        on_death: DeathHandler,
    ) -> None:
        """`support`, which may block, asks the server and raises ServerError; `limit` is how many seconds a task may
        be kept, None: for ever."""
        super().__init__("conductor-leases", on_death)
        self._sender = sender
        self._ask_support = support
        self._support: LeaseSupport | None = None
        self._limit = math.inf if limit is None else limit
        self._changed = threading.Condition()
        self._leases: dict[int, Lease] = {}
        self._heap: list[tuple[float, int, Lease]] = []
        self._numbers = itertools.count()
        self._dead = 0
        self._wakes_at = math.inf
        self._failures = Rarely()
        self.extended = 0
        """How many extensions the server has taken."""
        self.lost = 0
        """How many tasks could not be kept, whatever was tried."""

    def running(
        self, task: Task, cancelled: Cancellation | None = None, *, extend: bool = True, late: bool = False
    ) -> Lease | None:
        """The task is ours from now on, or, if `late`, since nobody knows when; `cancelled` is set should it be lost.
        None if it has no response timeout. Never blocks long."""
        seconds = task.response_timeout_seconds
        if seconds <= 0:
            return None
        now = time.monotonic()
        lease = Lease(
            task.task_id,
            task.workflow_instance_id,
            task.worker_id,
            task.task_def_name,
            seconds,
            began=now,
            renewed=now,
            cancelled=cancelled,
        )
        with self._changed:
            self._leases[id(task)] = lease
            if extend and self._support is not LeaseSupport.NO:
                self._schedule(lease, now if late else now + seconds * random.uniform(*SHARE))
        return lease

    def ended(self, task: Task) -> None:
        """The task has an outcome, which the caller passes on after this call. Never blocks long."""
        with self._changed:
            lease = self._leases.pop(id(task), None)
            if lease is None:
                return
            lease.ended = True
            if lease.in_heap:
                self._dead += 1
                if self._dead > DEAD_LIMIT and self._dead > len(self._heap) // 2:
                    self._throw_out_dead()
        if time.monotonic() > lease.renewed + lease.seconds:
            self._sender.look_after(lease.task_id)

    def __len__(self) -> int:
        """How many tasks are kept."""
        return len(self._leases)

    @property
    def lag(self) -> float:
        """For how many seconds the most overdue extension has been due, asked for or not; 0 if none is overdue."""
        with self._changed:
            due = min((lease.due for lease in self._leases.values()), default=math.inf)
            extends = self._support is not LeaseSupport.NO
        return max(0.0, time.monotonic() - due) if extends else 0.0

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while due := self._next_due():
            if self._supported(due):
                for lease in due:
                    lease.asked = time.monotonic()
                    self._sender.extend(lease, self._told)

    def _next_due(self) -> list[Lease]:
        """The leases to be extended now, out of the heap. Blocks until there are any; none once this is to stop."""
        while not self.stopping:
            due: list[Lease] = []
            over: list[Lease] = []
            with self._changed:
                now = time.monotonic()
                for lease in self._pop_due(now):
                    (due if now - lease.began < self._limit else over).append(lease)
                if not due and not over and not self.stopping:
                    self._wakes_at = self._heap[0][0] if self._heap else math.inf
                    self._changed.wait(self._wakes_at - now if self._heap else None)
            for lease in over:
                self._tell_limit(lease)
            if due:
                return due
        return []

    def _pop_due(self, now: float) -> Iterator[Lease]:
        while self._heap and (self._heap[0][2].ended or self._heap[0][0] <= now):
            _, _, lease = heapq.heappop(self._heap)
            lease.in_heap = False
            if lease.ended:
                self._dead -= 1
            else:
                yield lease

    def _supported(self, due: list[Lease]) -> bool:
        """Whether the server knows extensions; if it could not be asked, `due` come up again."""
        if self._support is None:
            try:
                support = self._ask_support()
            except ServerError as error:
                logger.log(
                    self._failures.level(), "cannot ask the server whether leases can be extended there: %s", error
                )
                for lease in due:
                    self._told(lease, Extended.FAILED)
                return False
            except ClosedChannelError:
                if not self.stopping:
                    raise
                return False
            with self._changed:
                self._support = support
                if support is not LeaseSupport.YES:
                    self._support = LeaseSupport.NO
                    for _, _, lease in self._heap:
                        lease.in_heap = False
                    self._heap, self._dead = [], 0
            if support is not LeaseSupport.YES:
                logger.warning(
                    "task %s of type %r takes longer than half of its response timeout of %g s, which cannot be "
                    "extended, since %s: a task that exceeds it is given to another worker and runs twice. Raise "
                    "responseTimeoutSeconds in the task's definition, or use a server of 3.32.0 or later",
                    due[0].task_id,
                    due[0].task_def_name,
                    due[0].seconds,
                    support.value,
                )
        return self._support is LeaseSupport.YES

    def _told(self, lease: Lease, extended: Extended) -> None:
        if extended is Extended.YES:
            self._renew(lease)
            return
        now = time.monotonic()
        with self._changed:
            if lease.ended:
                return
            if extended is not Extended.GONE:
                pause = min(RETRY_LIMIT, lease.seconds * RETRY_SHARE) * random.uniform(0.8, 1.2)
                self._schedule(lease, now + pause)
            else:
                lease.due = math.inf
            lost = extended is Extended.GONE or now > lease.renewed + lease.seconds
            if not lost or lease.lost:
                return
            lease.lost = True
            self.lost += 1
        why = (
            "is not known to the server any more"
            if extended is Extended.GONE
            else f"could not be kept beyond its response timeout of {lease.seconds:g} s"
        )
        logger.warning(
            "task %s of type %r %s: it may be running elsewhere by now, and its result be ignored",
            lease.task_id,
            lease.task_def_name,
            why,
        )
        if lease.cancelled is not None:
            lease.cancelled.set(f"it {why}")

    def _renew(self, lease: Lease) -> None:
        with self._changed:
            self.extended += 1
            if lease.ended:
                return
            lease.renewed = lease.asked  # the server may have done it at once, and answered late
            self._schedule(lease, lease.asked + lease.seconds * random.uniform(*SHARE))
        if lease.when_extended is not None:
            lease.when_extended()

    def _schedule(self, lease: Lease, due: float) -> None:
        """The lock is held."""
        lease.in_heap, lease.due = True, due
        heapq.heappush(self._heap, (due, next(self._numbers), lease))
        if due < self._wakes_at:
            self._wakes_at = due
            self._changed.notify_all()

    def _throw_out_dead(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].ended]
        heapq.heapify(self._heap)
        self._dead = 0

    def _tell_limit(self, lease: Lease) -> None:
        lease.due = math.inf
        logger.warning(
            "task %s of type %r has run for %g s, the limit for which it is kept (lease_limit): it is left to its "
            "response timeout of %g s",
            lease.task_id,
            lease.task_def_name,
            self._limit,
            lease.seconds,
        )
