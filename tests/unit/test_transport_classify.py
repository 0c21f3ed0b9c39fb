from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor_grpc import errors
from conductor_grpc.transport.classify import classify, from_rpc_error, server_error, short_name
from conductor_grpc.transport.trailer import TRAILER_KEY, decode_debug_info, decode_trailer

if TYPE_CHECKING:
    from conductor_grpc.errors import ServerError

CODE = grpc.StatusCode
RPC = "/conductor.grpc.tasks.TaskService/GetTask"


class Failed(grpc.RpcError):
    """What grpcio raises from a synchronous call, as far as the classifier looks at it."""

    def __init__(self, code: object, details: object = "", trailer: object = None) -> None:
        super().__init__()
        self._code, self._details, self._trailer = code, details, trailer

    def code(self) -> object:
        return self._code

    def details(self) -> object:
        return self._details

    def trailing_metadata(self) -> object:
        return None if self._trailer is None else (("date", "today"), (TRAILER_KEY, self._trailer))


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def debug_info(detail: str, *stack: str) -> bytes:
    fields = [(1, line) for line in stack] + ([(2, detail)] if detail else [])
    return b"".join(varint(number << 3 | 2) + varint(len(text.encode())) + text.encode() for number, text in fields)


# The texts are those of a 3.32.1 server, with the words of grpcio 1.76 and 1.85 where they differ.
UNCAUGHT = "Application error processing RPC"
REFUSED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused"
HTTP1 = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:8080: Socket closed"


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (CODE.NOT_FOUND, "No such task found by id=nope", "not_found"),
        (CODE.INTERNAL, "No such workflow found by id: nope", "not_found"),
        (CODE.ALREADY_EXISTS, "", "conflict"),
        (CODE.FAILED_PRECONDITION, "", "conflict"),
        (CODE.INVALID_ARGUMENT, "longpoll timeout cannot be longer than 5000ms", "invalid"),
        (CODE.INTERNAL, "unset Value element: ", "invalid"),
        (CODE.UNIMPLEMENTED, "Method not found: a.b/C", "invalid"),
        (CODE.INTERNAL, "cannot map to Value type: 7", "unmappable_payload"),
        (CODE.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5000024", "too_large"),
        (CODE.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)", "too_large"),
        (CODE.RESOURCE_EXHAUSTED, "received metadata size exceeds soft limit (9000 vs. 8192)", "unknown"),
        (CODE.RESOURCE_EXHAUSTED, "quota exceeded", "throttled"),
        (CODE.UNKNOWN, "Received http2 header with status: 431", "too_large"),
        (CODE.UNKNOWN, "Received http2 header with status: 429", "throttled"),
        (CODE.UNKNOWN, "Received http2 header with status: 502", "unavailable"),
        (CODE.UNAVAILABLE, "Header size exceeded max allowed size (10240)", "too_large"),
        (CODE.UNAVAILABLE, REFUSED, "unavailable"),
        (CODE.UNAVAILABLE, "Socket closed", "unavailable"),
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", "unavailable"),
        (CODE.UNKNOWN, "Stream removed", "unavailable"),
        (CODE.UNAUTHENTICATED, "", "auth"),
        (CODE.PERMISSION_DENIED, "", "auth"),
        (CODE.ABORTED, "", "transient"),
        (CODE.CANCELLED, "Received RST_STREAM with error code 8", "transient"),
        (CODE.CANCELLED, "Stream removed (RST_STREAM (Received RST_STREAM with error code 8))", "transient"),
        (CODE.INTERNAL, "Received RST_STREAM with error code 1", "unknown"),
        (CODE.INTERNAL, "Stream removed (RST_STREAM (Received RST_STREAM with error code 1))", "unknown"),
        (CODE.INTERNAL, "Received RST_STREAM with error code 11", "transient"),
        (CODE.CANCELLED, "Locally cancelled by application!", "unknown"),
        (CODE.INTERNAL, "[SQLITE_BUSY] The database file is locked (database is locked)", "transient"),
        (CODE.INTERNAL, "ERROR: deadlock detected", "transient"),
        (CODE.INTERNAL, "HikariPool-1 - Connection is not available, request timed out", "transient"),
        (CODE.INTERNAL, "No such task found by id: x", "not_found"),
        (CODE.INTERNAL, 'Table "TASK" not found', "unknown"),
        (CODE.UNKNOWN, UNCAUGHT, "unknown"),
        (CODE.UNKNOWN, "", "unknown"),
        (CODE.INTERNAL, "", "unknown"),
        (CODE.DATA_LOSS, "", "unknown"),
    ],
)
def test_kinds_by_code_and_text(code: grpc.StatusCode, details: str, kind: str) -> None:
    assert classify(Failed(code, details)).value == kind
    aio = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
    assert classify(aio).value == kind


