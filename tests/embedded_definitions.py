"""Definitions for tests of the embedded engine, valid unless a field says otherwise, and a store that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
from conductor_grpc.server.embedded.engine.values import fill_values

if TYPE_CHECKING:
    from collections.abc import Callable

Tasks = WorkflowTask.WorkflowTaskList


class WrittenDown:
    """A store that lists what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))


def task(
    reference: str = "a", task_type: str = "SIMPLE", inputs: dict[str, Any] | None = None, **fields: Any
) -> WorkflowTask:
    made = WorkflowTask(name=fields.pop("name", "job"), task_reference_name=reference, type=task_type, **fields)
    fill_values(made.input_parameters, inputs or {}, strict=False)
    return made


def workflow(*tasks: WorkflowTask, output: dict[str, Any] | None = None, **fields: Any) -> WorkflowDef:
    made = WorkflowDef(**{"name": "flow", "version": 1, "schema_version": 2, "tasks": tasks or [task()], **fields})
    fill_values(made.output_parameters, output or {}, strict=False)
    return made


def task_definition(name: str = "job", **fields: Any) -> TaskDef:
    return TaskDef(**{"name": name, "response_timeout_seconds": 600, "backoff_scale_factor": 1, **fields})


def fork(*branches: list[WorkflowTask]) -> WorkflowTask:
    return task("f", "FORK_JOIN", fork_tasks=[Tasks(tasks=branch) for branch in branches])


def switch(*tasks: WorkflowTask, **fields: Any) -> WorkflowTask:
    fields = {"evaluator_type": "value-param", "expression": "x", "decision_cases": {"1": Tasks(tasks=tasks)}, **fields}
    return task("s", "SWITCH", **fields)


def loop(*tasks: WorkflowTask, **fields: Any) -> WorkflowTask:
    return task("l", "DO_WHILE", **{"loop_condition": "$.l.iteration < 3", "loop_over": tasks, **fields})


def sub(**fields: Any) -> WorkflowTask:
    return task("u", "SUB_WORKFLOW", sub_workflow_param=SubWorkflowParams(**fields))


def terminate(reference: str = "t", **fields: Any) -> WorkflowTask:
    return task(reference, "TERMINATE", **fields)


def wait(**inputs: Any) -> WorkflowTask:
    return task("w", "WAIT", inputs)
