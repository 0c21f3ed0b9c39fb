"""What a task type that the engine runs itself has to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Control(Protocol):
    """One task type. Stateless: everything is in the records."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        """The records to put into the workflow when its turn has come: its own, and what it brings along."""
        ...

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        """Called for each open task at every decision; True if the workflow has changed.

        Raises TerminateWorkflow when the workflow cannot go on.
        """
        ...
