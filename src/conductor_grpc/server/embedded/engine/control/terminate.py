"""TERMINATE: ends the workflow from within."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class Terminate:
    """The decider ends the workflow once it sees this task COMPLETED."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.start_time = engine.clock.now()
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        output = task.input.get("workflowOutput")
        task.output = output if isinstance(output, dict) else {} if output is None else {"output": output}
        task.status = TaskStatus.COMPLETED
        task.end_time = engine.clock.now()
        engine.touch(task)
        return True
