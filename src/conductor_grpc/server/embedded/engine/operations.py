"""What somebody from outside may do to a workflow as a whole: pause, resume, skip, rerun, restart, retry, end, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import ending
from conductor_grpc.server.embedded.engine.failures import ConflictFailure, IllegalStateFailure

if TYPE_CHECKING:
    from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
    from conductor_grpc.pb.model.skiptaskrequest_pb2 import SkipTaskRequest
    from conductor_grpc.server.embedded.engine.engine import Engine


def decide(engine: Engine, workflow_id: str) -> None:
    with engine.transaction():
        engine.decide_soon(engine.shelf.workflow(workflow_id))


def pause(engine: Engine, workflow_id: str) -> None:
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if not workflow.is_open:
            raise ConflictFailure("Workflow id " + workflow_id + " has ended, status cannot be updated.")
        workflow.status = WorkflowStatus.PAUSED
        engine.touch(workflow)


def resume(engine: Engine, workflow_id: str) -> None:
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        if workflow.status is not WorkflowStatus.PAUSED:
            raise IllegalStateFailure(f"The workflow {workflow_id} is not PAUSED so cannot resume.")
        workflow.status = WorkflowStatus.RUNNING
        engine.touch(workflow)
        engine.decide_soon(workflow)


def skip_task(engine: Engine, workflow_id: str, reference_name: str, request: SkipTaskRequest) -> None:
    raise NotImplementedError


def rerun(engine: Engine, request: RerunWorkflowRequest) -> str:
    raise NotImplementedError


def restart(engine: Engine, workflow_id: str, use_latest_definitions: bool) -> None:
    raise NotImplementedError


def retry(engine: Engine, workflow_id: str, resume_subworkflow_tasks: bool) -> None:
    raise NotImplementedError


def reset_callbacks(engine: Engine, workflow_id: str) -> None:
    raise NotImplementedError


def terminate(engine: Engine, workflow_id: str, reason: str) -> None:
    with engine.transaction():
        workflow = engine.shelf.workflow(workflow_id)
        ending.fail(engine, workflow, WorkflowStatus.TERMINATED, reason, failure_workflow=False)


def remove(engine: Engine, workflow_id: str, archive: bool) -> None:
    with engine.transaction():
        engine.shelf.remove(engine.shelf.workflow(workflow_id))
