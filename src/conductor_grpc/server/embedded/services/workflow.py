"""WorkflowService: starting, reading and steering workflows."""

# ruff: noqa: N802 - methods have the names of their RPCs

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import grpc

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.services import workflow_service_pb2 as pb
from conductor_grpc.server.embedded.engine import operations
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure, NotFoundFailure, UnsetValue
from conductor_grpc.server.embedded.engine.starting import start_workflow
from conductor_grpc.server.embedded.engine.values import from_values
from conductor_grpc.server.embedded.services.answers import UNCAUGHT_DETAILS, StatusError, require
from conductor_grpc.server.embedded.services.protos import workflow_message
from conductor_grpc.server.embedded.services.search import find_workflows, find_workflows_by_tasks
from conductor_grpc.server.embedded.services.summaries import workflow_summary

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
    from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
    from conductor_grpc.pb.model.workflow_pb2 import Workflow
    from conductor_grpc.pb.services.search_pb2 import Request
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import Payload, WorkflowRecord
    from conductor_grpc.server.embedded.services.search import Hits

HIGHEST_PRIORITY = 99


class WorkflowService:
    """The RPCs of `conductor.grpc.workflows.WorkflowService`. Thread-safe."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["WorkflowService"]
    UNCAUGHT: ClassVar[frozenset[str]] = frozenset(
        {"GetWorkflows", "Search", "SearchByTasks", "SearchV2", "SearchByTasksV2"}
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._strict = engine.strict

    # -- starting and reading --

    def StartWorkflow(self, request: StartWorkflowRequest, _context: grpc.ServicerContext) -> pb.StartWorkflowResponse:
        workflow_input = self._input(request)
        definition = request.workflow_def if request.HasField("workflow_def") else None
        if not 0 <= request.priority <= HIGHEST_PRIORITY:
            raise IllegalArgumentFailure(f"priority MUST be between 0 and {HIGHEST_PRIORITY} (inclusive)")
        try:
            workflow = start_workflow(
                self._engine,
                request.name,
                workflow_input,
                version=request.version or None,
                definition=definition,
                correlation_id=request.correlation_id,
                priority=request.priority,
                task_to_domain=request.task_to_domain,
                external_input_path=request.external_input_payload_storage_path,
            )
        except NotFoundFailure as error:
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"No such workflow found by name={request.name}") from error
        return pb.StartWorkflowResponse(workflow_id=workflow.workflow_id)

    def _input(self, request: StartWorkflowRequest) -> Payload:
        try:
            return from_values(request.input)
        except UnsetValue as error:
            if self._strict:  # the one place where a handler that catches reads its request outside of that
                raise StatusError(grpc.StatusCode.UNKNOWN, UNCAUGHT_DETAILS) from error
            raise

    def GetWorkflowStatus(self, request: pb.GetWorkflowStatusRequest, _context: grpc.ServicerContext) -> Workflow:
        require(request.workflow_id, "getExecutionStatus.arg0: WorkflowId cannot be null or empty.")
        with self._engine.transaction():
            workflow = self._engine.shelf.workflow(request.workflow_id)
            return workflow_message(workflow, include_tasks=request.include_tasks, strict=self._strict)

    def GetWorkflows(self, request: pb.GetWorkflowsRequest, _context: grpc.ServicerContext) -> pb.GetWorkflowsResponse:
        response = pb.GetWorkflowsResponse()
        with self._engine.transaction():
            for correlation_id in request.correlation_id:
                require(request.name, "getWorkflows.arg0: Workflow name cannot be null or empty.")
                response.workflows_by_id[correlation_id].workflows.extend(
                    workflow_message(each, include_tasks=request.include_tasks, strict=self._strict)
                    for each in self._engine.shelf.correlated(correlation_id)
                    if each.name == request.name and (request.include_closed or each.status is WorkflowStatus.RUNNING)
                )
        return response

    def GetRunningWorkflows(
        self, request: pb.GetRunningWorkflowsRequest, _context: grpc.ServicerContext
    ) -> pb.GetRunningWorkflowsResponse:
        require(request.name, "getRunningWorkflows.arg0: Workflow name cannot be null or empty.")
        with self._engine.transaction():
            if request.start_time and request.end_time:
                # Whatever their state: running is only in the name.
                found = [
                    each
                    for each in self._engine.shelf.named(request.name)
                    if each.version == request.version and request.start_time <= each.create_time <= request.end_time
                ]
            else:
                found = self._engine.shelf.running(request.name)
            return pb.GetRunningWorkflowsResponse(workflow_ids=[each.workflow_id for each in found])

    # -- steering --

    def DecideWorkflow(
        self, request: pb.DecideWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.DecideWorkflowResponse:
        require(request.workflow_id, "decideWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.decide(self._engine, request.workflow_id)
        return pb.DecideWorkflowResponse()

    def PauseWorkflow(
        self, request: pb.PauseWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.PauseWorkflowResponse:
        require(request.workflow_id, "pauseWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.pause(self._engine, request.workflow_id)
        return pb.PauseWorkflowResponse()

    def ResumeWorkflow(
        self, request: pb.ResumeWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.ResumeWorkflowResponse:
        require(request.workflow_id, "resumeWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.resume(self._engine, request.workflow_id)
        return pb.ResumeWorkflowResponse()

    def SkipTaskFromWorkflow(self, request: pb.SkipTaskRequest, _context: grpc.ServicerContext) -> pb.SkipTaskResponse:
        require(request.task_reference_name, "skipTaskFromWorkflow.arg1: TaskReferenceName cannot be null or empty.")
        require(request.workflow_id, "skipTaskFromWorkflow.arg0: WorkflowId name cannot be null or empty.")
        operations.skip_task(self._engine, request.workflow_id, request.task_reference_name, request.request)
        return pb.SkipTaskResponse()

    def RerunWorkflow(self, request: RerunWorkflowRequest, _context: grpc.ServicerContext) -> pb.RerunWorkflowResponse:
        require(request.re_run_from_workflow_id, "rerunWorkflow.arg0: WorkflowId cannot be null or empty.")
        return pb.RerunWorkflowResponse(workflow_id=operations.rerun(self._engine, request))

    def RestartWorkflow(
        self, request: pb.RestartWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.RestartWorkflowResponse:
        require(request.workflow_id, "restartWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.restart(self._engine, request.workflow_id, request.use_latest_definitions)
        return pb.RestartWorkflowResponse()

    def RetryWorkflow(
        self, request: pb.RetryWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.RetryWorkflowResponse:
        require(request.workflow_id, "retryWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.retry(self._engine, request.workflow_id, request.resume_subworkflow_tasks)
        return pb.RetryWorkflowResponse()

    def ResetWorkflowCallbacks(
        self, request: pb.ResetWorkflowCallbacksRequest, _context: grpc.ServicerContext
    ) -> pb.ResetWorkflowCallbacksResponse:
        require(request.workflow_id, "resetWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.reset_callbacks(self._engine, request.workflow_id)
        return pb.ResetWorkflowCallbacksResponse()

    def TerminateWorkflow(
        self, request: pb.TerminateWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.TerminateWorkflowResponse:
        require(request.workflow_id, "terminateWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.terminate(self._engine, request.workflow_id, request.reason)
        return pb.TerminateWorkflowResponse()

    def RemoveWorkflow(
        self, request: pb.RemoveWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.RemoveWorkflowResponse:
        require(request.workflod_id, "deleteWorkflow.arg0: WorkflowId cannot be null or empty.")
        operations.remove(self._engine, request.workflod_id, request.archive_workflow)
        return pb.RemoveWorkflowResponse()

    # -- searching --

    def Search(self, request: Request, _context: grpc.ServicerContext) -> pb.WorkflowSummarySearchResult:
        with self._engine.transaction():
            return _summaries(find_workflows(self._engine, request))

    def SearchByTasks(self, request: Request, _context: grpc.ServicerContext) -> pb.WorkflowSummarySearchResult:
        with self._engine.transaction():
            return _summaries(find_workflows_by_tasks(self._engine, request))

    def SearchV2(self, request: Request, _context: grpc.ServicerContext) -> pb.WorkflowSearchResult:
        with self._engine.transaction():
            return self._workflows(find_workflows(self._engine, request))

    def SearchByTasksV2(self, request: Request, _context: grpc.ServicerContext) -> pb.WorkflowSearchResult:
        with self._engine.transaction():
            return self._workflows(find_workflows_by_tasks(self._engine, request))

    def _workflows(self, hits: Hits[WorkflowRecord]) -> pb.WorkflowSearchResult:
        results = [workflow_message(each, include_tasks=False, strict=self._strict) for each in hits.records]
        return pb.WorkflowSearchResult(total_hits=hits.total, results=results)


def _summaries(hits: Hits[WorkflowRecord]) -> pb.WorkflowSummarySearchResult:
    return pb.WorkflowSummarySearchResult(total_hits=hits.total, results=map(workflow_summary, hits.records))
