"""What retry, restart and rerun have in common: a workflow that had ended goes on, and so do those that wait for it.

What each of them keeps and what it resets was seen on the released server, 3.32.1, field by field. All three keep the
workflow's id, and the end time and output of its earlier run until it ends again; a restart resets those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import ConflictFailure
from conductor_grpc.server.embedded.engine.records import TaskLog
from conductor_grpc.server.embedded.engine.scheduling import offer
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

GOES_ON = frozenset({"JOIN", "DO_WHILE"})
"""Types whose task goes on where it was; there is never another attempt at it."""


def reopen(engine: Engine, workflow: WorkflowRecord) -> None:
    """It is RUNNING and decided before the transaction ends."""
    if not workflow.is_open:
        engine.shelf.reopened(workflow)
    workflow.status = WorkflowStatus.RUNNING
    workflow.reason = ""
    engine.touch(workflow)
    engine.decide_soon(workflow)


def revive_parents(engine: Engine, workflow: WorkflowRecord, what: str) -> None:
    """The workflows that wait for this one, at any depth, are RUNNING again, and so are their other branches.

    An optional sub-workflow's end was of no consequence, and neither is its revival; nor that of one whose place
    another attempt has taken.
    """
    lineage = ""
    while True:
        task = engine.shelf.find_task(workflow.parent_workflow_task_id)
        if task is None or task.retried or task.plan.proto.optional:
            return
        now = engine.clock.now()
        lineage = f"{short_name(workflow)} -> {lineage}" if lineage else short_name(workflow)
        task.logs.append(TaskLog(f"Sub workflow {lineage} {what}.", now))
        task.status = TaskStatus.IN_PROGRESS
        task.reason = ""
        task.update_time = now
        engine.touch(task)
        workflow = task.workflow
        reopen(engine, workflow)
        workflow.failed_reference_names, workflow.failed_task_names = [], []
        workflow.last_retried_time = now
        for each in workflow.tasks:
            if is_to_blame(each):
                take_up(engine, each)
                each.retry_count += each.plan.type not in GOES_ON


def take_up(engine: Engine, task: TaskRecord) -> None:
    """An ended task is open again, in its place. A sub-workflow is started anew.

    (After the retry of another branch's sub-workflow the released server lets a cancelled one wait for the child that
    was terminated with it.)
    """
    if task.plan.type in GOES_ON:
        go_on(engine, task)
        return
    task.reason = ""
    task.start_time = task.end_time = 0
    task.sub_workflow_id = ""
    task.update_time = engine.clock.now()
    schedule_again(engine, task)


def go_on(engine: Engine, task: TaskRecord) -> None:
    """A task of a type in `GOES_ON` is IN_PROGRESS again, with what it has found out so far."""
    if task.status is not TaskStatus.CANCELED:
        task.retry_count += 1
        task.scheduled_time = engine.clock.now()
    task.status = TaskStatus.IN_PROGRESS
    task.update_time = engine.clock.now()
    engine.touch(task)


def schedule_again(engine: Engine, task: TaskRecord) -> None:
    """A worker may have it now, or the engine starts it with the next decision."""
    task.status = TaskStatus.SCHEDULED
    task.callback_after_seconds = 0
    engine.limits.scheduled(task)
    offer(engine, task, engine.clock.now())
    engine.touch(task)


def is_unsuccessful(task: TaskRecord) -> bool:
    """It has failed or was cancelled, and no other attempt has taken its place."""
    return task.has_failed and not task.retried


def is_to_blame(task: TaskRecord) -> bool:
    """It would end the workflow again; a permissive one, over which the workflow has gone on, would not."""
    return is_unsuccessful(task) and not task.executed


def child_of(engine: Engine, task: TaskRecord) -> WorkflowRecord:
    """Raises NotFoundFailure if it is gone or was never started; then the released server looks for `null`."""
    return engine.shelf.workflow(task.sub_workflow_id or "null")


def require_ended(workflow: WorkflowRecord, what: str) -> None:
    """Raises ConflictFailure if it is open."""
    if workflow.is_open:
        raise ConflictFailure(f"Workflow: {long_name(workflow)} is not in terminal state, unable to {what}.")


def short_name(workflow: WorkflowRecord) -> str:
    """How the released server calls it in messages."""
    return f"{workflow.name}.{workflow.version}/{workflow.workflow_id}"


def long_name(workflow: WorkflowRecord) -> str:
    """How it calls it where the status matters."""
    return f"{short_name(workflow)}.{workflow.status.value}"
