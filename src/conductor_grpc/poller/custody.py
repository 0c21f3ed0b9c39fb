"""Which tasks this poller answers for."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Custody:
    """The ids of tasks from their receipt until the server has their outcome. Thread-safe, never blocks long.

    Counts, since the server may hand a task out again (after IN_PROGRESS) before it has answered the update that
    put it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._watchers: list[set[str]] = []

    def take(self, task_id: str) -> None:
        with self._lock:
            self._held[task_id] += 1
            for seen in self._watchers:
                seen.add(task_id)

    def release(self, task_id: str) -> None:
        with self._lock:
            self._held[task_id] -= 1
            if self._held[task_id] <= 0:
                del self._held[task_id]

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    @contextmanager
    def watch(self) -> Iterator[set[str]]:
        """A set of all ids held when the block begins or taken while it lasts.

        For comparing with a list that the server makes meanwhile: a task can be finished and released between
        the making of that list and the look at it, and would then seem stranded.
        """
        with self._lock:
            seen = set(self._held)
            self._watchers.append(seen)
        try:
            yield seen
        finally:
            with self._lock:
                self._watchers.remove(seen)
