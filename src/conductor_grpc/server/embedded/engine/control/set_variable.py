"""SET_VARIABLE: its input becomes variables of the workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class SetVariable:
    """Done in the same decision in which it begins."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.start_time = engine.clock.now()
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        workflow = task.workflow
        workflow.variables = {**workflow.variables, **task.input}
        task.status = TaskStatus.COMPLETED
        task.end_time = engine.clock.now()
        engine.touch(task)
        engine.touch(workflow)
        return True
