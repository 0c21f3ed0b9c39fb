"""DO_WHILE: its body again and again while a condition holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.plan import TaskPlan
from conductor_grpc.server.embedded.engine.scheduling import enter, tasks_for
from conductor_grpc.server.embedded.engine.tasks import input_of, new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


class DoWhile:
    """IN_PROGRESS while the tasks of its body come and go; its iteration counts from 1."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration, status=TaskStatus.IN_PROGRESS)
        task.start_time = engine.clock.now()
        task.iteration = 1
        task.output = {"iteration": 1}
        return [task, *tasks_for(engine, workflow, plan.branches[TaskPlan.LOOP_BODY][0], 1)]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        from conductor_grpc.server.embedded.engine.loop_condition import LoopCondition

        body = self._turn(task)
        if any(each.is_open for each in body.values()):
            return False
        done = {name: each.output for name, each in body.items()}
        task.output = {**task.output, str(task.iteration): done}
        scope = {**input_of(task), task.plan.reference_name: task.output, **done}
        if LoopCondition.parse(task.plan.proto.loop_condition).holds(scope):
            task.iteration += 1
            task.output["iteration"] = task.iteration
            first = task.plan.branches[TaskPlan.LOOP_BODY][0]
            enter(engine, task.workflow, tasks_for(engine, task.workflow, first, task.iteration))
        else:
            task.status = TaskStatus.COMPLETED
            task.end_time = engine.clock.now()
        engine.touch(task)
        return True

    def _turn(self, task: TaskRecord) -> dict[str, TaskRecord]:
        return {
            each.plan.reference_name: each
            for each in task.workflow.tasks
            if each is not task and each.iteration == task.iteration and task.plan.has(each.plan.reference_name)
        }
