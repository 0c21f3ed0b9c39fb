"""How much the outbox holds, and the waiting for it to become less."""

from __future__ import annotations

import threading
import time


class Room:
    """Counts updates and their bytes. Thread-safe.

    Nothing keeps an update out, for it is the result of work done; the limits are for those who bring new work.
    """

    def __init__(self, limit: int, byte_limit: int) -> None:
        self._limit = limit
        self._byte_limit = byte_limit
        self._fewer = threading.Condition()
        self._by_task: dict[str, int] = {}
        self._since: dict[str, float] = {}
        """When the first update of each came, by the monotonic clock; in that order."""
        self._count = 0
        self._bytes = 0
        self._waited_for = False

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        return self._bytes

    def enter(self, task_id: str, size: int) -> None:
        with self._fewer:
            self._count += 1
            self._bytes += size
            self._by_task[task_id] = self._by_task.get(task_id, 0) + 1
            self._since.setdefault(task_id, time.monotonic())

    def leave(self, task_id: str, size: int) -> None:
        with self._fewer:
            self._count -= 1
            self._bytes -= size
            left = self._by_task[task_id] - 1
            if left:
                self._by_task[task_id] = left
            else:
                del self._by_task[task_id], self._since[task_id]
            if self._count == 0 or (self._waited_for and self._roomy()):
                self._waited_for = False
                self._fewer.notify_all()

    def oldest(self) -> float:
        """For how many seconds the oldest update has been here; 0 if there is none."""
        with self._fewer:
            since = next(iter(self._since.values()), None)
        return 0.0 if since is None else time.monotonic() - since

    def holds(self, task_id: str) -> bool:
        """Whether there is an update of this task."""
        return task_id in self._by_task

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until there is room; False if there is none yet.

        Once full, it must be half empty again before there is room: polls for one task each would cost more.
        """
        if self._count < self._limit and self._bytes < self._byte_limit:
            return True
        with self._fewer:
            return self._fewer.wait_for(self._roomy, timeout)

    def wait_empty(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until nothing is left; True if so."""
        with self._fewer:
            return self._fewer.wait_for(lambda: self._count == 0, timeout)

    def _roomy(self) -> bool:
        half_empty = self._count <= self._limit // 2 and self._bytes <= self._byte_limit // 2
        if not half_empty:
            self._waited_for = True
        return half_empty
