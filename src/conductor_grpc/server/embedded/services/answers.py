"""From the methods of a service to the handlers that gRPC calls, and from the engine's errors to statuses.

The released server knows three ways to fail (seen on 3.32.1, and read from its GRPCHelper):

* its handler catches the exception: INTERNAL, the exception's message, and a trailer that names its Java class;
* its handler does not: UNKNOWN "Application error processing RPC" and nothing else;
* in a few places it chooses a status itself: that is `StatusError` here.

In strict mode so it is here. Otherwise every error has the code that says what is wrong, its message and the trailer.
Handlers take and give bytes: what is not a message is answered as that server answers it, its size is seen before it
is parsed, and an answer can be put together from parts that are serialized already.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from conductor_grpc.payload.reference_writer import length_delimited, varint
from conductor_grpc.server.embedded.engine.failures import ConstraintViolation, EngineError, UnsupportedFailure
from conductor_grpc.transport.trailer import TRAILER_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

    Answer = Message | bytes
    Handlers = dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]

AnyMessage = TypeVar("AnyMessage", bound=Message)

LARGEST_REQUEST: Final = 4 << 20
"""Bytes that the released server takes in one message (grpc-java's default)."""

LARGEST_METADATA: Final = 8 << 10
"""Bytes of metadata that it takes with one call."""

_DEBUG_INFO_URL: Final = b"type.googleapis.com/google.rpc.DebugInfo"

UNCAUGHT_DETAILS: Final = "Application error processing RPC"
"""All that grpc-java tells of an exception that no handler caught."""

logger = logging.getLogger(__name__)


class StatusError(Exception):
    """A status without a trailer, where the released server chooses one itself."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Service(Protocol):
    """One gRPC service: a method for each of its RPCs, under the RPC's name.

    A method takes the request and the call's context and returns the answer, or an iterator of answers: messages, or
    their bytes. It raises EngineError and StatusError, and may be called by many threads at once.
    """

    DESCRIPTOR: ClassVar[ServiceDescriptor]
    UNCAUGHT: ClassVar[frozenset[str]]
    """RPCs in which the released server catches no exception."""


def require(value: str, violation: str) -> None:
    """The released server's check that a text is not empty. Raises ConstraintViolation with its words."""
    if not value:
        raise ConstraintViolation(violation)


def handlers(service: Service, *, strict: bool) -> Handlers:
    """The handlers of a service's RPCs, by path."""
    made = (_Handler(service, method, strict=strict) for method in service.DESCRIPTOR.methods)
    return {each.path: each.rpc_method_handler() for each in made}


def parsed(message_class: type[AnyMessage], data: bytes, *, strict: bool) -> AnyMessage:
    """The message in a request's bytes. Raises StatusError."""
    if strict and len(data) > LARGEST_REQUEST:
        raise StatusError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"gRPC message exceeds maximum size {LARGEST_REQUEST}: {len(data)}"
        )
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        if strict:
            raise StatusError(grpc.StatusCode.UNKNOWN, UNCAUGHT_DETAILS) from error
        name = message_class.DESCRIPTOR.full_name
        raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, f"this is no {name}: {error}") from error


class Router(grpc.GenericRpcHandler):
    """Finds the handler of a call, and has an answer for those that no service has."""

    def __init__(self, known: Handlers, *, strict: bool) -> None:
        self._known = known
        self._strict = strict

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._strict and _size(call.invocation_metadata) > LARGEST_METADATA:
            return refusing(grpc.StatusCode.UNKNOWN, "Received http2 header with status: 431")
        handler = self._known.get(call.method)
        if handler is None:
            details = f"Method not found: {call.method.removeprefix('/')}"
            return refusing(grpc.StatusCode.UNIMPLEMENTED, details)
        return handler


def refusing(code: grpc.StatusCode, details: str) -> grpc.RpcMethodHandler[bytes, bytes]:
    """A handler, for any kind of call, that ends it with this status."""

    def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
        context.abort(code, details)

    return grpc.stream_stream_rpc_method_handler(refuse)


