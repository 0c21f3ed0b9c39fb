"""Making the records of tasks that are about to be scheduled."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.expressions import evaluate, scope_of
from conductor_grpc.server.embedded.engine.records import TaskRecord
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.plan import TaskPlan
    from conductor_grpc.server.embedded.engine.records import Payload, WorkflowRecord

_STORED_TYPES = {"FORK_JOIN": "FORK"}


def new_id() -> str:
    """An id as the server makes them."""
    return str(uuid.uuid4())


def new_task(
    workflow: WorkflowRecord, plan: TaskPlan, iteration: int = 0, *, status: TaskStatus = TaskStatus.SCHEDULED
) -> TaskRecord:
    """The first attempt at a task, its input evaluated; not yet in the workflow."""
    task = TaskRecord(
        task_id=new_id(),
        workflow=workflow,
        plan=plan,
        task_type=plan.proto.name if plan.type == "SIMPLE" else _STORED_TYPES.get(plan.type, plan.type),
        reference_name=loop_reference(plan.reference_name, iteration),
        status=status,
        name=plan.proto.name,
        iteration=iteration,
        correlation_id=workflow.correlation_id,
        start_delay_seconds=plan.proto.start_delay,
        callback_after_seconds=plan.proto.start_delay if plan.type == "SIMPLE" else 0,
        response_timeout_seconds=plan.task_definition.response_timeout_seconds,
    )
    task.input = input_of(task)
    return task


def new_attempt(task: TaskRecord) -> TaskRecord:
    """A task in the place of one that has ended, its input parameters evaluated anew; not yet in the workflow."""
    attempt = new_task(task.workflow, task.plan, task.iteration)
    # What its type has added to the input stays.
    attempt.input = {**task.input, **attempt.input}
    attempt.domain = task.domain
    attempt.parent_task_id = task.parent_task_id
    attempt.first_scheduled_time = task.first_scheduled_time
    return attempt


def input_of(task: TaskRecord) -> Payload:
    """Its input parameters evaluated. What the task definition's input template has fills in what is missing or null.

    Of the template an expression stays as it is written where it gives null, or where it stands in for an input
    parameter whose own expression does (seen on 3.32.1).
    """
    scope = scope_of(task.workflow, task.task_id)
    evaluated: Payload = evaluate(task.plan.input_parameters, scope)
    template = task.definition.input_template
    if not template:
        return evaluated
    written = from_values(template)
    unsaid = {key: value for key, value in written.items() if task.plan.input_parameters.get(key) is None}
    meant: Payload = evaluate(unsaid, scope)
    return filled_in(evaluated, filled_in(meant, written))


def filled_in(payload: Payload, template: Payload) -> Payload:
    """A payload with what a template has in the place of what is missing or null."""
    return {**payload, **{key: value for key, value in template.items() if payload.get(key) is None}}


def loop_reference(reference_name: str, iteration: int) -> str:
    """The reference name of a task in this turn of a loop; 0: not in a loop."""
    return f"{reference_name}__{iteration}" if iteration else reference_name
