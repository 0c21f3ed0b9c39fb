"""What the server has, told for certain: a definition, that there is none, or that it cannot be read.

Over gRPC the server answers the same to a task definition that is not there and to one that holds a JSON integer,
UNKNOWN without a word. To take the second for the first would be to overwrite it.
"""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from conductor_grpc.clients.base import UNREADABLE
from conductor_grpc.clients.workflow import WorkflowClient
from conductor_grpc.definitions import task_definition_to_json
from conductor_grpc.errors import (
    ConductorError,
    NotFoundError,
    PayloadDecodeError,
    ServerError,
    UnknownServerError,
    UnmappablePayloadError,
)
from conductor_grpc.pb.services import metadata_service_pb2, workflow_service_pb2
from conductor_grpc.transport.methods import raw_unary

if TYPE_CHECKING:
    from conductor_grpc.clients.metadata import MetadataClient
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient

logger = logging.getLogger(__name__)

WORKFLOW: Final = "conductor_grpc_definition_check"

# Not those of the clients, which turn to REST by themselves, and then take its 404 for "there is none".
_GET_TASK: Final = "/conductor.grpc.metadata.MetadataService/GetTask"
_GET_RUN: Final = "/conductor.grpc.workflows.WorkflowService/GetWorkflowStatus"

_NO_TASK: Final = re.compile(r"no such task", re.IGNORECASE)
"""What a Conductor says by REST to the name of a definition that is not there. A base_url that leads to something
else is a 404 as well."""


class UnreadableDefinitionError(ConductorError):
    """The server has a definition of this name, which nobody here can read."""


def task_over_grpc(channel: Channel, name: str, timeout: float | None = None) -> dict[str, object] | None:
    """The task definition as far as gRPC has fields for it; None if there is none, or one that it cannot carry.

    Blocks, up to `timeout` seconds (None: the channel's). Raises ServerError.
    """
    request = metadata_service_pb2.GetTaskRequest(task_type=name)
    try:
        answer = raw_unary(channel, _GET_TASK)(request.SerializeToString(), timeout)
    except (UnknownServerError, UnmappablePayloadError, NotFoundError):
        return None
    return task_definition_to_json(metadata_service_pb2.GetTaskResponse.FromString(answer).task)


def task_by_rest(rest: RestClient, name: str) -> dict[str, object] | None:
    """The task definition, all of it; None if there is none. Blocks.

    Raises ServerError, and PayloadDecodeError for what is no definition of this name.
    """
    try:
        return _named(name, rest.get_json(f"/metadata/taskdefs/{quote(name, safe='')}"))
    except NotFoundError as error:
        if _NO_TASK.search(error.details):
            return None
        raise


class StoredDefinitions:
    """The definitions on the server. Thread-safe; every method blocks and raises ServerError.

    They are read by REST where that can be reached, for it carries all of them.
    """

    def __init__(
        self, configuration: Configuration, channel: Channel, rest: RestClient | None, metadata: MetadataClient
    ) -> None:
        self._rest = rest
        self._metadata = metadata
        self._workflows = WorkflowClient(configuration, channel=channel)
        self._channel = channel
        self._timeout = configuration.call_timeout

    def workflow(self, name: str, version: int) -> dict[str, object] | None:
        """This version of the workflow definition as JSON, or None if there is none.

        Raises UnreadableDefinitionError as `task`.
        """
        try:
            stored = self._metadata.get_workflow(name, version)
        except NotFoundError:  # which gRPC does say here
            return None
        except UNREADABLE as error:
            raise UnreadableDefinitionError(
                f"workflow definition {name!r} version {version} cannot be read over gRPC: it holds a JSON integer, or"
                " a SUB_WORKFLOW without taskToDomain, and no REST address is known: set base_url (--base-url)"
            ) from error
        if self._rest is not None:
            with contextlib.suppress(ServerError, PayloadDecodeError):
                return _named(
                    name, self._rest.get_json(f"/metadata/workflow/{quote(name, safe='')}", {"version": version})
                )
        return stored

    def task(self, name: str) -> dict[str, object] | None:
        """The task definition as JSON, or None if there is none.

        Raises UnreadableDefinitionError where there is one that gRPC cannot carry, and no REST.
        """
        trouble = "it holds a JSON integer and no REST address is known: set base_url (--base-url)"
        if self._rest is not None:
            try:
                return task_by_rest(self._rest, name)
            except (ServerError, PayloadDecodeError) as error:
                trouble = f"it holds a JSON integer, and reading it by REST fails: {error}"
        stored = self.task_over_grpc(name)
        if stored is None and self._is_there(name):
            raise UnreadableDefinitionError(f"task definition {name!r} cannot be read over gRPC: {trouble}")
        return stored

    def task_over_grpc(self, name: str) -> dict[str, object] | None:
        """The function of this name, over this channel."""
        return task_over_grpc(self._channel, name, self._timeout)

    def _is_there(self, name: str) -> bool:
        """Whether there is one, of a task whose definition gRPC has not answered.

        A run gets copies of its tasks' definitions, of an undefined task a made-up one, and of a run the server does
        say that it holds an integer. This one ends before it comes to the task, and is removed.
        """
        workflow_id = self._workflows.start(WORKFLOW, workflow_definition=_workflow_naming(name))
        try:
            request = workflow_service_pb2.GetWorkflowStatusRequest(workflow_id=workflow_id, include_tasks=False)
            raw_unary(self._channel, _GET_RUN)(request.SerializeToString(), self._timeout)
        except UnmappablePayloadError:
            return True
        finally:
            try:
                self._workflows.remove(workflow_id, archive=False)
            except ServerError as error:
                logger.info("workflow %s, which looked for task definition %r, stays: %s", workflow_id, name, error)
        return False


def _named(name: str, document: object) -> dict[str, object]:
    if not isinstance(document, dict) or document.get("name") != name:
        raise PayloadDecodeError(f"expected the definition of {name!r}, got {document!r:.100}")
    return document


def _workflow_naming(name: str) -> dict[str, Any]:
    return {
        "name": WORKFLOW,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "conductor-grpc@example.com",
        "timeoutPolicy": "ALERT_ONLY",
        "timeoutSeconds": 0,
        "tasks": [
            {
                "name": "end",
                "taskReferenceName": "end",
                "type": "TERMINATE",
                "inputParameters": {"terminationStatus": "COMPLETED"},
            },
            {"name": name, "taskReferenceName": "named", "type": "SIMPLE"},
        ],
    }
