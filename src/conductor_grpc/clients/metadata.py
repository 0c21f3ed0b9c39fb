"""Task and workflow definitions on the server."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING
from urllib.parse import quote

import grpc

from conductor_grpc.clients.base import UNREADABLE, ServiceClient, required
from conductor_grpc.clients.differences import differing_paths
from conductor_grpc.definitions import (
    task_definition_to_json,
    task_definition_to_proto,
    workflow_definition_to_json,
    workflow_definition_to_proto,
)
from conductor_grpc.definitions.checks import check_task_definition, check_workflow_definition
from conductor_grpc.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PayloadDecodeError,
    UnknownServerError,
)
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.services import metadata_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conductor_grpc.definitions import Definitions

    TaskDefinition = Mapping[str, object] | str | TaskDef
    WorkflowDefinition = Mapping[str, object] | str | WorkflowDef


class Registered(enum.Enum):
    """What registering a workflow did."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    """The server has exactly this definition already; nothing was sent."""
    UPDATED = "updated"


class MetadataClient(ServiceClient):
    """The metadata service: 8 RPCs. See `ServiceClient` for threads, timeouts and errors common to all methods.

    Definitions are given as JSON (a mapping or its text) or as proto, and checked before they are sent, for
    the server refuses a bad one without a reason (UnknownServerError). They come back as JSON.
    """

    _service = metadata_service_pb2.DESCRIPTOR.services_by_name["MetadataService"]

    def register_task(self, definition: TaskDefinition, *, timeout: float | None = None) -> None:
        """Creates the task definition or replaces the one of the same name; repeating it changes nothing.

        Raises DefinitionError, before anything is sent.
        """
        self.register_tasks([definition], timeout=timeout)

    def register_tasks(self, definitions: Iterable[TaskDefinition], *, timeout: float | None = None) -> None:
        """`register_task` for several in one call; if one of them is bad, none is sent."""
        messages = [_task(each, f"$[{index}]") for index, each in enumerate(definitions)]
        if messages:
            request = metadata_service_pb2.CreateTasksRequest(defs=messages)
            self._call("CreateTasks", request, timeout)

    def update_task(self, definition: TaskDefinition, *, timeout: float | None = None) -> None:
        """Replaces the task definition of the same name. Raises UnknownServerError if there is none."""
        request = metadata_service_pb2.UpdateTaskRequest(task=_task(definition, "$"))
        self._call("UpdateTask", request, timeout)

    def get_task(self, name: str, *, timeout: float | None = None) -> dict[str, object]:
        """The task definition of this name.

        Raises NotFoundError. Over gRPC the server tells a missing definition from one that holds an integer
        by nothing: both are UnknownServerError where there is no REST address to read it from.
        """
        request = metadata_service_pb2.GetTaskRequest(task_type=required("name", name))
        try:
            answer = self._call("GetTask", request, timeout)
        except UNREADABLE:
            document = self._by_rest(f"/metadata/taskdefs/{quote(name, safe='')}")
            if document is None:
                raise
            return document
        return task_definition_to_json(metadata_service_pb2.GetTaskResponse.FromString(answer).task)

    def delete_task(self, name: str, *, timeout: float | None = None) -> None:
        """Deletes a task definition. Raises UnknownServerError if there is none. Running tasks keep theirs."""
        request = metadata_service_pb2.DeleteTaskRequest(task_type=required("name", name))
        self._call("DeleteTask", request, timeout)

    def register_workflow(
        self, definition: WorkflowDefinition, *, overwrite: bool = False, timeout: float | None = None
    ) -> Registered:
        """Creates this version of the workflow. Idempotent: an equal one on the server is left as it is.

        A different one under the same name and version is replaced with `overwrite`, else ConflictError names
        the keys that differ. Two processes that register the same at once both succeed. Runs that have
        started keep the definition they started with.

        Raises DefinitionError, ConflictError, InvalidRequestError if the server does not take it.
        """
        message = _workflow(definition)
        existing = self._existing(message, timeout)
        if existing is None:
            request = metadata_service_pb2.CreateWorkflowRequest(workflow=message)
            try:
                self._call("CreateWorkflow", request, timeout)
            except UnknownServerError as error:
                # Refused as invalid, or somebody else was faster: the server does not say which.
                existing = self._existing(message, timeout)
                if existing is None:
                    raise self._refused(message, error) from error
            else:
                return Registered.CREATED
        differing = differing_paths(existing, workflow_definition_to_json(message))
        if not differing:
            return Registered.UNCHANGED
        if not overwrite:
            raise ConflictError(
                f"workflow {message.name!r} version {message.version} is on the server with another content: "
                f"{', '.join(differing)}. Register it as a new version, or replace it with overwrite=True",
                code=grpc.StatusCode.ALREADY_EXISTS,
                method="MetadataService/CreateWorkflow",
            )
        self.update_workflows([message], timeout=timeout)
        return Registered.UPDATED

    def update_workflows(self, definitions: Iterable[WorkflowDefinition], *, timeout: float | None = None) -> None:
        """Creates or replaces workflows. Each is read back, for the server answers OK even if it stored none.

        Raises DefinitionError before anything is sent, InvalidRequestError that names those not stored.
        """
        messages = [_workflow(each, f"$[{index}]") for index, each in enumerate(definitions)]
        if not messages:
            return
        request = metadata_service_pb2.UpdateWorkflowsRequest(defs=messages)
        self._call("UpdateWorkflows", request, timeout)
        for message in messages:
            stored = self._existing(message, timeout)
            differing = (
                ["all of it"] if stored is None else differing_paths(stored, workflow_definition_to_json(message))
            )
            if differing:
                raise InvalidRequestError(
                    f"the server answered OK to workflow {message.name!r} version {message.version} but did not"
                    f" store {', '.join(differing)}; its log tells why",
                    code=grpc.StatusCode.OK,
                    method="MetadataService/UpdateWorkflows",
                )

    def validate_workflow(self, definition: WorkflowDefinition, *, timeout: float | None = None) -> None:
        """Asks the server whether it would take this definition; nothing is stored. Server 3.10.1 or later.

        Raises DefinitionError for what can be told without the server, else InvalidRequestError.
        """
        message = _workflow(definition)
        request = metadata_service_pb2.ValidateWorkflowRequest(workflow=message)
        try:
            self._call("ValidateWorkflow", request, timeout)
        except UnknownServerError as error:
            raise self._refused(message, error) from error

    def get_workflow(self, name: str, version: int | None = None, *, timeout: float | None = None) -> dict[str, object]:
        """The workflow definition; `version` None is the latest.

        Raises NotFoundError. One that holds an integer, or a SUB_WORKFLOW without taskToDomain, is read by
        REST; UnknownServerError where there is no REST address.
        """
        request = metadata_service_pb2.GetWorkflowRequest(name=required("name", name), version=version or 0)
        try:
            answer = self._call("GetWorkflow", request, timeout)
        except UNREADABLE:
            query = {} if version is None else {"version": version}
            document = self._by_rest(f"/metadata/workflow/{quote(name, safe='')}", query)
            if document is None:
                raise
            return document
        return workflow_definition_to_json(metadata_service_pb2.GetWorkflowResponse.FromString(answer).workflow)

    def register(self, definitions: Definitions, *, overwrite: bool = False) -> dict[str, str]:
        """Registers what `load_definitions` read, tasks first; what was done, by name (workflows: `name:version`).

        Raises as `register_tasks` and `register_workflow`, at the first workflow that fails.
        """
        self.register_tasks(definitions.tasks)
        done = {task.name: "registered" for task in definitions.tasks}
        for workflow in definitions.workflows:
            outcome = self.register_workflow(workflow, overwrite=overwrite)
            done[f"{workflow.name}:{workflow.version}"] = outcome.value
        return done

    def _existing(self, message: WorkflowDef, timeout: float | None) -> dict[str, object] | None:
        try:
            return self.get_workflow(message.name, message.version, timeout=timeout)
        except NotFoundError:
            return None

    def _by_rest(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, object] | None:
        rest = self._rest_client()
        if rest is None:
            return None
        document = rest.get_json(path, dict(query or {}))
        if not isinstance(document, dict):
            raise PayloadDecodeError(f"GET {path}: expected a definition, got {document!r:.100}")
        return document

    def _refused(self, message: WorkflowDef, error: UnknownServerError) -> InvalidRequestError:
        return InvalidRequestError(
            f"the server refuses workflow {message.name!r} version {message.version} and does not say why over gRPC."
            " What it checks and this client cannot: javascript in expressions, environment variables in ${...},"
            " durations of WAIT tasks, http_request of HTTP tasks. Its log tells; so does POST"
            " /api/metadata/workflow/validate",
            code=error.code,
            method=error.method,
            details=error.details,
        )


def _task(definition: TaskDefinition, path: str) -> TaskDef:
    if isinstance(definition, TaskDef):
        check_task_definition(definition, path)
        return definition
    return task_definition_to_proto(definition, path)


def _workflow(definition: WorkflowDefinition, path: str = "$") -> WorkflowDef:
    if isinstance(definition, WorkflowDef):
        check_workflow_definition(definition, path)
        return definition
    return workflow_definition_to_proto(definition, path)
