"""SUB_WORKFLOW: another workflow, started and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.definitions import workflow_definition_to_proto
from conductor_grpc.errors import DefinitionError
from conductor_grpc.server.embedded.engine.control.base import SingleTask, begin, end
from conductor_grpc.server.embedded.engine.expressions import evaluate, scope_of
from conductor_grpc.server.embedded.engine.failures import EngineError
from conductor_grpc.server.embedded.engine.starting import start_workflow
from conductor_grpc.server.embedded.engine.values import from_value
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord, WorkflowRecord

_STATUSES = {
    WorkflowStatus.COMPLETED: TaskStatus.COMPLETED,
    WorkflowStatus.FAILED: TaskStatus.FAILED,
    WorkflowStatus.TERMINATED: TaskStatus.CANCELED,
    WorkflowStatus.TIMED_OUT: TaskStatus.TIMED_OUT,
}
"""How the parent's task ends when the child has ended so."""


_NESTED: Final = 16
"""Levels of sub-workflows that are started within one transaction."""

_BREATH_MS: Final = 50
"""Each level below waits as long as the released server takes to come by (`systemTaskWorkerPollInterval`), so that a
workflow that starts itself does not keep the server from everything else."""


class SubWorkflow(SingleTask):
    """IN_PROGRESS from the start of its child until that has ended.

    Its input is what the child is started with, under the names of the released server; the version is an integer,
    so that this task cannot be read over gRPC in strict mode.
    """

    def schedule(self, engine: Engine, workflow: WorkflowRecord, plan: TaskPlan, iteration: int) -> list[TaskRecord]:
        (task,) = super().schedule(engine, workflow, plan, iteration)
        task.input = _input(task)
        if _is_deep(engine, workflow):
            task.extra_delay_ms = _BREATH_MS
        return [task]

    def start(self, engine: Engine, task: TaskRecord) -> None:
        begin(engine, task)
        task.poll_count += 1
        try:
            child = _start_child(engine, task)
        except (EngineError, DefinitionError) as error:
            end(engine, task, TaskStatus.FAILED, str(error))
            return
        task.sub_workflow_id = child.workflow_id
        task.output = {"subWorkflowId": child.workflow_id}


def _is_deep(engine: Engine, workflow: WorkflowRecord) -> bool:
    for _ in range(_NESTED):
        parent = engine.shelf.find(workflow.parent_workflow_id)
        if parent is None:
            return False
        workflow = parent
    return True


def _input(task: TaskRecord) -> Payload:
    params = task.plan.proto.sub_workflow_param
    definition = from_value(params.workflow_definition) if params.HasField("workflow_definition") else None
    scope = scope_of(task.workflow, task.task_id)
    return {
        "subWorkflowName": evaluate(params.name, scope),
        "subWorkflowVersion": None if definition else params.version,
        "subWorkflowDefinition": evaluate(definition, scope),
        "subWorkflowTaskToDomain": evaluate(dict(params.task_to_domain), scope),
        "workflowInput": task.input,
        "priority": None,
        "idempotencyKey": None,
        "idempotencyStrategy": None,
    }


def _start_child(engine: Engine, task: TaskRecord) -> WorkflowRecord:
    """Raises EngineError if there is no such workflow, DefinitionError if the definition in the input is none."""
    given: dict[str, Any] = task.input
    definition = given["subWorkflowDefinition"]
    return start_workflow(
        engine,
        str(given["subWorkflowName"]),
        # An empty input is not handed on: seen on 3.32.1.
        given["workflowInput"] or dict(given),
        version=given["subWorkflowVersion"] or None,
        definition=None if definition is None else workflow_definition_to_proto(definition),
        correlation_id=task.workflow.correlation_id,
        # The parent's own are not inherited: over gRPC there is always a map, if an empty one.
        task_to_domain=given["subWorkflowTaskToDomain"],
        parent=task,
    )


def child_ended(engine: Engine, child: WorkflowRecord) -> None:
    """Carries the end of a sub-workflow to the task of its parent, which is decided before the transaction ends.

    Nothing happens if that task is gone, has got another child, or was cancelled together with its workflow.
    """
    task = engine.shelf.find_task(child.parent_workflow_task_id)
    if task is None or task.sub_workflow_id != child.workflow_id or task.status is TaskStatus.CANCELED:
        return
    task.output = {**task.output, **child.output, "subWorkflowId": child.workflow_id}
    reason = ""
    if child.status is not WorkflowStatus.COMPLETED:
        reason = f"Sub workflow {child.name}.{child.version}/{child.workflow_id} failure reason: {child.reason}"
    end(engine, task, _STATUSES[child.status], reason)
    engine.decide_soon(task.workflow)
