"""The five clocks of a task and a workflow: what has run out, and when the next one will.

Sources: the released server checks the same five whenever it decides a workflow; here the engine's alarm makes it
decide at the very moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    definition = task.definition
    for due, began, seconds, what in _limits(task):
        if now >= due and seconds > 0:
            age = (now - began) // SECOND
            policy = TaskDef.TimeoutPolicy.Name(definition.timeout_policy)
            _apply_policy(
                engine,
                task,
                f"{what} timed out after {age} seconds. {_CONFIGURED[what]} configured as {seconds} seconds. Timeout"
                f" policy configured to {policy}",
            )
            if not task.is_open:
                return
    if now >= _response_due(task):
        _time_out(
            engine,
            task,
            f"responseTimeout: {definition.response_timeout_seconds} exceeded for the taskId: {task.task_id} with Task"
            f" Definition: {definition.name}",
        )


_CONFIGURED = {"Task": "Timeout", "Task poll": "Timeout", "Task total": "Total timeout"}

_NEVER = 2**62


def _limits(task: TaskRecord) -> Iterator[tuple[int, int, int, str]]:
    """(when it is over, since when it counts, seconds, what) of the times to which the timeout policy applies."""
    definition = task.definition
    delay = task.start_delay_seconds * SECOND
    if definition.total_timeout_seconds > 0 and task.first_scheduled_time:
        seconds = definition.total_timeout_seconds
        yield task.first_scheduled_time + seconds * SECOND, task.first_scheduled_time, seconds, "Task total"
    if definition.timeout_seconds > 0 and task.start_time:
        began = task.start_time + delay
        yield began + definition.timeout_seconds * SECOND, began, definition.timeout_seconds, "Task"
    if definition.poll_timeout_seconds > 0 and task.status is TaskStatus.SCHEDULED:
        began = task.scheduled_time + delay
        seconds = definition.poll_timeout_seconds
        yield began + (seconds + task.callback_after_seconds) * SECOND, began, seconds, "Task poll"


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
    times = [due for due in _due_times(workflow) if due < _NEVER]
    # What an ALERT_ONLY policy has let pass is not looked at again.
    return min((due for due in times if due > now), default=None)


def _due_times(workflow: WorkflowRecord) -> Iterator[int]:
    definition = workflow.plan.definition
    if definition.timeout_seconds > 0 and definition.timeout_policy == WorkflowDef.TIME_OUT_WF:
        yield workflow_began(workflow) + definition.timeout_seconds * SECOND
    for task in workflow.tasks:
        if task.is_open:
            for due, *_ in _limits(task):
                yield due
            yield _response_due(task)
            if task.plan.type == "WAIT" and task.deliver_at:
                yield task.deliver_at


def workflow_began(workflow: WorkflowRecord) -> int:
    """Since when its timeout counts."""
    return workflow.last_retried_time or workflow.create_time
