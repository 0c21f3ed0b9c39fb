"""The logs of tasks, as the released server's index keeps them: by task id, known or not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from conductor_grpc.server.embedded.engine.records import TaskLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.server.embedded.engine.engine import Engine

PER_UPDATE: Final = 10
"""Lines that an update may bring; more are dropped (`conductor.app.taskExecLogSizeLimit`)."""


class StrayLogs:
    """Lines for tasks that nobody knows: in memory, the last ones of the last few hundred ids. Used under the engine's
    lock."""

    MOST_IDS: Final = 500
    MOST_LINES: Final = 100

    def __init__(self) -> None:
        self._logs: dict[str, deque[TaskLog]] = {}

    def add(self, task_id: str, line: TaskLog) -> None:
        """One more line for this id."""
        lines = self._logs.get(task_id)
        if lines is None:
            if len(self._logs) >= self.MOST_IDS:
                del self._logs[next(iter(self._logs))]
            lines = self._logs[task_id] = deque(maxlen=self.MOST_LINES)
        lines.append(line)

    def find(self, task_id: str) -> Iterable[TaskLog]:
        """The lines for this id; none if there are none."""
        return self._logs.get(task_id, ())


def add_log(engine: Engine, task_id: str, text: str) -> None:
    """One more line, with the time of the server. Whether there is such a task is not looked at."""
    with engine.transaction():
        line = TaskLog(text, engine.clock.now())
        task = engine.shelf.find_task(task_id)
        if task is None:
            engine.stray_logs.add(task_id, line)
        else:
            task.logs.append(line)
            engine.touch(task)


def logs_of(engine: Engine, task_id: str) -> list[TaskLog]:
    """All lines for this id, by their time. Empty for one that nobody knows."""
    with engine.lock:
        task = engine.shelf.find_task(task_id)
        lines = engine.stray_logs.find(task_id) if task is None else task.logs
        return sorted(lines, key=lambda line: line.created_time)
