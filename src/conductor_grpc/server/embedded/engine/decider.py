"""One decision after another until a workflow has nothing left to decide.

The order is the released server's: the workflow's time, then each task's time, retry and successors, then the new
tasks, then the tasks that the engine runs itself; and again as long as that has changed something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import ending, timeouts
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.server.embedded.engine.retries import next_attempt
from conductor_grpc.server.embedded.engine.scheduling import enter, first_tasks, tasks_after
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_WORKFLOW_STATUS = {
    TaskStatus.CANCELED: WorkflowStatus.TERMINATED,
    TaskStatus.TIMED_OUT: WorkflowStatus.TIMED_OUT,
}
"""How a workflow ends when a task has ended so for good; all others: FAILED."""


def decide(engine: Engine, workflow: WorkflowRecord) -> None:
    """Brings the workflow as far as it goes by itself. Under the engine's lock."""
    try:
        while _step(engine, workflow):
            pass
    except TerminateWorkflow as end:
        ending.fail(engine, workflow, end.status, end.reason, end.task)


def _step(engine: Engine, workflow: WorkflowRecord) -> bool:
    """One decision; True if another may find more to do."""
    if not workflow.is_open:
        return False
    timeouts.check_workflow(engine, workflow)
    if workflow.status is WorkflowStatus.PAUSED:
        return False
    successors = _successors(engine, workflow)
    terminate = ending.ended_by_terminate(workflow)
    if terminate is not None:
        _end_by_terminate(engine, workflow, terminate)
        return False
    if not successors and _is_done(workflow):
        ending.complete(engine, workflow)
        return False
    entered = enter(engine, workflow, successors)
    changed = any(not task.is_open for task in entered)
    for task in workflow.tasks:
        control = engine.controls.get(task.plan.type) if task.is_open else None
        if control is not None:
            changed |= control.execute(engine, task)
    return changed


def _successors(engine: Engine, workflow: WorkflowRecord) -> list[TaskRecord]:
    """New attempts at what has failed, and what follows that which has ended."""
    if not workflow.tasks:
        return first_tasks(engine, workflow)
    successors: dict[str, TaskRecord] = {}
    executed = {task.reference_name for task in workflow.tasks if task.executed}
    for task in workflow.tasks:
        if task.retried or task.executed or task.status is TaskStatus.SKIPPED:
            continue
        if task.is_open:
            timeouts.check_task(engine, task)
        if task.has_failed:
            attempt = _retry(engine, task)
            if attempt is not None:
                successors[attempt.reference_name] = attempt
                executed.discard(attempt.reference_name)
                continue
        if not task.is_open:
            task.executed = True
            engine.touch(task)
            for follower in tasks_after(engine, task):
                successors.setdefault(follower.reference_name, follower)
    return [task for name, task in successors.items() if name not in executed]


def _retry(engine: Engine, task: TaskRecord) -> TaskRecord | None:
    """The next attempt; None where none is left and the workflow goes on all the same.

    Raises TerminateWorkflow where it does not.
    """
    attempt = next_attempt(engine, task)
    if attempt is not None:
        task.retried = True
        engine.touch(task)
        return attempt
    if task.plan.proto.optional:
        task.status = TaskStatus.COMPLETED_WITH_ERRORS
        return None
    if task.plan.proto.permissive:
        return None
    raise TerminateWorkflow(_account(task), _WORKFLOW_STATUS.get(task.status, WorkflowStatus.FAILED), task)


def _account(task: TaskRecord) -> str:
    return f"Task {task.task_id} failed with status: {task.status} and reason: '{task.reason}'"


def _is_done(workflow: WorkflowRecord) -> bool:
    """Nothing open and every task at the top reached. Raises TerminateWorkflow if a permissive task has failed."""
    if any(task.is_open for task in workflow.tasks):
        return False
    latest = {task.reference_name: task for task in workflow.tasks}
    failed = [task for task in latest.values() if task.has_failed]
    if failed:
        raise TerminateWorkflow(" ".join(_account(task) for task in failed), WorkflowStatus.FAILED, failed[-1])
    return all(plan.reference_name in latest for plan in workflow.plan.tasks)


def _end_by_terminate(engine: Engine, workflow: WorkflowRecord, task: TaskRecord) -> None:
    status = WorkflowStatus(str(task.input.get("terminationStatus")))
    reason = task.input.get("terminationReason")
    text = str(reason) if reason else f"Workflow is {status.value} by TERMINATE task: {task.task_id}"
    if status is WorkflowStatus.COMPLETED:
        ending.complete(engine, workflow, text)
    else:
        ending.fail(engine, workflow, status, text, task)
