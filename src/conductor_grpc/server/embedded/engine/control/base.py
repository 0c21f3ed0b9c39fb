"""What a task type that the engine runs itself has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Control(Protocol):
    """One task type. Stateless: everything is in the records."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        """The records to put into the workflow when its turn has come: its own, and what it brings along."""
        ...

    def start(self, engine: Engine, task: TaskRecord) -> None:
        """Called for a SCHEDULED one whose time has come: once, and again after each retry or rerun."""
        ...

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        """Called at every decision while it is open, once it has been started; True if the workflow has changed.

        Raises TerminateWorkflow when the workflow cannot go on.
        """
        ...


class SingleTask:
    """A task type that brings nothing along, and is IN_PROGRESS as soon as it is SCHEDULED."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:  # noqa: ARG002
        return [new_task(workflow, plan, iteration)]

    def start(self, engine: Engine, task: TaskRecord) -> None:
        begin(engine, task)

    def execute(self, engine: Engine, task: TaskRecord) -> bool:  # noqa: ARG002
        """Nothing: somebody from outside ends it."""
        return False


def begin(engine: Engine, task: TaskRecord) -> None:
    """It is IN_PROGRESS from now on."""
    now = engine.clock.now()
    task.status = TaskStatus.IN_PROGRESS
    task.start_time = task.start_time or now
    task.update_time = now
    engine.touch(task)


def end(engine: Engine, task: TaskRecord, status: TaskStatus = TaskStatus.COMPLETED, reason: str = "") -> None:
    """It has its last state. Where it has ended before and was taken up again, that time stays, as on the released
    server."""
    task.status = status
    task.reason = reason or task.reason
    task.end_time = task.end_time or engine.clock.now()
    engine.touch(task)
    engine.on_task_ended(task)
