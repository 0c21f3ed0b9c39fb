"""WAIT: for a duration, until a time, or for an UpdateTask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.base import SingleTask, begin, end
from conductor_grpc.server.embedded.engine.wait_time import parse_duration, parse_time
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class Wait(SingleTask):
    """The alarm of its workflow wakes it at `deliver_at`; 0: only an UpdateTask ends it."""

    def start(self, engine: Engine, task: TaskRecord) -> None:
        begin(engine, task)
        duration, until = task.input.get("duration"), task.input.get("until")
        task.deliver_at = 0
        try:
            if duration:
                task.deliver_at = engine.clock.now() + parse_duration(str(duration)) * 1000
            elif until:
                task.deliver_at = parse_time(str(until))
        except ValueError as error:
            end(engine, task, TaskStatus.FAILED_WITH_TERMINAL_ERROR, str(error))

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        if not task.deliver_at or engine.clock.now() < task.deliver_at:
            return False
        end(engine, task)
        return True
