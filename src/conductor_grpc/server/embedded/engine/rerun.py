"""RestartWorkflow and RerunWorkflow: again from the beginning, or from one of the tasks (seen on 3.32.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure, NotFoundFailure
from conductor_grpc.server.embedded.engine.revival import (
    child_of,
    is_to_blame,
    long_name,
    reopen,
    require_ended,
    revive_parents,
    schedule_again,
    take_up,
)
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord, WorkflowRecord


def restart(engine: Engine, workflow_id: str, use_latest_definitions: bool) -> None:
    """From the very beginning, with the same input and the variables as they are.

    :param use_latest_definitions: take the latest version of the workflow definition from now on.
    :raises ConflictFailure: it has not ended.
    :raises NotFoundFailure: there is no such workflow or no definition any more, or the workflow is COMPLETED and not
        restartable.
    """
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        require_ended(workflow, "restart")
        plan = workflow.plan
        if use_latest_definitions:
            definition = engine.registry.workflow_definition(workflow.name)
            if definition is None:
                raise NotFoundFailure(f"Unable to find latest definition for {workflow_id}")
            plan = engine.registry.plan(definition)
        if workflow.status is WorkflowStatus.COMPLETED and not plan.definition.restartable:
            raise NotFoundFailure(f"Workflow: {long_name(workflow)} is non-restartable")
        for task in list(workflow.tasks):
            engine.forget(task)
        workflow.plan = plan
        workflow.create_time = engine.clock.now()
        workflow.end_time = workflow.last_retried_time = 0
        workflow.output = {}
        workflow.external_output_path = ""
        reopen(engine, workflow)
        revive_parents(engine, workflow, "restarted")


def rerun(engine: Engine, request: RerunWorkflowRequest) -> str:
    """From one of its tasks on, or from one of a sub-workflow's; the workflow's id.

    The input of the workflow and of the task, and the correlation id, become what the request says, nothing included:
    over gRPC they cannot be left out.

    :raises NotFoundFailure: there is no such workflow.
    :raises ConflictFailure: it, or a sub-workflow of it that is searched for the task, has not ended.
    :raises IllegalArgumentFailure: there is no such task in it.
    :raises UnsetValue: an input has a Value without a kind.
    """
    task_id = request.re_run_from_task_id
    task_input, workflow_input = from_values(request.task_input), from_values(request.workflow_input)
    with engine.transaction():
        workflow = engine.shelf.workflow(request.re_run_from_workflow_id)
        if not _rerun(engine, workflow, task_id, task_input):
            raise IllegalArgumentFailure(f"Task {task_id} not found")
        workflow.input = workflow_input
        engine.shelf.correlate(workflow, request.correlation_id)
    return workflow.workflow_id


def _rerun(engine: Engine, workflow: WorkflowRecord, task_id: str, task_input: Payload) -> bool:
    """False if the task is not in it, and nothing has changed."""
    require_ended(workflow, "rerun")
    task = next((each for each in workflow.tasks if each.task_id == task_id), None)
    if task is not None:
        _rewind(engine, workflow, task)
        if task.plan.type != "SUB_WORKFLOW":  # that one keeps its input, and gets a new child
            task.input = task_input
        task.output = {}
        task.sub_workflow_id = ""
        schedule_again(engine, task)
        revive_parents(engine, workflow, "reran")
        return True
    for each in list(workflow.tasks):
        if each.plan.type == "SUB_WORKFLOW" and _rerun(engine, child_of(engine, each), task_id, task_input):
            _rewind(engine, workflow, each)
            each.status = TaskStatus.IN_PROGRESS
            each.scheduled_time = each.start_time = each.update_time = engine.clock.now()
            engine.touch(each)
            return True
    return False


def _rewind(engine: Engine, workflow: WorkflowRecord, task: TaskRecord) -> None:
    """Takes the workflow back to when this task began: what was scheduled later is gone, what was open then is open."""
    now = engine.clock.now()
    for each in list(workflow.tasks):
        if each.seq > task.seq:
            engine.forget(each)
        elif each is not task and is_to_blame(each):
            take_up(engine, each)
            each.start_time = now
    reopen(engine, workflow)
    workflow.failed_reference_names, workflow.failed_task_names = [], []
    task.scheduled_time = now
    task.start_time = task.end_time = task.poll_count = 0
    task.update_time = now
    task.executed = task.retried = False
