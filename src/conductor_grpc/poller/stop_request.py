"""That somebody wants an end: by a call, or by signals, each of which makes it more urgent."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.drain import HURRY_GRACE

if TYPE_CHECKING:
    from conductor_grpc.poller.drain import Deadline

SIGNAL_LOOK: Final = 0.5
"""Seconds after which a wait looks whether a signal has come."""


class StopRequest:
    """Signal handlers may touch it, so it has no Event: whose lock may be held by the very code that the signal
    interrupts, while a SimpleQueue may be put into at any moment. Thread-safe."""

    def __init__(self) -> None:
        self.signals = 0
        """How many have come."""
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()

    def make(self) -> None:
        self._requests.put(None)

    def signalled(self, deadline: Deadline | None) -> None:
        """For signal handlers. `deadline`: of the drain; None: there is none yet, and who makes it calls `hurry`."""
        self.signals += 1
        if deadline is not None:
            self.hurry(deadline)
        self.make()

    def hurry(self, deadline: Deadline) -> None:
        """Move the deadline up by as much as the signals so far demand."""
        if self.signals > 2:
            deadline.cut()
        elif self.signals == 2:
            deadline.shorten(HURRY_GRACE)

    def wait(self) -> None:
        """Until it is made; once for each time. Blocks."""
        # In steps: of a signal that comes while this thread is on its way into the wait, Python knows only when the
        # thread runs again, and nothing else would wake it.
        while True:
            with contextlib.suppress(queue.Empty):
                self._requests.get(timeout=SIGNAL_LOOK)
                return