@pytest.mark.parametrize(
    ("detail", "stack", "kind"),
    [
        ("NotFoundException: No such workflow found by id: x", (), "not_found"),
        ("ConflictException: Workflow already exists", (), "conflict"),
        ("IllegalStateException: Workflow is not running", (), "conflict"),
        ("IllegalArgumentException: a not found b", (), "invalid"),
        ("ConstraintViolationException: updateTask.arg0.taskId: Task ID cannot be null", (), "invalid"),
        ("ClassCastException: cannot map to Value type: 7", (), "unmappable_payload"),
        ("TransientException: try later", (), "transient"),
        (
            "NonTransientException: could not store",
            ("x.NonTransientException: could not store", "\tat x.Y", "Caused by: java.sql.E: [SQLITE_BUSY]"),
            "transient",
        ),
        ("NonTransientException: could not store", ("x.NonTransientException: y", "\tat x.Deadlock"), "unknown"),
        ("", ("com.netflix.conductor.core.exception.NotFoundException: gone", "\tat x"), "not_found"),
        ("NullPointerException: ", (), "unknown"),
    ],
)
def test_kinds_by_the_java_exception(detail: str, stack: tuple[str, ...], kind: str) -> None:
    trailer = debug_info(detail, *stack)
    assert classify(Failed(CODE.INTERNAL, "", trailer)).value == kind
    metadata = grpc.aio.Metadata(("date", "today"), (TRAILER_KEY, trailer))
    aio = grpc.aio.AioRpcError(CODE.INTERNAL, grpc.aio.Metadata(), metadata, "")
    assert classify(aio).value == kind


def test_the_error_names_target_method_words_and_remedy() -> None:
    trailer = debug_info("ConstraintViolationException: taskId: must not be empty\nand not null")
    error = from_rpc_error(Failed(CODE.INTERNAL, "", trailer), RPC, "conductor:8090")
    assert type(error) is errors.InvalidRequestError
    assert (error.code, error.method) == (CODE.INTERNAL, "TaskService/GetTask")
    assert error.exception_class == "ConstraintViolationException"
    assert error.details == "taskId: must not be empty\nand not null"
    assert str(error) == (
        "TaskService/GetTask at conductor:8090: taskId: must not be empty and not null "
        "[INTERNAL, ConstraintViolationException]. "
        "Correct the request; sending the same again gives the same answer."
    )


@pytest.mark.parametrize(
    ("code", "details", "leaf", "words"),
    [
        (CODE.UNAVAILABLE, REFUSED, errors.UnavailableError, "conductor.grpc-server.enabled=true and that h:1 is"),
        (CODE.UNAVAILABLE, HTTP1, errors.UnavailableError, "mostly it is the server's REST port"),
        (CODE.UNAVAILABLE, "DNS resolution failed for h:1", errors.UnavailableError, "cannot be resolved"),
        (CODE.UNAVAILABLE, "errors resolving h:1: [...]", errors.UnavailableError, "cannot be resolved"),
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.UnavailableError, "call_timeout"),
        (CODE.UNIMPLEMENTED, "Method not found", errors.InvalidRequestError, "is it a Conductor gRPC port"),
        (CODE.UNKNOWN, UNCAUGHT, errors.UnknownServerError, "mostly the request is not valid"),
        (CODE.UNKNOWN, "", errors.UnknownServerError, "the server gave no reason"),
        (CODE.CANCELLED, "Received RST_STREAM with error code 8", errors.TransientError, "unary Poll"),
        (CODE.INTERNAL, "cannot map to Value type: 7", errors.UnmappablePayloadError, "set base_url"),
        (CODE.RESOURCE_EXHAUSTED, "exceeds maximum size", errors.MessageTooLargeError, "4194304"),
    ],
)
def test_the_advice_fits(code: grpc.StatusCode, details: str, leaf: type[ServerError], words: str) -> None:
    error = from_rpc_error(Failed(code, details), RPC, "h:1")
    assert type(error) is leaf
    assert words in str(error)


