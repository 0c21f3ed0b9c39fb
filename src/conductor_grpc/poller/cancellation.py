"""Noticing that nobody waits for the result of a task that runs here."""

from __future__ import annotations

import enum
import logging
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import (
    ClosedChannelError,
    MessageTooLargeError,
    PayloadDecodeError,
    ServerError,
    UnmappablePayloadError,
)
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.slots import Run, Slots
    from conductor_grpc.worker.task import Task

    Verdict = tuple["Cause", str]
    """Why a task is cancelled: for counting, and for the worker."""

logger = logging.getLogger(__name__)

LOOKS_PER_SECOND: Final = 20
"""Most looks, over all workers of a poller: thousands of running tasks are no reason to keep the server busy. Where
there are more tasks than that allows in an interval, each waits longer for its turn."""

GAP: Final = 1 / LOOKS_PER_SECOND

TICKS: Final = 4
"""How often in an interval it is seen which tasks are due: a look is late by such a part of the interval at most."""


class Cause(enum.Enum):
    """Why nobody waits for a task any more."""

    TERMINATED = "terminated"
    """Its workflow has ended, terminated by somebody or failed by another task."""
    TIMED_OUT = "timed_out"
    ENDED = "ended"
    """Somebody else has completed, failed or skipped it."""
    REASSIGNED = "reassigned"
    """It is with another worker, or on its way to one."""
    GONE = "gone"
    """The server knows no such task any more."""


_ENDED: Final = {
    TaskStatus.CANCELED: (Cause.TERMINATED, "its workflow was terminated or has failed"),
    TaskStatus.TIMED_OUT: (Cause.TIMED_OUT, "it has timed out"),
    TaskStatus.SKIPPED: (Cause.ENDED, "it was skipped"),
}


def verdict(held: Task, found: Task | None) -> Verdict | None:
    """Compares a task that runs here with what the server has (None: no such task); None if it is still wanted."""
    if found is None:
        return Cause.GONE, "the server knows no such task any more"
    if found.status is TaskStatus.SCHEDULED:
        return Cause.REASSIGNED, "it was put back on its queue, for whichever worker is next"
    if found.status is TaskStatus.IN_PROGRESS:
        if found.worker_id != held.worker_id:
            return Cause.REASSIGNED, f"it was given to another worker, {found.worker_id!r}"
        if found.poll_count != held.poll_count:
            return Cause.REASSIGNED, "it was handed out once more"
        return None
    cause, words = _ENDED.get(found.status, (Cause.ENDED, "it was ended by somebody else"))
    said = f": {found.reason_for_incompletion:.500}" if found.reason_for_incompletion else ""
    return cause, f"{words} (task status {found.status}{said})"


class CancellationWatch(BackgroundPart):
    """Looks at the tasks that have been running for a while, and cancels those that the server has done with.

    Nothing tells a worker over gRPC, so the only way is to ask. A task that is done within the interval costs nothing
    at all: it is not even registered here. What cannot be seen, or a server that cannot be asked, cancels nothing.
    """

    def __init__(
        self,
        slots: Sequence[Slots],
        find_task: Callable[[str], Task | None],
        look_after: Callable[[str], None],
        interval: float,
        on_death: DeathHandler,
    ) -> None:
        """`find_task`, which may block, gets a task from the server and raises ServerError; `look_after` takes the id
        of a task whose result comes too late, should there be one yet; `interval` is how many seconds a task runs
        before the first look and between two."""
        super().__init__("conductor-cancellations", on_death)
        self._slots = slots
        self._find_task = find_task
        self._look_after = look_after
        self._interval = interval
        self._looked: dict[Run, float] = {}
        self._ended = threading.Event()
        self._failures = Rarely()
        self.cancelled: Counter[Cause] = Counter()
        """How many tasks were cancelled, and why."""

    def _wake(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        try:
            self._watch()
        except ClosedChannelError:
            if not self.stopping:
                raise
            logger.debug("the stop did not wait for the look in flight")

    def _watch(self) -> None:
        tick = max(GAP, self._interval / TICKS)
        pause = tick
        while not self._ended.wait(pause):
            due = self._due()
            now = due[:LOOKS_PER_SECOND]
            pause = GAP if self._look_at_all(now) and len(due) > len(now) else tick

    def _due(self) -> list[tuple[Slots, Run]]:
        """The tasks to be looked at, first those that have waited longest for it."""
        latest = time.monotonic() - self._interval
        running = [(slots, run) for slots in self._slots for run in slots.long_running(self._interval)]
        self._looked = looked = {run: self._looked.get(run, run.begun) for _, run in running}
        return sorted((each for each in running if looked[each[1]] <= latest), key=lambda each: looked[each[1]])

    def _look_at_all(self, due: list[tuple[Slots, Run]]) -> bool:
        """False if it was given up: the server is in trouble, and the others can wait."""
        for slots, run in due:
            try:
                self._look_at(slots, run)
            except ServerError as error:
                logger.log(
                    self._failures.level(),
                    "cannot see whether task %s, which runs here, is still wanted; looking again in %.1f s: %s",
                    run.held.task_id,
                    self._interval,
                    error,
                )
                return False
            if self._ended.wait(GAP):
                return False
        return True

    def _look_at(self, slots: Slots, run: Run) -> None:
        held = run.held
        self._looked[run] = time.monotonic()
        try:
            found = verdict(held, self._find_task(held.task_id))
        except (UnmappablePayloadError, PayloadDecodeError, MessageTooLargeError) as error:
            self._looked[run] = math.inf  # nor will any other look see it
            logger.debug("task %s cannot be seen, so it is left alone: %s", held.task_id, error)
            return
        # Meanwhile it may have ended here, and what was found is what has become of it.
        if found is None or not slots.runs(run):
            return
        cause, reason = found
        self._look_after(held.task_id)
        if slots.cancel(run, reason):
            self.cancelled[cause] += 1
            logger.info("task %s of type %r is cancelled: %s", held.task_id, held.task_def_name, reason)
