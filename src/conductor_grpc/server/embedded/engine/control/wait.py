"""WAIT: for a duration, until a time, or for an UpdateTask."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_DURATION = re.compile(
    r"\s*(?:(\d+)\s*(?:days?|d))?\s*(?:(\d+)\s*(?:hours?|hrs?|h))?"
    r"\s*(?:(\d+)\s*(?:minutes?|mins?|m))?\s*(?:(\d+)\s*(?:seconds?|secs?|s))?\s*",
    re.IGNORECASE,
)
_TIME_FORMATS = ("%Y-%m-%d %H:%M %Z", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class Wait:
    """The alarm of its workflow wakes it at `deliver_at`."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.start_time = engine.clock.now()
        duration, until = task.input.get("duration"), task.input.get("until")
        try:
            if duration:
                task.deliver_at = task.start_time + parse_duration(str(duration)) * 1000
            elif until:
                task.deliver_at = parse_time(str(until))
        except ValueError as error:
            task.status = TaskStatus.FAILED_WITH_TERMINAL_ERROR
            task.reason = str(error)
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        now = engine.clock.now()
        if not task.deliver_at or now < task.deliver_at:
            return False
        task.status = TaskStatus.COMPLETED
        task.end_time = now
        engine.touch(task)
        return True


def parse_duration(text: str) -> int:
    """Seconds of `2 days 3h 10 minutes 5s`, any part of it left out. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"Not valid duration: {text}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of `2026-01-31 18:00`, with a time zone after it or without (UTC). Raises ValueError."""
    for form in _TIME_FORMATS:
        try:
            moment = datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        return int(moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp() * 1000)
    raise ValueError(f"Unable to parse date: {text}")
