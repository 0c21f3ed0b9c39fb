"""SWITCH by the value of a parameter: goes on with the tasks of one case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.control.base import end
from conductor_grpc.server.embedded.engine.expressions import java_text
from conductor_grpc.server.embedded.engine.failures import TerminateWorkflow
from conductor_grpc.server.embedded.engine.plan import TaskPlan
from conductor_grpc.server.embedded.engine.scheduling import tasks_for
from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_EVALUATOR = "value-param"


class Switch:
    """Ended as soon as it begins; the chosen case's first task comes with it."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        """Raises TerminateWorkflow for an evaluator that the released server does not know either."""
        evaluator = plan.proto.evaluator_type
        if evaluator != _EVALUATOR:
            raise TerminateWorkflow(f"No evaluator registered for type: {evaluator}", WorkflowStatus.FAILED)
        task = new_task(workflow, plan, iteration, status=TaskStatus.COMPLETED)
        task.start_time = task.end_time = engine.clock.now()
        value = task.input.get(plan.proto.expression)
        case = "null" if value is None else java_text(value)
        chosen = plan.branches.get(case, plan.branches[TaskPlan.DEFAULT_CASE])
        task.input = {**task.input, "case": case}
        task.output = {"evaluationResult": [case], "selectedCase": case}
        if not chosen:
            return [task]
        task.input["hasChildren"] = "true"
        return [task, *tasks_for(engine, workflow, chosen[0], iteration)]

    def start(self, engine: Engine, task: TaskRecord) -> None:
        """After a rerun: it chooses nothing, and what comes after all its cases is next (seen on 3.32.1)."""
        end(engine, task)

    def execute(self, engine: Engine, task: TaskRecord) -> bool:  # noqa: ARG002 - never open
        return False
