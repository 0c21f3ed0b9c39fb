"""Executions of several tasks, with ids that a test chooses, made without the engine."""

from __future__ import annotations

from typing import Any

from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
from conductor_grpc.server.embedded.engine.plan import make_plan
from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord
from conductor_grpc.worker.status import TaskStatus


def workflow_record(workflow_id: str, *task_types: str, name: str = "orders", **fields: Any) -> WorkflowRecord:
    """An execution of SIMPLE tasks of these types, whose reference names are `t1`, `t2`, ...; none is scheduled."""
    tasks = [
        WorkflowTask(
            name=task_type,
            task_reference_name=f"t{number}",
            type="SIMPLE",
            retry_count=-1,
            task_definition=TaskDef(name=task_type, response_timeout_seconds=60, rate_limit_frequency_in_seconds=1),
        )
        for number, task_type in enumerate(task_types, 1)
    ]
    plan = make_plan(WorkflowDef(name=name, version=1, schema_version=2, tasks=tasks))
    return WorkflowRecord(workflow_id, plan, **fields)


def task_record(workflow: WorkflowRecord, task_id: str, position: int = 0, **fields: Any) -> TaskRecord:
    """An attempt at the task at this position of the workflow's definition, SCHEDULED unless said otherwise."""
    plan = workflow.plan.tasks[position]
    status = fields.pop("status", TaskStatus.SCHEDULED)
    task = TaskRecord(
        task_id, workflow, plan, plan.proto.name, plan.reference_name, status, name=plan.proto.name, **fields
    )
    workflow.tasks.append(task)
    return task
