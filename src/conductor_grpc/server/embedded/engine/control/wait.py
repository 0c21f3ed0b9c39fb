"""WAIT: for a duration, until a time, or for an UpdateTask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.control.base import SingleTask, begin, end
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure
from conductor_grpc.server.embedded.engine.timeouts import SECOND
from conductor_grpc.server.embedded.engine.wait_time import parse_duration, parse_time
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_FOR_EVER = 2**31 - 1  # seconds: the largest of Java's ints


class Wait(SingleTask):
    """The alarm of its workflow wakes it at `deliver_at`; 0: only an UpdateTask ends it.

    Its `callback_after_seconds` says for how long it was to wait when it began.
    """

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        """Raises IllegalArgumentFailure for a duration that turns out to be none."""
        (task,) = super().schedule(engine, workflow, plan, iteration)
        try:
            _duration(task)
        except ValueError as error:
            raise IllegalArgumentFailure(str(error)) from error
        return [task]

    def start(self, engine: Engine, task: TaskRecord) -> None:
        begin(engine, task)
        now = engine.clock.now()
        try:
            task.deliver_at = _end_of_wait(task, now)
        except ValueError as error:
            end(engine, task, TaskStatus.FAILED_WITH_TERMINAL_ERROR, str(error))
            return
        seconds = max(0, task.deliver_at - now) // SECOND
        task.callback_after_seconds = seconds if task.deliver_at else _FOR_EVER

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        now = engine.clock.now()
        if not task.deliver_at or now < task.deliver_at:
            return False
        task.update_time = now
        end(engine, task)
        return True


def _end_of_wait(task: TaskRecord, now: int) -> int:
    """Milliseconds since 1970; 0: never. Raises ValueError."""
    duration, until = _duration(task), task.input.get("until")
    if duration is not None:
        return now + duration * SECOND
    try:
        return parse_time(str(until)) if until else 0
    except ValueError as error:
        raise ValueError(f"Invalid/Unsupported Wait Until format.  Provided: {until}") from error


def _duration(task: TaskRecord) -> int | None:
    """Seconds; None if it names no duration. Raises ValueError."""
    duration = task.input.get("duration")
    return parse_duration(str(duration)) if duration else None
