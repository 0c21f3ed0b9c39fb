"""SUB_WORKFLOW: another workflow, started and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import EngineError
from conductor_grpc.server.embedded.engine.tasks import new_task
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

_STATUS = {
    WorkflowStatus.COMPLETED: TaskStatus.COMPLETED,
    WorkflowStatus.FAILED: TaskStatus.FAILED,
    WorkflowStatus.TERMINATED: TaskStatus.CANCELED,
    WorkflowStatus.TIMED_OUT: TaskStatus.TIMED_OUT,
}
"""How the parent's task ends when the child has ended so."""


class SubWorkflow:
    """SCHEDULED until its child has been started, IN_PROGRESS until that has ended."""

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        task = new_task(workflow, plan, iteration)
        params = plan.proto.sub_workflow_param
        task.input = {
            "subWorkflowName": params.name,
            "subWorkflowVersion": params.version,
            "subWorkflowTaskToDomain": dict(params.task_to_domain),
            "workflowInput": task.input,
        }
        return [task]

    def execute(self, engine: Engine, task: TaskRecord) -> bool:
        if task.status is not TaskStatus.SCHEDULED:
            return False
        workflow = task.workflow
        task.start_time = engine.clock.now()
        try:
            task.sub_workflow_id = engine.start_workflow(
                name=task.input["subWorkflowName"],
                version=int(task.input["subWorkflowVersion"]),
                correlation_id=workflow.correlation_id,
                input=task.input["workflowInput"],
                task_to_domain=task.input["subWorkflowTaskToDomain"] or workflow.task_to_domain,
                priority=workflow.priority,
                parent=task,
            )
        except EngineError as error:
            task.status = TaskStatus.FAILED
            task.reason = str(error)
            task.end_time = engine.clock.now()
            engine.touch(task)
            return True
        task.status = TaskStatus.IN_PROGRESS
        task.output = {"subWorkflowId": task.sub_workflow_id}
        engine.touch(task)
        return False


def child_ended(engine: Engine, child: WorkflowRecord) -> None:
    """Carries the end of a sub-workflow to the task of its parent."""
    parent = engine.shelf.find(child.parent_workflow_id)
    task = (
        next((each for each in parent.tasks if each.task_id == child.parent_workflow_task_id), None) if parent else None
    )
    if parent is None or task is None or not task.is_open:
        return
    task.output = {**child.output, "subWorkflowId": child.workflow_id}
    task.status = _STATUS[child.status]
    task.reason = child.reason
    task.end_time = engine.clock.now()
    engine.touch(task)
    engine.decide_soon(parent)
