"""MetadataService: definitions of tasks and workflows."""

# ruff: noqa: N802 - methods have the names of their RPCs

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import grpc

from conductor_grpc.pb.services import metadata_service_pb2 as pb
from conductor_grpc.server.embedded.engine.failures import NotFoundFailure
from conductor_grpc.server.embedded.services.answers import StatusError, require

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

    from conductor_grpc.server.embedded.engine.engine import Engine


class MetadataService:
    """The RPCs of `conductor.grpc.metadata.MetadataService`. Thread-safe."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["MetadataService"]
    UNCAUGHT: ClassVar[frozenset[str]] = frozenset(method.name for method in DESCRIPTOR.methods)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def CreateWorkflow(
        self, request: pb.CreateWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.CreateWorkflowResponse:
        with self._engine.transaction():
            self._engine.registry.create_workflow(request.workflow)
        return pb.CreateWorkflowResponse()

    def UpdateWorkflows(
        self, request: pb.UpdateWorkflowsRequest, _context: grpc.ServicerContext
    ) -> pb.UpdateWorkflowsResponse:
        with self._engine.transaction():
            self._engine.registry.update_workflows(request.defs)
        return pb.UpdateWorkflowsResponse()

    def ValidateWorkflow(
        self, request: pb.ValidateWorkflowRequest, _context: grpc.ServicerContext
    ) -> pb.ValidateWorkflowResponse:
        with self._engine.transaction():
            self._engine.registry.validate(request.workflow)
        return pb.ValidateWorkflowResponse()

    def GetWorkflow(self, request: pb.GetWorkflowRequest, _context: grpc.ServicerContext) -> pb.GetWorkflowResponse:
        require(request.name, "getWorkflowDef.arg0: Workflow name cannot be null or empty.")
        with self._engine.transaction():
            definition = self._engine.registry.workflow_definition(request.name, request.version or None)
            if definition is None:
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"No such workflow found by name={request.name}")
            return pb.GetWorkflowResponse(workflow=definition)

    def CreateTasks(self, request: pb.CreateTasksRequest, _context: grpc.ServicerContext) -> pb.CreateTasksResponse:
        with self._engine.transaction():
            self._engine.registry.put_task_definitions(request.defs)
        return pb.CreateTasksResponse()

    def UpdateTask(self, request: pb.UpdateTaskRequest, _context: grpc.ServicerContext) -> pb.UpdateTaskResponse:
        with self._engine.transaction():
            self._engine.registry.update_task_definition(request.task)
        return pb.UpdateTaskResponse()

    def GetTask(self, request: pb.GetTaskRequest, _context: grpc.ServicerContext) -> pb.GetTaskResponse:
        require(request.task_type, "getTaskDef.arg0: TaskType cannot be null or empty.")
        with self._engine.transaction():
            definition = self._engine.registry.task_definition(request.task_type)
            if definition is None:
                raise NotFoundFailure(f"No such taskType found by name: {request.task_type}")
            return pb.GetTaskResponse(task=definition)

    def DeleteTask(self, request: pb.DeleteTaskRequest, _context: grpc.ServicerContext) -> pb.DeleteTaskResponse:
        with self._engine.transaction():
            self._engine.registry.delete_task_definition(request.task_type)
        return pb.DeleteTaskResponse()