def _size(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    """As HTTP/2 counts the size of headers: 32 bytes more for each."""
    return sum(len(key) + len(value) + 32 for key, value in metadata)


class _Handler:
    """One RPC, from the bytes of a request to the bytes of its answer."""

    def __init__(self, service: Service, method: MethodDescriptor, *, strict: bool) -> None:
        self.path = f"/{service.DESCRIPTOR.full_name}/{method.name}"
        self._rpc = getattr(service, method.name)
        self._request_class = GetMessageClass(method.input_type)
        self._streams = method.server_streaming
        self._caught = method.name not in service.UNCAUGHT
        self._strict = strict

    def rpc_method_handler(self) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._streams:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._unary)

    def _unary(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return _bytes(self._rpc(self._parse(data), context))
        except Exception as error:  # noqa: BLE001  each of them becomes a status
            self._fail(error, context)

    def _stream(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            for answer in self._rpc(self._parse(data), context):
                yield _bytes(answer)
        except Exception as error:  # noqa: BLE001  each of them becomes a status
            self._fail(error, context)

    def _parse(self, data: bytes) -> Message:
        return parsed(self._request_class, data, strict=self._strict)

    def _fail(self, error: Exception, context: grpc.ServicerContext) -> NoReturn:
        """End the call with the status of an error; raises what gRPC wants to see then."""
        if isinstance(error, StatusError):
            context.abort(error.code, error.details)
        if isinstance(error, EngineError):
            self._fail_as_server(error, context)
        # Ours, not the caller's: the server goes on, and nobody shall have to guess what it was.
        logger.error("%s failed in the embedded server", self.path, exc_info=error)
        details = f"the embedded server failed, which is a bug of it: {type(error).__name__}: {error}"
        self._abort(context, error, grpc.StatusCode.INTERNAL, EngineError.java_class, details)

    def _fail_as_server(self, error: EngineError, context: grpc.ServicerContext) -> NoReturn:
        hidden = self._strict and not isinstance(error, UnsupportedFailure)
        if hidden and not self._caught:
            context.abort(grpc.StatusCode.UNKNOWN, UNCAUGHT_DETAILS)
        code = grpc.StatusCode.INTERNAL if hidden else error.code
        self._abort(context, error, code, error.java_class, str(error))

    def _abort(
        self, context: grpc.ServicerContext, error: Exception, code: grpc.StatusCode, java_class: str, message: str
    ) -> NoReturn:
        trailer = _debug_info(error, java_class, message)
        if not self._strict:
            trailer = _status(code, message, trailer)
        context.set_trailing_metadata(((TRAILER_KEY, trailer),))
        context.abort(code, message)


def _bytes(answer: Answer) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _debug_info(error: Exception, java_class: str, message: str) -> bytes:
    """A google.rpc.DebugInfo: a stack and a summary. In strict mode it is the whole trailer, as on the released server.

    The stack has the shape of a Java stack trace, and in place of Java's frames those of Python.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    stack = [f"{java_class}: {message}"]
    stack.extend(
        f"\tat {frame.f_globals.get('__name__')}.{frame.f_code.co_name}({Path(frame.f_code.co_filename).name}:{line})"
        for frame, line in reversed(frames)
    )
    fields = [length_delimited(1, entry.encode("utf-8", "replace")) for entry in stack]
    fields.append(length_delimited(2, f"{java_class.rpartition('.')[2]}: {message}".encode("utf-8", "replace")))
    return b"".join(fields)


def _status(code: grpc.StatusCode, message: str, debug_info: bytes) -> bytes:
    """A google.rpc.Status with the debug info as its detail: what by convention is in the trailer.

    grpc-go takes a call whose trailer holds anything else for INTERNAL, whatever its status.
    """
    detail = length_delimited(1, _DEBUG_INFO_URL) + length_delimited(2, debug_info)
    number: int = code.value[0]
    return (
        b"\x08" + varint(number) + length_delimited(2, message.encode("utf-8", "replace")) + length_delimited(3, detail)
    )
