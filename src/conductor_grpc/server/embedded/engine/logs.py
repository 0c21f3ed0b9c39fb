"""The logs of tasks, as the released server's index keeps them: by task id, known or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conductor_grpc.server.embedded.engine.records import TaskLog

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine

PER_UPDATE: Final = 10
"""Lines that an update may bring; more are dropped (`conductor.app.taskExecLogSizeLimit`)."""


class StrayLogs:
    """Lines for tasks that nobody knows: in memory, of the last few hundred ids. Used under the engine's lock."""

    _MOST: Final = 500

    def __init__(self) -> None:
        self._logs: dict[str, list[TaskLog]] = {}

    def of(self, task_id: str) -> list[TaskLog]:
        """The lines for this id; a new list if there are none yet."""
        if task_id not in self._logs:
            if len(self._logs) >= self._MOST:
                del self._logs[next(iter(self._logs))]
            self._logs[task_id] = []
        return self._logs[task_id]

    def find(self, task_id: str) -> list[TaskLog]:
        """As `of`, but nothing is kept."""
        return self._logs.get(task_id, [])


def add_log(engine: Engine, task_id: str, text: str) -> None:
    """One more line, with the time of the server. Whether there is such a task is not looked at."""
    with engine.transaction():
        line = TaskLog(text, engine.clock.now())
        task = engine.shelf.find_task(task_id)
        if task is None:
            engine.stray_logs.of(task_id).append(line)
        else:
            task.logs.append(line)
            engine.touch(task)


def logs_of(engine: Engine, task_id: str) -> list[TaskLog]:
    """All lines for this id, by their time. Empty for one that nobody knows."""
    with engine.lock:
        task = engine.shelf.find_task(task_id)
        lines = engine.stray_logs.find(task_id) if task is None else task.logs
        return sorted(lines, key=lambda line: line.created_time)
