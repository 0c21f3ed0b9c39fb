"""Workflow tasks that the server works on by itself, and how to read a workflow that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire import branch, status, task_of

from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conductor_grpc.pb.model.task_pb2 import Task
    from conductor_grpc.pb.model.workflow_pb2 import Workflow
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask


def fork(ref: str, *branches: Iterable[WorkflowTask]) -> WorkflowTask:
    """A FORK_JOIN; a :func:`join` must follow it."""
    return task_of("FORK_JOIN", ref, fork_tasks=[branch(*tasks) for tasks in branches])


def join(ref: str, *join_on: str) -> WorkflowTask:
    return task_of("JOIN", ref, join_on=join_on)


def switch(
    ref: str, value: Any, cases: Mapping[str, Sequence[WorkflowTask]], default: Sequence[WorkflowTask] = ()
) -> WorkflowTask:
    """A SWITCH on a value, which may be an expression."""
    return task_of(
        "SWITCH",
        ref,
        input_parameters={"value": value},
        evaluator_type="value-param",
        expression="value",
        decision_cases={case: branch(*tasks) for case, tasks in cases.items()},
        default_case=default,
    )


def do_while(ref: str, condition: str, *body: WorkflowTask, **fields: Any) -> WorkflowTask:
    return task_of("DO_WHILE", ref, loop_condition=condition, loop_over=body, **fields)


def sub_workflow(
    ref: str, child: str, version: int = 1, *, task_to_domain: Mapping[str, str] | None = None, **fields: Any
) -> WorkflowTask:
    """A SUB_WORKFLOW. It has an input parameter: the child of one without gets the integers of the task's own input."""
    parameters = SubWorkflowParams(name=child, version=version, task_to_domain=task_to_domain or {})
    fields = {"input_parameters": {"from": "parent"}, **fields}
    return task_of("SUB_WORKFLOW", ref, sub_workflow_param=parameters, **fields)


def set_variable(ref: str, **variables: Any) -> WorkflowTask:
    return task_of("SET_VARIABLE", ref, input_parameters=variables)


def terminate_task(ref: str, status: str, **inputs: Any) -> WorkflowTask:
    return task_of("TERMINATE", ref, input_parameters={"terminationStatus": status, **inputs})


def references(workflow: Workflow) -> list[str]:
    """The reference names of its tasks, in their order."""
    return [task.reference_task_name for task in workflow.tasks]


def states(workflow: Workflow) -> dict[str, str]:
    """The statuses of its tasks by reference name; of several attempts the last."""
    return {task.reference_task_name: status(task) for task in workflow.tasks}


def states_of_workers_tasks(workflow: Workflow) -> dict[str, str]:
    """The same without the JOINs, where a workflow ends before they do.

    The released server may be looking at a JOIN as it cancels it, and then writes back the status that it had read.
    """
    return {task.reference_task_name: status(task) for task in workflow.tasks if task.task_type != "JOIN"}


def task_named(workflow: Workflow, reference_name: str) -> Task:
    """The latest attempt at a task."""
    return next(task for task in reversed(workflow.tasks) if task.reference_task_name == reference_name)
