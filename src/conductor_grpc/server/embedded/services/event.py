"""EventService: event handlers are kept and shown; there are no event queues here that could set them off."""

# ruff: noqa: N802 - methods have the names of their RPCs

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from conductor_grpc.pb.services import event_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc
    from google.protobuf.descriptor import ServiceDescriptor

    from conductor_grpc.pb.model.eventhandler_pb2 import EventHandler
    from conductor_grpc.server.embedded.engine.engine import Engine


class EventService:
    """The RPCs of `conductor.grpc.events.EventService`. Thread-safe."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["EventService"]
    UNCAUGHT: ClassVar[frozenset[str]] = frozenset(method.name for method in DESCRIPTOR.methods)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def AddEventHandler(
        self, request: pb.AddEventHandlerRequest, _context: grpc.ServicerContext
    ) -> pb.AddEventHandlerResponse:
        with self._engine.transaction():
            self._engine.registry.add_event_handler(request.handler)
        return pb.AddEventHandlerResponse()

    def UpdateEventHandler(
        self, request: pb.UpdateEventHandlerRequest, _context: grpc.ServicerContext
    ) -> pb.UpdateEventHandlerResponse:
        with self._engine.transaction():
            self._engine.registry.update_event_handler(request.handler)
        return pb.UpdateEventHandlerResponse()

    def RemoveEventHandler(
        self, request: pb.RemoveEventHandlerRequest, _context: grpc.ServicerContext
    ) -> pb.RemoveEventHandlerResponse:
        with self._engine.transaction():
            self._engine.registry.remove_event_handler(request.name)
        return pb.RemoveEventHandlerResponse()

    def GetEventHandlers(
        self, _request: pb.GetEventHandlersRequest, _context: grpc.ServicerContext
    ) -> Iterable[EventHandler]:
        with self._engine.transaction():
            return self._engine.registry.event_handlers()

    def GetEventHandlersForEvent(
        self, request: pb.GetEventHandlersForEventRequest, _context: grpc.ServicerContext
    ) -> Iterable[EventHandler]:
        with self._engine.transaction():
            return self._engine.registry.event_handlers_for(request.event, active_only=request.active_only)
