"""The conversions by kind of definition: task, workflow, event handler."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from conductor_grpc.definitions.checks import check_task_definition, check_workflow_definition
from conductor_grpc.definitions.event_checks import check_event_handler
from conductor_grpc.definitions.from_json import fill
from conductor_grpc.definitions.to_json import export
from conductor_grpc.errors import DefinitionError
from conductor_grpc.pb.model import eventhandler_pb2, taskdef_pb2, workflowdef_pb2, workflowtask_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping


def task_definition_to_proto(definition: Mapping[str, object] | str, path: str = "$") -> taskdef_pb2.TaskDef:
    """The TaskDef message that makes the server store what the same JSON sent by REST would.

    `definition` is a JSON object, or its text. Absent keys get the server's defaults (retryCount 3,
    responseTimeoutSeconds 3600, ...), null means absent, the server's own keys (createTime, ...) are ignored.
    What cannot be equal: strings that REST keeps as null are "" (description, ownerEmail, isolationGroupId,
    ...), concurrentExecLimit and pollTimeoutSeconds are 0 instead of null, and numbers in inputTemplate are
    floating point (3 is stored as 3.0). And null for a number or boolean, which REST takes for 0 or false, is
    "absent" here.

    One thing to know: an HTTP task whose name is that of a task definition sent over gRPC waits for ever, since
    the server derives its queue from the isolationGroupId that is "" and not null. System tasks need no
    definition. (JOIN and WAIT tasks that have one do not complete on 3.32.1, whichever way it came.)

    Raises DefinitionError with a JSON path starting at `path`. Does not block.
    """
    message = taskdef_pb2.TaskDef()
    fill(message, _parsed(definition, path), path)
    check_task_definition(message, path)
    return message


def workflow_definition_to_proto(
    definition: Mapping[str, object] | str, path: str = "$"
) -> workflowdef_pb2.WorkflowDef:
    """The WorkflowDef message that makes the server store what the same JSON sent by REST would.

    As `task_definition_to_proto`, embedded task definitions included. What cannot be equal, besides null
    strings and numbers inside of maps: joinMode is ASYNC (what the server does with REST's null), rateLimited
    false and a sub-workflow's version 0 (both mean what null means). Where a difference would change what
    runs, DefinitionError says so: a failureWorkflow without version, keepLastN as a number, a task definition
    embedded in an HTTP, JOIN or WAIT task, an inline sub-workflow.
    """
    message = workflowdef_pb2.WorkflowDef()
    fill(message, _parsed(definition, path), path)
    check_workflow_definition(message, path)
    return message


def workflow_task_to_proto(task: Mapping[str, object], path: str = "$") -> workflowtask_pb2.WorkflowTask:
    """The WorkflowTask message of a workflow's task that the server sent as JSON.

    Not for registering: nothing is checked, and what gRPC has no field for is left out. Raises
    DefinitionError for values of the wrong type.
    """
    message = workflowtask_pb2.WorkflowTask()
    fill(message, task, path, lenient=True)
    return message


def event_handler_to_proto(definition: Mapping[str, object] | str, path: str = "$") -> eventhandler_pb2.EventHandler:
    """The EventHandler message of a JSON event handler; as `task_definition_to_proto`."""
    message = eventhandler_pb2.EventHandler()
    fill(message, _parsed(definition, path), path)
    check_event_handler(message, path)
    return message


def task_definition_to_json(message: taskdef_pb2.TaskDef) -> dict[str, object]:
    """The JSON of a task definition, as REST answers it without the audit keys; round-trips."""
    return export(message)


def workflow_definition_to_json(message: workflowdef_pb2.WorkflowDef) -> dict[str, object]:
    """The JSON of a workflow definition, as REST answers it without the audit keys; round-trips."""
    return export(message)


def event_handler_to_json(message: eventhandler_pb2.EventHandler) -> dict[str, object]:
    """The JSON of an event handler; packed proto messages (inputMessage, outputMessage) are left out."""
    return export(message)


def _parsed(definition: Mapping[str, object] | str, path: str) -> object:
    if not isinstance(definition, str):
        return definition
    try:
        return json.loads(definition)
    except json.JSONDecodeError as error:
        raise DefinitionError(
            f"{path}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}", path
        ) from error
