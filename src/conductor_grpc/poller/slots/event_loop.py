"""The event loop that all async workers of a poller share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar

from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

    from conductor_grpc.poller.part import DeathHandler

logger = logging.getLogger(__name__)

T = TypeVar("T")

END_GRACE: Final = 1.0
"""Seconds that coroutines get to end when the loop is stopped and cancels them."""

LOOK: Final = 1.0
"""Seconds between two looks whether the loop still turns."""

BLOCKED: Final = 1.0
"""A loop that does not turn for so many seconds is blocked by something that should be awaited."""

_OWN_PACKAGE: Final = __name__.partition(".")[0]


class EventLoop(BackgroundPart):
    """One asyncio loop in one thread. Close it in the end, also where it was never started."""

    def __init__(self, on_death: DeathHandler) -> None:
        super().__init__("conductor-asyncio", on_death)
        self._loop = asyncio.new_event_loop()
        self._watch = LoopWatch(self, on_death)

    def start(self) -> None:
        super().start()
        self._watch.start()

    def stop(self) -> None:
        self._watch.stop()
        super().stop()

    def close(self, timeout: float = 2 * END_GRACE) -> bool:
        """Stop the loop, cancel what still runs on it, and wait for its end; False if that took too long, because a
        coroutine blocks it. Called by no coroutine."""
        self.stop()
        with self._lifecycle:
            never_ran = self._thread is None
        if never_ran:
            self._loop.close()
        ended = self.join(timeout)
        if not ended:
            logger.error(
                "the event loop of the async workers did not end within %.0f s: one of them blocks it", timeout
            )
        return self._watch.join(timeout) and ended

    def call(self, callback: Callable[..., object], *arguments: object) -> bool:
        """Have the loop call this, from any thread; False if the loop has ended and never will."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # it is closed
            return False
        return True

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Have the loop run this, from any other thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Called on the loop. The caller must keep the task, since the loop does not."""
        return self._loop.create_task(coroutine, name=name)

    def runs_on_this_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def place(self) -> str:
        """What the loop is doing at this moment, and where, in words."""
        task = asyncio.current_task(self._loop)
        who = "no task, perhaps a machine that is too busy" if task is None else task.get_name()
        thread = self._thread
        frame = None if thread is None or thread.ident is None else sys._current_frames().get(thread.ident)
        if frame is None:
            return who
        frames = traceback.extract_stack(frame)
        # The innermost line outside of Python's own library says what to change.
        user = [each for each in frames if not _is_library(each.filename)]
        at = (user or frames)[-1]
        return f"{who}, in {at.name} ({at.filename}:{at.lineno})"

    def _wake(self) -> None:
        self.call(self._loop.stop)

    def _run(self) -> None:
        try:
            while not self.stopping:
                self._turn()
            self._end()
        finally:
            self._loop.close()

    def _turn(self) -> None:
        # What a worker starts, rather than awaits, may raise SystemExit, and asyncio lets that end its loop. So does
        # loop.stop(). The loop belongs to all workers, so the caller begins again.
        try:
            self._loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            logger.exception("an asyncio task that an async worker has started tried to end the program")

    def _end(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=END_GRACE))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())


class LoopWatch(BackgroundPart):
    """Says so when the loop is blocked, and by whom: from outside, since nothing on the loop can."""

    def __init__(self, loop: EventLoop, on_death: DeathHandler) -> None:
        super().__init__("conductor-asyncio-watch", on_death)
        self._event_loop = loop
        self._warnings = Rarely()

    def _wake(self) -> None:
        """The thread waits for `_stopping` itself."""

    def _run(self) -> None:
        while not self._stopping.wait(LOOK):
            turned = threading.Event()
            asked = time.monotonic()
            if not self._event_loop.call(turned.set):
                return
            if turned.wait(BLOCKED):
                continue
            logger.log(
                self._warnings.level(),
                "the event loop of the async workers has been blocked for %.1f s by %s: no other async worker goes on"
                " meanwhile. Await what waits, use asyncio.to_thread, or make that worker a plain def",
                time.monotonic() - asked,
                self._event_loop.place(),
            )
            while not turned.wait(LOOK) and not self.stopping:
                pass


def _is_library(path: str) -> bool:
    return (path.startswith(_LIBRARY) and "site-packages" not in path) or path.startswith("<")


_LIBRARY: Final = asyncio.__file__.rpartition("/asyncio/")[0]
