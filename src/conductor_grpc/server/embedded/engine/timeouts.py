"""The five clocks of a task and a workflow: what has run out, and when the next one will.

Sources: the released server checks the same five whenever it decides a workflow; here the engine's alarm makes it
decide at the very moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

SECOND = 1000  # milliseconds


def check_workflow(engine: Engine, workflow: WorkflowRecord) -> None:
    """Raises TerminateWorkflow when its time is over and its policy is TIME_OUT_WF; ALERT_ONLY does nothing."""
    definition = workflow.plan.definition
    seconds = definition.timeout_seconds
    age = engine.clock.now() - workflow_began(workflow)
    if seconds > 0 and age >= seconds * SECOND and definition.timeout_policy == WorkflowDef.TIME_OUT_WF:
        raise TerminateWorkflow(
            f"Workflow timed out after {age // SECOND} seconds. Timeout configured as {seconds} seconds. Timeout policy"
            " configured to TIME_OUT_WF",
            WorkflowStatus.TIMED_OUT,
        )


def check_task(engine: Engine, task: TaskRecord) -> None:
    """Makes an open task TIMED_OUT when one of its times is over.

    Raises TerminateWorkflow where the policy is to end the workflow.
    """
    now = engine.clock.now()
    for limit in _limits(task):
        if now >= limit.due:
            _apply_policy(engine, task, limit.reason(task, (now - limit.began) // SECOND))
            if not task.is_open:
                return
    due = _response_due(task)
    if now >= due or (due < _NEVER and engine.strict and task.plan.type in _COUNTED_FROM_1970):
        _time_out(
            engine,
            task,
            f"responseTimeout: {task.definition.response_timeout_seconds} exceeded for the taskId: {task.task_id} with"
            f" Task Definition: {task.definition.name}",
        )


class _Limit(NamedTuple):
    """A time to which the timeout policy applies."""

    due: int
    began: int
    seconds: int
    text: str

    def reason(self, task: TaskRecord, elapsed: int) -> str:
        policy = TaskDef.TimeoutPolicy.Name(task.definition.timeout_policy)
        return self.text.format(
            name=task.definition.name, id=task.task_id, elapsed=elapsed, seconds=self.seconds, policy=policy
        )


# The released server's words.
_TOTAL = (
    "Task {name}/{id} exceeded total timeout of {seconds} seconds (elapsed {elapsed} seconds across all attempts"
    " including retry delays). Timeout policy: {policy}"
)
_EXECUTION = (
    "Task timed out after {elapsed} seconds. Timeout configured as {seconds} seconds. Timeout policy configured to"
    " {policy}"
)
_POLL = (
    "Task poll timed out after {elapsed} seconds. Poll timeout configured as {seconds} seconds. Timeout policy"
    " configured to {policy}"
)

_NEVER = 2**62
_COUNTED_FROM_1970 = frozenset({"JOIN", "WAIT"})
"""They begin without an update time on the released server, so that any response timeout is over at the next look."""


def _limits(task: TaskRecord) -> Iterator[_Limit]:
    definition = task.definition
    delay = task.start_delay_seconds * SECOND
    if definition.total_timeout_seconds > 0 and task.first_scheduled_time:
        seconds = definition.total_timeout_seconds
        yield _Limit(task.first_scheduled_time + seconds * SECOND, task.first_scheduled_time, seconds, _TOTAL)
    if definition.timeout_seconds > 0 and task.start_time:
        seconds, began = definition.timeout_seconds, task.start_time + delay
        yield _Limit(began + seconds * SECOND, began, seconds, _EXECUTION)
    if definition.poll_timeout_seconds > 0 and task.status is TaskStatus.SCHEDULED:
        seconds, began = definition.poll_timeout_seconds, task.scheduled_time + delay
        yield _Limit(began + (seconds + task.callback_after_seconds) * SECOND, began, seconds, _POLL)


def _response_due(task: TaskRecord) -> int:
    seconds = task.definition.response_timeout_seconds
    if seconds <= 0 or task.status is not TaskStatus.IN_PROGRESS:
        return _NEVER
    return task.update_time + (seconds + task.callback_after_seconds) * SECOND


def _apply_policy(engine: Engine, task: TaskRecord, reason: str) -> None:
    policy = task.definition.timeout_policy
    if policy == TaskDef.ALERT_ONLY:
        return
    _time_out(engine, task, reason)
    if policy == TaskDef.TIME_OUT_WF:
        raise TerminateWorkflow(reason, WorkflowStatus.TIMED_OUT, task)


def _time_out(engine: Engine, task: TaskRecord, reason: str) -> None:
    task.status = TaskStatus.TIMED_OUT
    task.reason = reason
    task.end_time = engine.clock.now()
    engine.queues.remove(task)
    engine.touch(task)
    engine.on_task_ended(task)


def next_look(workflow: WorkflowRecord, now: int) -> int | None:
    """When (ms) the workflow must be decided again though nobody asks; None: never."""
    if workflow.status is WorkflowStatus.PAUSED:
        return None
    times = [due for due in _due_times(workflow) if due < _NEVER]
    # What an ALERT_ONLY policy has let pass is not looked at again.
    return min((due for due in times if due > now), default=None)


def _due_times(workflow: WorkflowRecord) -> Iterator[int]:
    definition = workflow.plan.definition
    if definition.timeout_seconds > 0 and definition.timeout_policy == WorkflowDef.TIME_OUT_WF:
        yield workflow_began(workflow) + definition.timeout_seconds * SECOND
    for task in workflow.tasks:
        if task.is_open:
            for limit in _limits(task):
                yield limit.due
            yield _response_due(task)
            if not task.queued:  # the engine runs it itself, and shall start it, or end its wait
                yield task.deliver_at


def workflow_began(workflow: WorkflowRecord) -> int:
    """Since when its timeout counts."""
    return workflow.last_retried_time or workflow.create_time
