"""What a server does with what its store holds when it starts."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


def restore(engine: Engine) -> None:
    """Takes over everything from the store: definitions, workflows, what waits in queues, and what is due.

    A task that a worker had when the server ended is still the worker's: it is IN_PROGRESS, and its response timeout
    counts from when it was handed out. Raises LauncherError.
    """
    contents = engine.store.load()
    for wire in contents.task_definitions:
        engine.registry.load_task_definition(wire)
    for wire in contents.workflow_definitions:
        engine.registry.load_workflow_definition(wire)
    for wire in contents.event_handlers:
        engine.registry.load_event_handler(wire)
    for workflow in contents.workflows:
        engine.shelf.add(workflow)
    with engine.transaction():
        _evict(engine, [workflow for workflow in contents.workflows if not workflow.is_open])
        _enqueue(engine, [task for task in engine.shelf.tasks() if task.is_open and task.workflow.is_open])
        for workflow in contents.workflows:
            if workflow.is_open:
                # Something may have become due while there was no server.
                engine.alarms.set(workflow.workflow_id, engine.clock.now())


def _evict(engine: Engine, ended: list[WorkflowRecord]) -> None:
    """A server that keeps fewer of them than the last one."""
    for workflow in sorted(ended, key=attrgetter("end_time")):
        for gone in engine.shelf.finished(workflow):
            engine.store.delete_workflow(gone.workflow_id)


def _enqueue(engine: Engine, tasks: list[TaskRecord]) -> None:
    for task in sorted(tasks, key=attrgetter("scheduled_time")):
        engine.limits.scheduled(task)
        if task.status is TaskStatus.SCHEDULED and task.plan.type not in engine.controls:
            engine.queues.offer(task, task.deliver_at)
