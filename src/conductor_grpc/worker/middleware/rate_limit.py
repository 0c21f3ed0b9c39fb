"""Beginning so many tasks a second and no more."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import TaskCancelledError, WorkerDefinitionError

if TYPE_CHECKING:
    from conductor_grpc.worker.context import TaskContext
    from conductor_grpc.worker.middleware.forms import AsyncCallNext, CallNext
    from conductor_grpc.worker.result import TaskResult

LOOK: Final = 0.25
"""Seconds after which a task that waits looks whether its poller stops."""

STOPPED: Final = "its poller stops, and it still waited for the rate limit"


class RateLimit:
    """A bucket of `burst` tokens that fills at `per_second`; each task takes one before it goes on. Thread-safe.

    What is kept is not a number of tokens but the time at which the next task may begin. A task takes its place in the
    row when it comes, so those that wait need no lock and begin in the order in which they came.
    """

    __name__ = "rate_limit"

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second = per_second
        self.burst = burst
        self._interval = 1.0 / per_second
        self._slack = (burst - 1) * self._interval
        self._next = 0.0
        self._lock = threading.Lock()

    def share(self, parts: int) -> RateLimit:
        """One of so many limits that together let no more tasks begin than this one."""
        return type(self)(self.per_second / parts, max(1, self.burst // parts))

    def __repr__(self) -> str:
        return f"rate_limit({self.per_second:g}, burst={self.burst})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.per_second, self.burst)

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        until = self._reserve()
        while (left := until - time.monotonic()) > 0:
            context.cancelled.wait(min(left, LOOK))
            _go_on(context)
        return call_next(context)

    async def call_async(self, context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        until = self._reserve()
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK))  # ended by the cancellation
            _go_on(context)
        return await call_next(context)

    def _reserve(self) -> float:
        """The time at which the caller may go on, by the monotonic clock."""
        with self._lock:
            # A place that is given up cannot be filled again: those behind it know theirs already.
            now = time.monotonic()
            begin = max(now, self._next - self._slack)
            self._next = max(now, self._next) + self._interval
            return begin


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
