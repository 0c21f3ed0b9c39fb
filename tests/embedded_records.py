"""Workflows and tasks for tests of the embedded engine's parts, made without the engine."""

from __future__ import annotations

import itertools
from typing import Any

from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
from conductor_grpc.server.embedded.engine.plan import WorkflowPlan, make_plan
from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord
from conductor_grpc.worker.status import TaskStatus

_numbers = itertools.count(1)


def a_plan(name: str = "flow", task: str = "job", **task_definition: Any) -> WorkflowPlan:
    """Of a workflow with one SIMPLE task."""
    definition = TaskDef(name=task, response_timeout_seconds=600, **task_definition)
    only = WorkflowTask(name=task, task_reference_name=f"{task}_ref", type="SIMPLE", task_definition=definition)
    return make_plan(WorkflowDef(name=name, version=1, schema_version=2, tasks=[only]))


def a_workflow(plan: WorkflowPlan | None = None, **fields: Any) -> WorkflowRecord:
    return WorkflowRecord(f"workflow-{next(_numbers)}", plan or a_plan(), **fields)


def a_task(workflow: WorkflowRecord | None = None, **fields: Any) -> TaskRecord:
    """A SCHEDULED task of the workflow, a new one where there is none."""
    workflow = workflow or a_workflow()
    (plan,) = workflow.plan.tasks
    name = plan.proto.name
    task = TaskRecord(
        task_id=f"task-{next(_numbers)}",
        workflow=workflow,
        plan=plan,
        task_type=fields.pop("task_type", name),
        reference_name=plan.reference_name,
        status=fields.pop("status", TaskStatus.SCHEDULED),
        name=name,
        seq=len(workflow.tasks) + 1,
        **fields,
    )
    workflow.tasks.append(task)
    return task
