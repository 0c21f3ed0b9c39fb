"""Which tasks this poller answers for."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    Turn = tuple[str, int]
    """Task id and poll count."""

ANY: Final = 0
"""The poll count of a task whose poll count is not known: whichever it is, we have it."""


class Seen:
    """The turns that are held, or have been while one looked."""

    def __init__(self, turns: set[Turn]) -> None:
        self.turns = turns

    def holds(self, task_id: str, poll_count: int) -> bool:
        return (task_id, poll_count) in self.turns or (task_id, ANY) in self.turns

    def knows(self, task_id: str) -> bool:
        """Whether any turn of this task is among them."""
        return any(task_id == each for each, _ in self.turns)


class Custody:
    """The turns of tasks from their receipt until the server has their outcome. Thread-safe, never blocks long.

    Turns, since the server may hand a task out again (after IN_PROGRESS) before it has answered the update that
    put it back, and the poll that brings it the second time may be lost. Counts, since the same turn may come twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[Turn] = Counter()
        self._watchers: list[Seen] = []

    def take(self, task_id: str, poll_count: int = ANY) -> None:
        turn = task_id, poll_count
        with self._lock:
            self._held[turn] += 1
            for seen in self._watchers:
                seen.turns.add(turn)

    def release(self, task_id: str, poll_count: int = ANY) -> None:
        turn = task_id, poll_count
        with self._lock:
            self._held[turn] -= 1
            if self._held[turn] <= 0:
                del self._held[turn]

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """What is held when the block begins or taken while it lasts.

        For comparing with a list that the server makes meanwhile: a task can be finished and released between
        the making of that list and the look at it, and would then seem stranded.
        """
        with self._lock:
            seen = Seen(set(self._held))
            self._watchers.append(seen)
        try:
            yield seen
        finally:
            with self._lock:
                self._watchers.remove(seen)
