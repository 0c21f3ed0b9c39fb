"""Beginning so many tasks a second and no more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import TaskCancelledError, WorkerDefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.worker.context import TaskContext
    from conductor_grpc.worker.middleware.forms import AsyncCallNext, CallNext
    from conductor_grpc.worker.result import TaskResult

LOOK: Final = 0.25
"""Seconds after which a task that waits looks whether its poller stops."""

STOPPED: Final = "its poller stops, and it still waited for the rate limit"


class _Place:
    """Of one task in the row of those that wait."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at
        """When it may begin, by the monotonic clock; sooner if one before it gives up."""


class RateLimit:
    """A bucket of `burst` tokens that fills at `per_second`; each task takes one before it goes on. Thread-safe.

    What is kept is not a number of tokens but the time at which the next task may begin. A task takes its place in the
    row when it comes, so they begin in the order in which they came. Those behind one that gives up move up.
    """

    __name__ = "rate_limit"

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second = per_second
        self.burst = burst
        self._interval = 1.0 / per_second
        self._slack = (burst - 1) * self._interval
        self._next = 0.0
        self._row: dict[_Place, None] = {}
        self._lock = threading.Lock()

    def share(self, parts: int) -> RateLimit:
        """One of so many limits that together let no more tasks begin than this one."""
        return type(self)(self.per_second / parts, max(1, self.burst // parts))

    def __repr__(self) -> str:
        return f"rate_limit({self.per_second:g}, burst={self.burst})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.per_second, self.burst)

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        with self._waiting(context) as place:
            while (left := place.at - time.monotonic()) > 0:
                context.cancelled.wait(min(left, LOOK))
                _go_on(context)
        return call_next(context)

    async def call_async(self, context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        with self._waiting(context) as place:
            while (left := place.at - time.monotonic()) > 0:
                await asyncio.sleep(min(left, LOOK))  # ended by the cancellation
                _go_on(context)
        return await call_next(context)

    @contextlib.contextmanager
    def _waiting(self, context: TaskContext) -> Iterator[_Place]:
        place = self._reserve()
        try:
            yield place
        except BaseException:
            if not context.stopping.is_set():  # or all of them give up, at once
                self._move_up(place)
            raise
        finally:
            with self._lock:
                del self._row[place]

    def _reserve(self) -> _Place:
        with self._lock:
            now = time.monotonic()
            place = _Place(max(now, self._next - self._slack))
            self._next = max(now, self._next) + self._interval
            self._row[place] = None
            return place

    def _move_up(self, place: _Place) -> None:
        """Those behind this one."""
        with self._lock:
            behind = itertools.dropwhile(lambda each: each is not place, self._row)
            for each in itertools.islice(behind, 1, None):
                each.at -= self._interval
            self._next -= self._interval


def _go_on(context: TaskContext) -> None:
    if context.stopping.is_set():
        # Nothing of the task has begun, so another worker may have it at once.
        context.cancelled.set(STOPPED)
    if context.cancelled.is_set():
        raise TaskCancelledError(f"the task was cancelled while it waited: {context.cancelled.reason}")


def rate_limit(per_second: float, *, burst: int = 1) -> RateLimit:
    """A middleware, for workers of all kinds, that lets `per_second` tasks a second begin.

    A task that waits keeps its slot and its lease, and no event loop waits with it. It is given up when it is cancelled
    and handed back when its poller stops. What counts is this process: a poller-wide limit is one for all workers of
    the poller, whose threads and coroutines share it; with `executor="process"` the processes of one worker have equal
    shares of it. For a limit over all workers there are, set `rateLimitPerFrequency` in the task definition.

    Args:
        per_second: More than 0; 0.1 is one in ten seconds.
        burst: At least 1: how many may begin at once after a time in which none came.

    Raises:
        WorkerDefinitionError: An argument has no usable value.
    """
    if not isinstance(per_second, (int, float)) or isinstance(per_second, bool) or not 0 < per_second < math.inf:
        raise WorkerDefinitionError(f"rate_limit got per_second={per_second!r}, expected a number above 0")
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 1:
        raise WorkerDefinitionError(f"rate_limit got burst={burst!r}, expected a whole number of at least 1")
    return RateLimit(per_second, burst)
