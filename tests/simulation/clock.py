"""Time that passes only when there is nothing else to do."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_EPOCH = 1_700_000_000.0


class Halted(BaseException):
    """The process that this code runs in has been killed, or the simulation is over."""


class WouldBlock(BaseException):
    """Raised in place of a wait by code that can be called again."""

    def __init__(self, timeout: float | None) -> None:
        super().__init__()
        self.timeout = timeout


class Clock(selectors.SelectSelector):
    """What the event loop sleeps in: a sleep is a step of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own, without threads.

    The main thread stands for one that blocks: `block` lets the loop run meanwhile.
    """

    def __init__(self, delay: Callable[[], float]) -> None:
        """`delay` tells how long, in seconds, a call from a thread takes either way."""
        self.clock = Clock()
        self._delay = delay
        super().__init__(self.clock)
        self.halted: Callable[[], bool] = lambda: False
        """Whether the code on the main thread is to go on no more."""

    def time(self) -> float:
        return self.clock.now

    def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[no-untyped-def, override]
        return self.call_soon(callback, *args, context=context)

    async def run_in_executor(self, executor, func, *args):  # type: ignore[no-untyped-def, override]
        del executor
        await asyncio.sleep(self._delay())
        answer = func(*args)
        await asyncio.sleep(self._delay())
        return answer

    def block(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """On the main thread: wait until `ready`, at most `timeout` seconds; whether it is."""
        until = None if timeout is None else self.time() + timeout
        while True:
            if self.halted():
                raise Halted
            if ready():
                return True
            if until is not None and self.time() >= until:
                return False
            timer = None if until is None else self.call_at(until, self.stop)
            self.run_forever()
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """What `block` waits for may be there."""
        if self.is_running():
            self.stop()


class Time:
    """What the poller's modules see as `time`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.monotonic = loop.time

    def time(self) -> float:
        return _EPOCH + self._loop.time()

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        self._loop.block(lambda: False, seconds)


class Condition:
    """A threading.Condition for the main thread, by which the loop wakes it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        raise WouldBlock(timeout)

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        return self._loop.block(predicate, timeout)

    def notify(self, n: int = 1) -> None:
        del n
        self._loop.wake()

    def notify_all(self) -> None:
        self._loop.wake()


class Signal(Condition):
    """A Condition or Event of code on the loop whose `wait` raises WouldBlock; `pause` is where its catcher waits."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self._waiter: asyncio.Future[None] | None = None

    async def pause(self, timeout: float | None) -> None:
        self._waiter = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(max(0.0, timeout), self.notify_all)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def notify(self, n: int = 1) -> None:
        del n
        self.notify_all()

    def notify_all(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    set = notify_all
