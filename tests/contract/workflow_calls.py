"""The calls of WorkflowService, one function each, and the answers that its cases expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from wire import Failure, values

from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
from conductor_grpc.pb.model.skiptaskrequest_pb2 import SkipTaskRequest
from conductor_grpc.pb.services import workflow_service_pb2 as messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflow_pb2 import Workflow


def failure(details: str, java_class: str) -> Failure:
    """What WorkflowService answers to whatever goes wrong in the engine: INTERNAL, the text, and the class's name."""
    return Failure(grpc.StatusCode.INTERNAL, details, java_class)


def unknown_workflow(workflow_id: str) -> Failure:
    return failure(f"No such workflow found by id: {workflow_id}", "NotFoundException")


def pause(server: ServerUnderTest, workflow_id: str) -> None:
    server.workflows.PauseWorkflow(messages.PauseWorkflowRequest(workflow_id=workflow_id))


def resume(server: ServerUnderTest, workflow_id: str) -> None:
    server.workflows.ResumeWorkflow(messages.ResumeWorkflowRequest(workflow_id=workflow_id))


def retry(server: ServerUnderTest, workflow_id: str, resume_subworkflow_tasks: bool = False) -> None:
    request = messages.RetryWorkflowRequest(workflow_id=workflow_id, resume_subworkflow_tasks=resume_subworkflow_tasks)
    server.workflows.RetryWorkflow(request)


def restart(server: ServerUnderTest, workflow_id: str, latest: bool = False) -> None:
    request = messages.RestartWorkflowRequest(workflow_id=workflow_id, use_latest_definitions=latest)
    server.workflows.RestartWorkflow(request)


def rerun(
    server: ServerUnderTest,
    workflow_id: str,
    task_id: str = "",
    *,
    task_input: Mapping[str, Any] | None = None,
    workflow_input: Mapping[str, Any] | None = None,
    correlation_id: str = "",
) -> str:
    """Reruns from a task; the id of the workflow that runs."""
    request = RerunWorkflowRequest(
        re_run_from_workflow_id=workflow_id,
        re_run_from_task_id=task_id,
        task_input=values(task_input or {}),
        workflow_input=values(workflow_input or {}),
        correlation_id=correlation_id,
    )
    return server.workflows.RerunWorkflow(request).workflow_id


def skip(
    server: ServerUnderTest,
    workflow_id: str,
    reference_name: str,
    *,
    task_input: Mapping[str, Any] | None = None,
    task_output: Mapping[str, Any] | None = None,
) -> None:
    """Skips a task; without input and output there is no SkipTaskRequest in the request."""
    request = messages.SkipTaskRequest(workflow_id=workflow_id, task_reference_name=reference_name)
    if task_input is not None or task_output is not None:
        skipped = SkipTaskRequest(task_input=values(task_input or {}), task_output=values(task_output or {}))
        request.request.CopyFrom(skipped)
    server.workflows.SkipTaskFromWorkflow(request)


def reset_callbacks(server: ServerUnderTest, workflow_id: str) -> None:
    server.workflows.ResetWorkflowCallbacks(messages.ResetWorkflowCallbacksRequest(workflow_id=workflow_id))


def remove(server: ServerUnderTest, workflow_id: str, archive: bool = False) -> None:
    server.workflows.RemoveWorkflow(messages.RemoveWorkflowRequest(workflod_id=workflow_id, archive_workflow=archive))


def running(server: ServerUnderTest, name: str, **request: int) -> list[str]:
    """The ids of the workflows of this name that run; given `start_time` and `end_time`, of one version and time."""
    answer = server.workflows.GetRunningWorkflows(messages.GetRunningWorkflowsRequest(name=name, **request))
    return list(answer.workflow_ids)


def by_correlation_id(
    server: ServerUnderTest, name: str, correlation_ids: Sequence[str], *, closed: bool = False, tasks: bool = False
) -> dict[str, list[Workflow]]:
    """The workflows of this name by their correlation id."""
    request = messages.GetWorkflowsRequest(
        name=name, correlation_id=correlation_ids, include_closed=closed, include_tasks=tasks
    )
    answer = server.workflows.GetWorkflows(request)
    return {correlation_id: list(each.workflows) for correlation_id, each in answer.workflows_by_id.items()}
