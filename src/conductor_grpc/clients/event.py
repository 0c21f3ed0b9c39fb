"""Event handlers: what the server does when an event arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.clients.base import ServiceClient, required
from conductor_grpc.definitions import event_handler_to_json, event_handler_to_proto
from conductor_grpc.pb.model import eventhandler_pb2
from conductor_grpc.pb.services import event_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class EventClient(ServiceClient):
    """The event service: 5 RPCs, handlers as JSON objects. See `ServiceClient` for what all methods share.

    The service gives no reason for any error: all are UnknownServerError.
    """

    _service = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]

    def add(self, handler: Mapping[str, object] | str, *, timeout: float | None = None) -> None:
        """Adds a handler, given as JSON. Raises DefinitionError; UnknownServerError if the name is taken."""
        request = event_service_pb2.AddEventHandlerRequest(handler=event_handler_to_proto(handler))
        self._call("AddEventHandler", request, timeout)

    def update(self, handler: Mapping[str, object] | str, *, timeout: float | None = None) -> None:
        """Replaces the handler of the same name. Raises DefinitionError; UnknownServerError if there is none."""
        request = event_service_pb2.UpdateEventHandlerRequest(handler=event_handler_to_proto(handler))
        self._call("UpdateEventHandler", request, timeout)

    def remove(self, name: str, *, timeout: float | None = None) -> None:
        """Removes a handler. Raises UnknownServerError if there is none with this name."""
        request = event_service_pb2.RemoveEventHandlerRequest(name=required("name", name))
        self._call("RemoveEventHandler", request, timeout)

    def all(self, *, timeout: float | None = None) -> list[dict[str, object]]:
        """All handlers. Raises UnknownServerError also if one of them holds an integer (added by REST)."""
        request = event_service_pb2.GetEventHandlersRequest()
        return _handlers(self._stream("GetEventHandlers", request, timeout))

    def for_event(
        self, event: str, *, active_only: bool = True, timeout: float | None = None
    ) -> list[dict[str, object]]:
        """The handlers of an event, e.g. `conductor:workflow:task`; none for an unknown one."""
        request = event_service_pb2.GetEventHandlersForEventRequest(
            event=required("event", event), active_only=active_only
        )
        return _handlers(self._stream("GetEventHandlersForEvent", request, timeout))


def _handlers(stream: Iterable[bytes]) -> list[dict[str, object]]:
    return [event_handler_to_json(eventhandler_pb2.EventHandler.FromString(each)) for each in stream]
