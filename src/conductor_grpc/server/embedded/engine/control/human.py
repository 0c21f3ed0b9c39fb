"""HUMAN: waits until somebody completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Human:
    """IN_PROGRESS until an UpdateTask ends it."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.start_time = engine.clock.now()
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:  # noqa: ARG002 - only UpdateTask ends it
        return False
