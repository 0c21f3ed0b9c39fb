"""What the server accepts in an event handler over gRPC, or refuses without a word, and cannot execute."""

from __future__ import annotations

from conductor_grpc.definitions.from_json import child, fail
from conductor_grpc.pb.model import eventhandler_pb2

_DETAILS = {
    "START_WORKFLOW": "start_workflow",
    "COMPLETE_TASK": "complete_task",
    "FAIL_TASK": "fail_task",
    "TERMINATE_WORKFLOW": "terminate_workflow",
    "UPDATE_WORKFLOW_VARIABLES": "update_workflow_variables",
    "START_AGENT": "start_agent",
}


def check_event_handler(handler: eventhandler_pb2.EventHandler, path: str = "$") -> None:
    """Raises DefinitionError at the first rule that `handler` breaks."""
    if not handler.name:
        fail(child(path, "name"), "an event handler needs a name")
    if not handler.event:
        fail(child(path, "event"), 'an event handler needs an event, such as "conductor:workflow:task"')
    if not handler.actions:
        fail(child(path, "actions"), "an event handler needs at least one action")
    for index, action in enumerate(handler.actions):
        _check_action(action, f"{child(path, 'actions')}[{index}]")


def _check_action(action: eventhandler_pb2.EventHandler.Action, path: str) -> None:
    name = eventhandler_pb2.EventHandler.Action.Type.Name(action.action)
    field = action.DESCRIPTOR.fields_by_name[_DETAILS[name]]
    if not action.HasField(field.name):
        fail(child(path, str(field.json_name)), f"an action of type {name} needs {field.json_name}")
    if name == "START_WORKFLOW" and action.start_workflow.version == 0:
        fail(
            child(path, "startWorkflow", "version"),
            'gRPC cannot say "the latest": the server would look for version 0 and find none. Add the version',
        )
