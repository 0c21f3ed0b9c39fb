"""How a workflow ends, and whom that concerns."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine.describe import described
from conductor_grpc.server.embedded.engine.expressions import evaluate, scope_of
from conductor_grpc.server.embedded.engine.failures import EngineError
from conductor_grpc.server.embedded.engine.starting import start_workflow
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, TaskRecord, WorkflowRecord

_FAILURE_WORKFLOW_KEY = "conductor.failure_workflow"
_FAILED = frozenset({TaskStatus.FAILED, TaskStatus.FAILED_WITH_TERMINAL_ERROR})


def complete(engine: Engine, workflow: WorkflowRecord, reason: str = "") -> None:
    """Everything has been done, or a TERMINATE task says that it has, for this reason."""
    workflow.output = output_of(workflow)
    workflow.reason = reason
    _close(engine, workflow, WorkflowStatus.COMPLETED)


def fail(
    engine: Engine,
    workflow: WorkflowRecord,
    status: WorkflowStatus,
    reason: str,
    task: TaskRecord | None = None,
    *,
    failure_workflow: bool = True,
) -> None:
    """Ends it before its end: cancels what is open and starts its failure workflow."""
    workflow.output = output_of(workflow)
    workflow.reason = reason
    workflow.status = status
    cancel(engine, [each for each in workflow.tasks if each.is_open])
    _close(engine, workflow, status)
    if failure_workflow and workflow.plan.definition.failure_workflow:
        _start_failure_workflow(engine, workflow, task)


def cancel(engine: Engine, tasks: Iterable[TaskRecord]) -> None:
    """Open tasks that nobody shall go on with; their sub-workflows are terminated with them, at any depth.

    Without recursion: a workflow that starts itself goes deeper than Python's stack.
    """
    left = deque(tasks)
    while left:
        task = left.popleft()
        _cancel_one(engine, task)
        child = engine.shelf.find(task.sub_workflow_id)
        if child is not None and child.is_open:
            workflow = task.workflow
            why = f"reason: {workflow.reason}" if workflow.reason else f"status {workflow.status.value}"
            child.output = output_of(child)
            child.reason = f"Parent workflow has been terminated with {why}"
            child.status = WorkflowStatus.TERMINATED
            left.extend(each for each in child.tasks if each.is_open)
            _close(engine, child, WorkflowStatus.TERMINATED)


def _cancel_one(engine: Engine, task: TaskRecord) -> None:
    task.status = TaskStatus.CANCELED
    task.end_time = engine.clock.now()
    task.update_time = task.update_time or task.end_time
    engine.queues.remove(task)
    engine.touch(task)
    engine.on_task_ended(task)


def output_of(workflow: WorkflowRecord) -> Payload:
    """What a TERMINATE task said, else the output parameters, else the output of the last task in its list."""
    if not workflow.tasks:
        return {}
    terminate = ended_by_terminate(workflow)
    if terminate is not None:
        return terminate.output
    parameters = workflow.plan.definition.output_parameters
    if parameters:
        evaluated: Payload = evaluate(from_values(parameters), scope_of(workflow))
        return evaluated
    return workflow.tasks[-1].output


def ended_by_terminate(workflow: WorkflowRecord) -> TaskRecord | None:
    """The TERMINATE task that has run."""
    for task in workflow.tasks:
        if task.plan.type == "TERMINATE" and task.status is TaskStatus.COMPLETED:
            return task
    return None


def _close(engine: Engine, workflow: WorkflowRecord, status: WorkflowStatus) -> None:
    _note_failures(workflow)
    workflow.status = status
    workflow.end_time = engine.clock.now()
    engine.touch(workflow)
    engine.on_workflow_ended(workflow)


def _note_failures(workflow: WorkflowRecord) -> None:
    """Adds to the names of what has failed, at last or not, those of this run; what timed out is not among them."""
    failed = [each for each in workflow.tasks if each.status in _FAILED]
    references = [*workflow.failed_reference_names, *(each.reference_name for each in failed)]
    names = [*workflow.failed_task_names, *(each.name for each in failed)]
    workflow.failed_reference_names, workflow.failed_task_names = (
        list(dict.fromkeys(references)),
        list(dict.fromkeys(names)),
    )


def _start_failure_workflow(engine: Engine, workflow: WorkflowRecord, task: TaskRecord | None) -> None:
    definition = workflow.plan.definition
    name = definition.failure_workflow
    if name.startswith("$"):
        # The released server reads `$workflow.input.KEY` in this way, with no braces.
        key = name.split(".")[2:3]
        name = str(workflow.input.get(key[0], "")) if key else ""
        if not name:
            return
    inputs = {
        **workflow.input,
        "workflowId": workflow.workflow_id,
        "reason": workflow.reason,
        "failureStatus": workflow.status.value,
        "failureTaskId": task.task_id if task else "",
        "failedWorkflow": described(workflow),
    }
    try:
        started = start_workflow(
            engine,
            name,
            inputs,
            version=definition.failure_workflow_version,
            correlation_id=workflow.correlation_id,
            task_to_domain=workflow.task_to_domain,
        ).workflow_id
    except EngineError as error:
        started = f"Error workflow {name} failed to start.  reason: {error}"
    workflow.output = {**workflow.output, _FAILURE_WORKFLOW_KEY: started}
