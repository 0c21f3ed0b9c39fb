"""Another attempt at a task that did not succeed, and when it is due."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.server.embedded.engine.records import BUILT_IN, RETRIABLE, ended_by
from conductor_grpc.server.embedded.engine.tasks import new_attempt

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord

_LONGEST_DELAY = 2**31 - 1  # seconds: Java's int, in which the released server reckons


def next_attempt(engine: Engine, task: TaskRecord) -> TaskRecord | None:
    """The task that follows a failed one: a new record, not yet in the workflow. None: no retry is left.

    Raises TerminateWorkflow when the total timeout leaves no time for one.

    The released server re-evaluates the input, keeps the reason, and the first attempt's scheduling time (the total
    timeout counts from it), and forgets everything else.
    """
    definition = task.definition
    if task.status not in RETRIABLE or task.plan.type in BUILT_IN or task.retry_count >= task.plan.retry_count:
        return None
    _check_total_timeout(engine, task)
    delay = retry_delay_seconds(definition, task.retry_count)
    attempt = new_attempt(task)
    attempt.retry_count = task.retry_count + 1
    attempt.retried_task_id = task.task_id
    attempt.reason = task.reason
    attempt.start_delay_seconds = attempt.callback_after_seconds = delay
    attempt.extra_delay_ms = random.randint(0, max(0, definition.backoff_jitter_ms))
    return attempt


def retry_delay_seconds(definition: TaskDef, retry_count: int) -> int:
    """Seconds between the failure of attempt `retry_count` (0: the first) and the next one, jitter not counted."""
    base = definition.retry_delay_seconds
    if definition.retry_logic == TaskDef.LINEAR_BACKOFF:
        base *= definition.backoff_scale_factor * (retry_count + 1)
    elif definition.retry_logic == TaskDef.EXPONENTIAL_BACKOFF:
        base *= 2**retry_count
    longest = definition.max_retry_delay_seconds or _LONGEST_DELAY
    return min(base, longest, _LONGEST_DELAY)


def _check_total_timeout(engine: Engine, task: TaskRecord) -> None:
    total = task.definition.total_timeout_seconds
    elapsed = (engine.clock.now() - task.first_scheduled_time) // 1000
    if 0 < total <= elapsed:
        raise TerminateWorkflow(
            f"Task {task.task_id}/{task.definition.name} exceeded total timeout of {total} seconds (elapsed {elapsed}"
            " seconds across all attempts). No further retries will be attempted.",
            ended_by(task.status),
            task,
        )
