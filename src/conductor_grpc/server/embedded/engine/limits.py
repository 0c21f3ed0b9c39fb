"""How many tasks of a definition may run at a time, and how many may start within some seconds.

Both count by the name of the task definition, whatever the domain, and follow the definition as it was when the
task's workflow started. Not thread-safe: used under the engine's lock.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class ConcurrencyLimits:
    """`concurrent_exec_limit`, as the released server's SQLite backend keeps it.

    A task may run if fewer than the limit are IN_PROGRESS, and if it is among the first of the open ones, by the time
    at which they were scheduled: one that waits for its callback or retry delay holds its place.
    """

    def __init__(self) -> None:
        self._open: dict[str, dict[str, TaskRecord]] = {}
        """Of definitions with a limit, in the order of creation."""
        self._running: dict[str, set[TaskRecord]] = {}
        """Handed out; some may have ended or have been put back since."""
        self._held_back: dict[TaskRecord, int] = {}
        """Until when tasks were put back because of the limit."""

    def scheduled(self, task: TaskRecord) -> None:
        """A new task, or one that was loaded. To be called for all, in the order of their creation."""
        if task.definition.concurrent_exec_limit > 0 and task.is_open:
            self._open.setdefault(task.name, {})[task.task_id] = task
            if task.status is TaskStatus.IN_PROGRESS:
                self.started(task)

    def allow(self, task: TaskRecord) -> bool:
        """True if the task may run now."""
        limit = task.definition.concurrent_exec_limit
        return limit <= 0 or (self._in_progress(task.name) < limit and task in self._first(task.name, limit))

    def held_back(self, task: TaskRecord, until: int) -> None:
        """The task must not run now, and is back in its queue until then."""
        self._held_back[task] = until

    def started(self, task: TaskRecord) -> None:
        """The task is IN_PROGRESS now."""
        if task.definition.concurrent_exec_limit > 0:
            self._held_back.pop(task, None)
            self._running.setdefault(task.name, set()).add(task)

    def ended(self, task: TaskRecord) -> list[TaskRecord]:
        """The task has ended or is gone. Returns the ones of its definition that were held back and may run now."""
        limit = task.definition.concurrent_exec_limit
        if limit <= 0:
            return []
        tasks = self._open.get(task.name)
        if tasks is not None and tasks.pop(task.task_id, None) is not None and not tasks:
            del self._open[task.name]
        self._held_back.pop(task, None)
        self._running.get(task.name, set()).discard(task)
        free = max(limit - self._in_progress(task.name), 0)
        # One that was put back since for another reason, such as a worker's callback, has a time of its own.
        may_run = [
            each
            for each in self._first(task.name, limit)
            if each.queued and self._held_back.get(each) == each.deliver_at
        ]
        return may_run[:free]

    def _in_progress(self, name: str) -> int:
        running = self._running.get(name, set())
        # A worker may have put its task back with a callback.
        running.intersection_update([task for task in running if task.status is TaskStatus.IN_PROGRESS])
        if not running:
            self._running.pop(name, None)
        return len(running)

    def _first(self, name: str, limit: int) -> list[TaskRecord]:
        return list(islice(self._open.get(name, {}).values(), limit))


class RateLimits:
    """`rate_limit_per_frequency` starts in any `rate_limit_frequency_in_seconds`.

    A sliding window, as on the released server's Redis backend (its SQLite backend ignores these limits).
    """

    def __init__(self) -> None:
        self._starts: dict[str, deque[int]] = {}
        """By definition: when its tasks have started, no more than the limit."""

    def allow(self, task: TaskRecord, now: int) -> bool:
        """True if the task may start now; then it counts as started."""
        most = task.definition.rate_limit_per_frequency
        seconds = task.definition.rate_limit_frequency_in_seconds
        if most <= 0 or seconds <= 0:
            return True
        starts = self._starts.setdefault(task.name, deque())
        while starts and starts[0] <= now - seconds * 1000:
            starts.popleft()
        if len(starts) >= most:
            return False
        starts.append(now)
        return True
