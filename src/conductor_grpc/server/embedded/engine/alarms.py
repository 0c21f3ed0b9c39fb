"""Deadlines: one for each key, the earliest found at once."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarms:
    """At most one time for each key, in milliseconds on the engine's clock.

    Not thread-safe: used under the engine's lock. `set` and `pop_due` cost O(log n), `clear` and `at` O(1), memory is
    O(keys that have an alarm).
    """

    _SLACK: Final = 64
    """How many entries of alarms that were cleared or moved may lie about besides as many as there are live ones."""

    def __init__(self) -> None:
        self.on_earlier: Callable[[], None] | None = None
        """Called when the earliest time has become an earlier one: whoever waits for it must wait less."""
        self._at: dict[str, int] = {}
        # An entry whose time is not the key's own any more is stale: taking it out of the heap would be O(n).
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def at(self, key: str) -> int | None:
        """When the key's alarm is due; None if it has none."""
        return self._at.get(key)

    def set(self, key: str, at_ms: int) -> None:
        """Give the key its alarm; one that it has is moved."""
        if self._at.get(key) == at_ms:
            return
        self._at[key] = at_ms
        heapq.heappush(self._heap, (at_ms, key))
        if len(self._heap) > 2 * len(self._at) + self._SLACK:
            self._compact()
        # A stale entry before it only means that somebody waits for less time than needed already.
        if self.on_earlier is not None and self._heap[0][1] == key:
            self.on_earlier()

    def bring_forward(self, key: str, at_ms: int) -> None:
        """As `set`, unless the key has an earlier alarm already."""
        known = self._at.get(key)
        if known is None or at_ms < known:
            self.set(key, at_ms)

    def clear(self, key: str) -> None:
        """Take the key's alarm away; fine if it has none."""
        if self._at.pop(key, None) is not None and len(self._heap) > 2 * len(self._at) + self._SLACK:
            self._compact()

    def earliest(self) -> int | None:
        """When the first alarm is due; None if there is none."""
        heap = self._heap
        while heap:
            at_ms, key = heap[0]
            if self._at.get(key) == at_ms:
                return at_ms
            heapq.heappop(heap)
        return None

    def pop_due(self, now: int) -> str | None:
        """The key whose alarm is due first, its alarm taken away; None if none is due at `now`."""
        at_ms = self.earliest()
        if at_ms is None or at_ms > now:
            return None
        key = heapq.heappop(self._heap)[1]
        del self._at[key]
        return key

    def _compact(self) -> None:
        self._heap = [(at_ms, key) for key, at_ms in self._at.items()]
        heapq.heapify(self._heap)
