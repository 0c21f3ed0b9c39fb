"""One decision after another until a workflow has nothing left to decide.

The order is the released server's: the workflow's time, then each task's time, retry and successors, then the new
tasks, then the tasks that the engine runs itself; and again as long as that has changed something.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import ending, timeouts
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.server.embedded.engine.records import ended_by
from conductor_grpc.server.embedded.engine.retries import next_attempt
from conductor_grpc.server.embedded.engine.scheduling import enter, first_tasks, tasks_after
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.control.base import Control
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


_AT_A_TIME: Final = 0.2
"""Seconds of computing for one workflow in one transaction: a loop without an end must not keep the server from the
others. The more tasks a workflow has, the fewer decisions are made in that time."""


def decide(engine: Engine, workflow: WorkflowRecord) -> bool:
    """Brings the workflow as far as it goes by itself. Under the engine's lock.

    True if it could go on, but has had its share for now.
    """
    workflow.update_time = engine.clock.now()
    until = time.thread_time() + _AT_A_TIME
    while _Decision(engine, workflow).make():
        if time.thread_time() > until:
            return True
    return False


class _Decision:
    """One look at a workflow. One that ends it stores nothing of what it has found out about its tasks, except for
    the task that is to blame (seen on 3.32.1: an optional task that fails last stays FAILED)."""

    def __init__(self, engine: Engine, workflow: WorkflowRecord) -> None:
        self._engine = engine
        self._workflow = workflow
        self._found: list[tuple[TaskRecord, TaskStatus, str, int]] = []
        """Tasks with their state before this decision changed it."""
        self._concluded: list[TaskRecord] = []
        self._retried: list[TaskRecord] = []

    def make(self) -> bool:
        """True if another decision may find more to do.

        Raises EngineError if a task that is next cannot be scheduled; then nothing has been decided, as after any
        other exception.
        """
        workflow = self._workflow
        if not workflow.is_open:
            return False
        try:
            return self._make()
        except TerminateWorkflow as end:
            self._forget(except_for=end.task)
            ending.fail(self._engine, workflow, end.status, end.reason, end.task)
            return False
        except Exception:
            self._forget()
            raise

    def _make(self) -> bool:
        engine, workflow = self._engine, self._workflow
        timeouts.check_workflow(engine, workflow)
        if workflow.status is WorkflowStatus.PAUSED:
            return False
        successors = self._successors()
        terminate = ending.ended_by_terminate(workflow)
        if terminate is not None:
            _end_by_terminate(engine, workflow, terminate)
            return False
        entered = enter(engine, workflow, successors)
        if not entered and _is_done(workflow):
            self._forget()
            ending.complete(engine, workflow)
            return False
        changed = any(not task.is_open for task in entered)
        for task in list(workflow.tasks):
            control = engine.controls.get(task.plan.type) if task.is_open else None
            if control is not None:
                changed |= _run(engine, control, task)
        return changed

    def _successors(self) -> list[TaskRecord]:
        """New attempts at what has failed, and what follows that which has ended."""
        engine, workflow = self._engine, self._workflow
        if not workflow.tasks:
            return first_tasks(engine, workflow)
        successors: dict[str, TaskRecord] = {}
        executed = {task.reference_name for task in workflow.tasks if task.executed}
        for task in workflow.tasks:
            if task.retried or task.executed or task.status is TaskStatus.SKIPPED:
                continue
            attempt = self._look_at(task)
            if attempt is not None:
                task.retried = True
                self._retried.append(task)
                engine.touch(task)
                successors[attempt.reference_name] = attempt
                executed.discard(attempt.reference_name)
            elif not task.is_open:
                task.executed = True
                self._concluded.append(task)
                engine.touch(task)
                for follower in tasks_after(engine, task):
                    successors.setdefault(follower.reference_name, follower)
        return [task for name, task in successors.items() if name not in executed]

    def _look_at(self, task: TaskRecord) -> TaskRecord | None:
        """The next attempt at a task that has failed or whose time is over, if there is to be one."""
        before = (task, task.status, task.reason, task.end_time)
        try:
            if task.is_open:
                timeouts.check_task(self._engine, task)
            return _retry(self._engine, task) if task.has_failed else None
        finally:
            if task.status is not before[1]:
                self._found.append(before)

    def _forget(self, *, except_for: TaskRecord | None = None) -> None:
        for task, status, reason, end_time in self._found:
            if task is not except_for:
                task.status, task.reason, task.end_time = status, reason, end_time
        for task in self._concluded:
            task.executed = False
        for task in self._retried:
            task.retried = False


def _run(engine: Engine, control: Control, task: TaskRecord) -> bool:
    """Starts an open task that the engine runs itself, if its time has come, and takes it further.

    True if the workflow has changed.
    """
    is_new = task.status is TaskStatus.SCHEDULED
    if is_new and engine.clock.now() < task.deliver_at:
        return False
    before = (task.status, task.start_time, task.update_time, task.iteration, task.output)
    try:
        if is_new:
            control.start(engine, task)
            if task.status is TaskStatus.SCHEDULED:  # what it needs is not there
                return False
        return (task.is_open and control.execute(engine, task)) or is_new
    except Exception:
        # The next turn of a loop could not be scheduled: the next decision tries that again, from where it was.
        task.status, task.start_time, task.update_time, task.iteration, task.output = before
        raise


def _retry(engine: Engine, task: TaskRecord) -> TaskRecord | None:
    """The next attempt; None where none is left and the workflow goes on all the same.

    Raises TerminateWorkflow where it does not.
    """
    attempt = next_attempt(engine, task)
    if attempt is not None:
        return attempt
    if task.plan.proto.optional:
        task.status = TaskStatus.COMPLETED_WITH_ERRORS
        return None
    if task.plan.proto.permissive:
        return None
    raise TerminateWorkflow(_account(task), ended_by(task.status), task)


def _account(task: TaskRecord) -> str:
    status = ended_by(task.status).value
    return f"Task {task.task_id} failed with status: {status} and reason: '{task.reason}'"


def _is_done(workflow: WorkflowRecord) -> bool:
    """Nothing open and every task at the top reached. Raises TerminateWorkflow if a permissive task has failed."""
    if any(task.is_open for task in workflow.tasks):
        return False
    latest = {task.reference_name: task for task in workflow.tasks}
    failed = [task for task in latest.values() if task.has_failed]
    if failed:
        raise TerminateWorkflow(" ".join(_account(task) for task in failed), WorkflowStatus.FAILED)
    return all(plan.reference_name in latest for plan in workflow.plan.tasks)


def _end_by_terminate(engine: Engine, workflow: WorkflowRecord, task: TaskRecord) -> None:
    status = WorkflowStatus(str(task.input.get("terminationStatus")))
    reason = task.input.get("terminationReason")
    text = str(reason) if reason else f"Workflow is {status.value} by TERMINATE task: {task.task_id}"
    if status is WorkflowStatus.COMPLETED:
        ending.complete(engine, workflow, text)
        ending.cancel(engine, [each for each in workflow.tasks if each.is_open])
    else:
        ending.fail(engine, workflow, status, text, task)
