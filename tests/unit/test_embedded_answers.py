"""From the engine's errors to gRPC statuses, over a real channel and with a service that fails as told."""

from __future__ import annotations

import logging
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from conductor_grpc.errors import ErrorKind
from conductor_grpc.pb.services import event_service_pb2, event_service_pb2_grpc
from conductor_grpc.server.embedded.engine import failures
from conductor_grpc.server.embedded.services import answers
from conductor_grpc.transport.classify import classify
from conductor_grpc.transport.trailer import decode_trailer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
MESSAGE = "No such workflow found by id: w-é"


class Failing:
    """EventService whose calls do what the test says; RemoveEventHandler is the one that catches nothing."""

    DESCRIPTOR = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
    UNCAUGHT = frozenset({"RemoveEventHandler"})

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.before = 0
        """How many answers a stream gives before it fails."""

    def _unary(self, answer: object) -> Callable[..., Any]:
        def rpc(_request: object, _context: object) -> object:
            if self.error is not None:
                raise self.error
            return answer

        return rpc

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("Get"):
            return self._stream
        return self._unary(getattr(event_service_pb2, f"{name}Response")())

    def _stream(self, _request: object, _context: object) -> Iterator[bytes]:
        for _ in range(self.before):
            yield b""
        if self.error is not None:
            raise self.error


