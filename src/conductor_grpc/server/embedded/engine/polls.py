"""Which queues somebody polls."""

from __future__ import annotations

from collections import Counter
from typing import Final


class PollHistory:
    """The time of the last poll of each queue. Not thread-safe: used under the engine's lock."""

    ACTIVE_FOR: Final = 10_000
    """Milliseconds for which a queue counts as served after a poll (`conductor.app.activeWorkerLastPollTimeout`)."""
    _MOST: Final = 10_000
    """Queues remembered. Beyond, those are forgotten that were polled longest ago."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()

    def began(self, queue_name: str) -> None:
        """A poll waits at this queue: it counts as served all the while."""
        self._waiting[queue_name] += 1

    def ended(self, queue_name: str, now: int) -> None:
        """A poll that has begun has its answer."""
        self._waiting[queue_name] -= 1
        if not self._waiting[queue_name]:
            del self._waiting[queue_name]
        self.polled(queue_name, now)

    def polled(self, queue_name: str, now: int) -> None:
        """A poll has its answer."""
        self._last.pop(queue_name, None)  # the latest one goes to the end
        self._last[queue_name] = now
        if len(self._last) > self._MOST:
            del self._last[next(iter(self._last))]

    def active(self, queue_name: str, now: int) -> bool:
        """True if somebody serves this queue: a poll waits at it, or had its answer less than 10 seconds ago."""
        last = self._last.get(queue_name)
        return queue_name in self._waiting or (last is not None and now - last < self.ACTIVE_FOR)