def test_a_call_that_cannot_do_what_it_is_asked_for_is_not_an_unknown_call() -> None:
    error = server_error(
        errors.ErrorKind.INVALID,
        "no tasks of type HTTP",
        method="MetadataService/CreateWorkflow",
        target="h:1",
        code=CODE.UNIMPLEMENTED,
        exception_class="UnsupportedOperationException",
    )
    assert str(error).endswith("This server knows the call, but cannot do what it asks for.")


def test_long_words_are_shortened_in_the_message_only() -> None:
    error = from_rpc_error(Failed(CODE.INTERNAL, "x" * 100_000), RPC, "h:1")
    assert len(str(error)) < 1000
    assert "(100000 characters)" in str(error)
    assert len(error.details) == 100_000


def test_an_error_without_anything_is_unknown() -> None:
    error = from_rpc_error(grpc.RpcError(), RPC)
    assert type(error) is errors.UnknownServerError
    assert error.code is CODE.UNKNOWN
    assert str(error).startswith("TaskService/GetTask: the server gave no reason [UNKNOWN].")


def test_short_names() -> None:
    assert short_name(RPC) == short_name("TaskService/GetTask") == "TaskService/GetTask"


def test_the_trailer_is_read() -> None:
    stack = ("a.b.OuterException: boom", "\tat a.b.C.d(C.java:1)", "Caused by: x.E: why", "\t... 3 more")
    trace = decode_trailer(Failed(CODE.INTERNAL, "", debug_info("OuterException: boom", *stack)))
    assert trace is not None
    assert (trace.exception_class, trace.message, trace.stack) == ("OuterException", "boom", stack)
    assert trace.causes == (stack[0], stack[2])


@pytest.mark.parametrize(
    ("detail", "exception_class", "message"),
    [
        ("A$BException: x: y", "A$BException", "x: y"),
        ("NullPointerException", "NullPointerException", ""),
        ("com.x.Outer.InnerException: m", "InnerException", "m"),
        ("no class here", None, "no class here"),
    ],
)
def test_class_and_message(detail: str, exception_class: str | None, message: str) -> None:
    trace = decode_debug_info(debug_info(detail))
    assert trace is not None
    assert (trace.exception_class, trace.message) == (exception_class, message)


def test_a_trailer_cut_off_anywhere_still_gives_what_came_before() -> None:
    whole = debug_info("E: m", "x.E: m", "\tat y")
    first_line = len(debug_info("", "x.E: m"))
    for length in range(len(whole)):
        trace = decode_debug_info(whole[:length])
        assert (trace is None) == (length < first_line), length


def test_a_text_trailer_and_an_empty_one_say_nothing() -> None:
    assert decode_trailer(Failed(CODE.INTERNAL, "", "text")) is None
    assert decode_trailer(Failed(CODE.INTERNAL, "", b"")) is None


fragments = st.one_of(
    st.binary(max_size=40),
    st.builds(debug_info, st.text(max_size=20), st.text(max_size=20)),
    st.integers(0, 2**70).map(varint),
)
trailers = st.one_of(st.none(), st.text(), st.lists(fragments, max_size=5).map(b"".join))


@settings(derandomize=True, max_examples=500, deadline=None)
@given(
    code=st.one_of(st.sampled_from(list(CODE)), st.none(), st.integers()),
    details=st.one_of(st.text(), st.none(), st.binary()),
    trailer=trailers,
)
def test_nothing_the_server_sends_makes_it_raise(code: object, details: object, trailer: object) -> None:
    error = from_rpc_error(Failed(code, details, trailer), RPC, "h:1")
    assert error.kind is classify(Failed(code, details, trailer))
    assert str(error).isprintable()
