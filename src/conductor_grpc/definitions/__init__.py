"""Task, workflow and event handler definitions: JSON -> the protos that equal what REST would have made."""

from conductor_grpc.definitions.convert import (
    event_handler_to_json,
    event_handler_to_proto,
    task_definition_to_json,
    task_definition_to_proto,
    workflow_definition_to_json,
    workflow_definition_to_proto,
    workflow_task_to_proto,
)
from conductor_grpc.definitions.files import Definitions, load_definitions

__all__ = [
    "Definitions",
    "event_handler_to_json",
    "event_handler_to_proto",
    "load_definitions",
    "task_definition_to_json",
    "task_definition_to_proto",
    "workflow_definition_to_json",
    "workflow_definition_to_proto",
    "workflow_task_to_proto",
]
