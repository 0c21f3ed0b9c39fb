"""The calls of MetadataService, one function each, and the answers that its cases expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from wire import Failure

from conductor_grpc.pb.services import metadata_service_pb2 as messages

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef

UNEXPLAINED = Failure(grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)
"""What the released server answers to every mistake in a definition: no word of what is wrong."""


def no_such_definition(name: str) -> Failure:
    """The one error of a workflow definition that has a name and a code of its own."""
    return Failure(grpc.StatusCode.NOT_FOUND, f"No such workflow found by name={name}", None)


def create_tasks(server: ServerUnderTest, *definitions: TaskDef) -> None:
    server.metadata.CreateTasks(messages.CreateTasksRequest(defs=definitions))


def update_task(server: ServerUnderTest, definition: TaskDef) -> None:
    server.metadata.UpdateTask(messages.UpdateTaskRequest(task=definition))


def delete_task(server: ServerUnderTest, name: str) -> None:
    server.metadata.DeleteTask(messages.DeleteTaskRequest(task_type=name))


def stored_task(server: ServerUnderTest, name: str) -> TaskDef:
    return server.metadata.GetTask(messages.GetTaskRequest(task_type=name)).task


def create_workflow(server: ServerUnderTest, definition: WorkflowDef) -> None:
    server.metadata.CreateWorkflow(messages.CreateWorkflowRequest(workflow=definition))


def update_workflows(server: ServerUnderTest, *definitions: WorkflowDef) -> None:
    server.metadata.UpdateWorkflows(messages.UpdateWorkflowsRequest(defs=definitions))


def validate_workflow(server: ServerUnderTest, definition: WorkflowDef) -> None:
    server.metadata.ValidateWorkflow(messages.ValidateWorkflowRequest(workflow=definition))


def stored_workflow(server: ServerUnderTest, name: str, version: int = 0) -> WorkflowDef:
    """Of version 0 the latest."""
    return server.metadata.GetWorkflow(messages.GetWorkflowRequest(name=name, version=version)).workflow
