"""The server's time, as far as its tasks tell."""

from __future__ import annotations

import time


class ServerClock:
    """Turns monotonic times of this machine into the server's epoch milliseconds.

    The wall clock here may be hours off, or be set while we run; the server writes on every task it hands out when it
    did. Until the first task comes the wall clock has to do. One thread at a time.
    """

    def __init__(self) -> None:
        self._ahead_ms: float | None = None

    def saw(self, update_time: int) -> None:
        """A task has arrived that the server handed out at this time of its own, 0 if it does not say."""
        if update_time:
            self._ahead_ms = update_time - time.monotonic() * 1000

    def at(self, monotonic: float) -> int:
        """The server's time at this monotonic time in seconds; a little earlier, never later by its own tasks."""
        if self._ahead_ms is None:
            return int((time.time() - time.monotonic() + monotonic) * 1000)
        return int(monotonic * 1000 + self._ahead_ms)