class Served:
    def __init__(self, *, strict: bool) -> None:
        self.service = Failing()
        self._pool = futures.ThreadPoolExecutor(4)
        limits = ("grpc.max_receive_message_length", "grpc.max_metadata_size", "grpc.absolute_max_metadata_size")
        self._server = grpc.server(self._pool, options=[(limit, 10 * MIB) for limit in limits])
        router = answers.Router(answers.handlers(self.service, strict=strict), strict=strict)
        self._server.add_generic_rpc_handlers((router,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.stub = event_service_pb2_grpc.EventServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self._server.stop(0).wait()
        self._pool.shutdown()

    def error_of(self, call: Callable[[], object]) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        return caught.value

    def caught(self, error: Exception) -> grpc.RpcError:
        self.service.error = error
        return self.error_of(lambda: self.stub.AddEventHandler(event_service_pb2.AddEventHandlerRequest()))

    def uncaught(self, error: Exception) -> grpc.RpcError:
        self.service.error = error
        return self.error_of(lambda: self.stub.RemoveEventHandler(event_service_pb2.RemoveEventHandlerRequest()))


@pytest.fixture
def strict() -> Iterator[Served]:
    served = Served(strict=True)
    yield served
    served.close()


@pytest.fixture
def easy() -> Iterator[Served]:
    served = Served(strict=False)
    yield served
    served.close()


def told(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    return error.code(), error.details()


def test_a_caught_error_is_internal_with_its_java_class_in_the_trailer(strict: Served) -> None:
    error = strict.caught(failures.NotFoundFailure(MESSAGE))
    assert told(error) == (grpc.StatusCode.INTERNAL, MESSAGE)
    trace = decode_trailer(error)
    assert trace is not None
    assert (trace.exception_class, trace.message) == ("NotFoundException", MESSAGE)
    assert trace.stack[0] == f"com.netflix.conductor.core.exception.NotFoundException: {MESSAGE}"
    assert trace.stack[1].startswith(f"\tat {__name__}.rpc(test_embedded_answers.py:")
    assert trace.causes == trace.stack[:1]
    assert classify(error) is ErrorKind.NOT_FOUND


def test_an_uncaught_error_says_nothing(strict: Served) -> None:
    error = strict.uncaught(failures.NotFoundFailure(MESSAGE))
    assert told(error) == (grpc.StatusCode.UNKNOWN, "Application error processing RPC")
    assert decode_trailer(error) is None


@pytest.mark.parametrize(
    ("failure", "code", "kind"),
    [
        (failures.NotFoundFailure, grpc.StatusCode.NOT_FOUND, ErrorKind.NOT_FOUND),
        (failures.ConflictFailure, grpc.StatusCode.FAILED_PRECONDITION, ErrorKind.CONFLICT),
        (failures.AlreadyExistsFailure, grpc.StatusCode.ALREADY_EXISTS, ErrorKind.CONFLICT),
        (failures.ConstraintViolation, grpc.StatusCode.INVALID_ARGUMENT, ErrorKind.INVALID),
        (failures.IllegalStateFailure, grpc.StatusCode.FAILED_PRECONDITION, ErrorKind.CONFLICT),
    ],
)
def test_outside_strict_mode_every_error_tells_what_it_is(
    easy: Served, failure: type[failures.EngineError], code: grpc.StatusCode, kind: ErrorKind
) -> None:
    for error in (easy.caught(failure("why")), easy.uncaught(failure("why"))):
        assert told(error) == (code, "why")
        trace = decode_trailer(error)
        assert trace is not None
        assert trace.exception_class == failure.java_class.rpartition(".")[2]
        assert classify(error) is kind


@pytest.mark.parametrize("mode", ["strict", "easy"])
def test_what_is_not_supported_is_always_said(mode: str, request: pytest.FixtureRequest) -> None:
    error = request.getfixturevalue(mode).uncaught(failures.UnsupportedFailure("HTTP: run `conductor-grpc server`"))
    assert told(error) == (grpc.StatusCode.UNIMPLEMENTED, "HTTP: run `conductor-grpc server`")


@pytest.mark.parametrize("mode", ["strict", "easy"])
def test_a_chosen_status_has_no_trailer(mode: str, request: pytest.FixtureRequest) -> None:
    error = request.getfixturevalue(mode).uncaught(answers.StatusError(grpc.StatusCode.NOT_FOUND, "no"))
    assert told(error) == (grpc.StatusCode.NOT_FOUND, "no")
    assert decode_trailer(error) is None


def test_a_bug_is_logged_and_the_server_lives_on(strict: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = strict.uncaught(KeyError("surprise"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "KeyError: 'surprise'" in error.details()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "EventService/RemoveEventHandler" in record.getMessage()
    strict.service.error = None
    strict.stub.RemoveEventHandler(event_service_pb2.RemoveEventHandlerRequest())


def test_a_stream_gives_what_it_has_before_it_fails(strict: Served) -> None:
    strict.service.before, strict.service.error = 2, failures.NotFoundFailure(MESSAGE)
    call = strict.stub.GetEventHandlers(event_service_pb2.GetEventHandlersRequest())
    got = [next(call), next(call)]
    error = strict.error_of(lambda: next(call))
    assert len(got) == 2
    assert error.code() is grpc.StatusCode.INTERNAL
    assert decode_trailer(error) is not None


@pytest.mark.parametrize(
    ("mode", "code", "details"),
    [
        ("strict", grpc.StatusCode.UNKNOWN, "Application error processing RPC"),
        ("easy", grpc.StatusCode.INVALID_ARGUMENT, "this is no conductor.grpc.events.AddEventHandlerRequest: "),
    ],
)
def test_what_is_no_message(mode: str, code: grpc.StatusCode, details: str, request: pytest.FixtureRequest) -> None:
    served = request.getfixturevalue(mode)
    call = served.channel.unary_unary("/conductor.grpc.events.EventService/AddEventHandler")
    error = served.error_of(lambda: call(b"\x0a\x05ab"))
    assert error.code() is code
    assert error.details().startswith(details)


def test_the_largest_request(strict: Served, easy: Served) -> None:
    path = "/conductor.grpc.events.EventService/AddEventHandler"
    unknown_field = b"\xfa\x07\xfa\xff\xff\x01"  # number 127, with 4 MiB - 6 bytes to come
    largest = unknown_field + bytes(4 * MIB - 6)
    assert strict.channel.unary_unary(path)(largest) == b""
    error = strict.error_of(lambda: strict.channel.unary_unary(path)(largest + b"\0"))
    assert told(error) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "gRPC message exceeds maximum size 4194304: 4194305",
    )
    assert classify(error) is ErrorKind.TOO_LARGE
    too_large_there = b"\xfa\x07\xfb\xff\xff\x01" + bytes(4 * MIB - 5)
    assert easy.channel.unary_unary(path)(too_large_there) == b""


def test_calls_that_no_service_has(strict: Served) -> None:
    for kind in (strict.channel.unary_unary, strict.channel.unary_stream):
        error = strict.error_of(lambda kind=kind: list(kind("/x.y/Z")(b"")))
        assert told(error) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found: x.y/Z")


def test_metadata_of_more_than_8_kib(strict: Served, easy: Served) -> None:
    path = "/conductor.grpc.events.EventService/AddEventHandler"
    for served in (strict, easy):
        assert served.channel.unary_unary(path)(b"", metadata=[("x", "a" * 7_000)]) == b""
    error = strict.error_of(lambda: strict.channel.unary_unary(path)(b"", metadata=[("x", "a" * 9_000)]))
    assert told(error) == (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 431")
    assert classify(error) is ErrorKind.TOO_LARGE
    assert easy.channel.unary_unary(path)(b"", metadata=[("x", "a" * 9_000)]) == b""


def test_outside_strict_mode_the_trailer_keeps_the_convention(easy: Served) -> None:
    status = rpc_status.from_call(easy.caught(failures.NotFoundFailure(MESSAGE)))
    assert (status.code, status.message) == (grpc.StatusCode.NOT_FOUND.value[0], MESSAGE)
    debug_info = error_details_pb2.DebugInfo()
    assert status.details[0].Unpack(debug_info)
    assert debug_info.detail == f"NotFoundException: {MESSAGE}"


def test_in_strict_mode_the_trailer_breaks_the_convention(strict: Served) -> None:
    error = strict.caught(failures.NotFoundFailure(MESSAGE))
    with pytest.raises(ValueError, match="doesn't match"):
        rpc_status.from_call(error)
