"""What is no request at all: bytes that are no message, calls of nothing, other protocols, too much of everything.

Each case also sees that the server answers the next request as ever.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from wire import Failure, error_of

from conductor_grpc.pb.model.task_pb2 import Task
from conductor_grpc.pb.services import metadata_service_pb2, task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_under_test import ServerUnderTest

UNPARSABLE = Failure(grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)
LIMIT = 4 * 1024 * 1024
TOO_MUCH_METADATA = Failure(grpc.StatusCode.UNKNOWN, "Received http2 header with status: 431", None)

BYTES = {
    "garbage": b"\xff" * 40,
    "a field cut short": b"\x0a\x7fabc",
    "a string that is not UTF-8": b"\x0a\x02\xff\xfe",
    "a group": b"\x0b",
    "field number 0": b"\x00\x01",
}
METHODS = {
    "tasks": "/conductor.grpc.tasks.TaskService/GetTask",
    "tasks, a stream": "/conductor.grpc.tasks.TaskService/BatchPoll",
    "workflows": "/conductor.grpc.workflows.WorkflowService/GetWorkflowStatus",
    "metadata": "/conductor.grpc.metadata.MetadataService/GetWorkflow",
    "events": "/conductor.grpc.events.EventService/RemoveEventHandler",
    "health": "/grpc.health.v1.Health/Check",
}
NO_QUEUE = "a queue of no task"
ANY_METHOD = "/conductor.grpc.tasks.TaskService/GetQueueSizesForTasks"


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    """A connection of the case's own, as some of them break it."""
    with server.new_channel() as channel:
        yield channel
    assert answers(server)


def answers(server: ServerUnderTest) -> bool:
    request = task_service_pb2.QueueSizesRequest(task_types=[NO_QUEUE])
    return dict(server.tasks.GetQueueSizesForTasks(request).queue_for_task) == {NO_QUEUE: 0}


def send(channel: grpc.Channel, method: str, data: bytes, **options: Any) -> list[bytes]:
    """Bytes as the request message; the answer's. A unary method is a stream of one answer to this call."""
    return list(channel.unary_stream(method)(data, timeout=20, **options))


# -- request messages --


@pytest.mark.parametrize("service", METHODS)
@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_message(channel: grpc.Channel, service: str, case: str) -> None:
    assert error_of(lambda: send(channel, METHODS[service], BYTES[case])) == UNPARSABLE


def test_a_field_of_the_wrong_wire_type_counts_as_unknown(channel: grpc.Channel) -> None:
    """Field 1 is a string, and comes as four bytes: so the task id is unset."""
    assert error_of(lambda: send(channel, METHODS["tasks"], b"\x0d\x01\x02\x03\x04")) == (
        grpc.StatusCode.INTERNAL,
        "getTask.arg0: TaskId cannot be null or empty.",
        "ConstraintViolationException",
    )


def test_an_unknown_field_is_passed_over(channel: grpc.Channel) -> None:
    sizes = task_service_pb2.QueueSizesRequest(task_types=[NO_QUEUE]).SerializeToString()
    (answer,) = send(channel, ANY_METHOD, sizes + b"\xf8\x07\x01")
    assert dict(task_service_pb2.QueueSizesResponse.FromString(answer).queue_for_task) == {NO_QUEUE: 0}


# -- methods --


@pytest.mark.parametrize(
    "method",
    [
        "conductor.grpc.tasks.TaskService/NoSuchMethod",
        "conductor.grpc.tasks.taskservice/GetTask",
        "no.such.Service/GetTask",
        "conductor.grpc.tasks.TaskService",
    ],
)
def test_an_unknown_method(channel: grpc.Channel, method: str) -> None:
    assert error_of(lambda: send(channel, f"/{method}", b"")) == (
        grpc.StatusCode.UNIMPLEMENTED,
        f"Method not found: {method}",
        None,
    )


# -- sizes --


def test_a_message_of_the_greatest_size(server) -> None:
    request = metadata_service_pb2.GetTaskRequest(task_type="x" * (LIMIT - 5))
    assert request.ByteSize() == LIMIT
    assert error_of(lambda: server.metadata.GetTask(request)) == UNPARSABLE  # it has arrived: no such definition


def test_a_message_of_one_byte_more(server) -> None:
    request = metadata_service_pb2.GetTaskRequest(task_type="x" * (LIMIT - 4))
    failure = error_of(lambda: server.metadata.GetTask(request))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.details == f"gRPC message exceeds maximum size {LIMIT}: {LIMIT + 1}"
    assert answers(server)


def test_a_task_result_that_is_too_large_leaves_the_task_as_it_is(server) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    error = error_of(lambda: server.complete(task, text="x" * LIMIT))
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.task(task.task_id).status == Task.IN_PROGRESS
    server.complete(task)


def test_metadata_of_usual_size(channel: grpc.Channel) -> None:
    assert send(channel, ANY_METHOD, b"", metadata=(("x-large", "a" * 7000),)) == [b""]


def too_much_metadata(channel: grpc.Channel, size: int) -> Failure:
    return error_of(lambda: send(channel, ANY_METHOD, b"", metadata=(("x-large", "a" * size),)))


def test_metadata_that_is_too_large(channel: grpc.Channel) -> None:
    assert too_much_metadata(channel, 9_000) == TOO_MUCH_METADATA


@pytest.mark.differs("embedded", "refuses metadata of more than 10 KiB, too; the real server hangs up on it")
def test_metadata_that_is_far_too_large(server, channel: grpc.Channel) -> None:
    failure = too_much_metadata(channel, 100_000)
    if server.name == "embedded":
        assert failure == TOO_MUCH_METADATA
    else:
        assert failure.code is grpc.StatusCode.UNAVAILABLE


def compressed(server: ServerUnderTest, compression: grpc.Compression) -> dict[str, int]:
    request = task_service_pb2.QueueSizesRequest(task_types=[NO_QUEUE])
    return dict(server.tasks.GetQueueSizesForTasks(request, compression=compression).queue_for_task)


def test_a_compressed_request(server) -> None:
    assert compressed(server, grpc.Compression.Gzip) == {NO_QUEUE: 0}


@pytest.mark.differs("embedded", "knows deflate besides gzip")
def test_a_request_compressed_in_another_way(server) -> None:
    if server.name == "embedded":
        assert compressed(server, grpc.Compression.Deflate) == {NO_QUEUE: 0}
    else:
        assert error_of(lambda: compressed(server, grpc.Compression.Deflate)) == (
            grpc.StatusCode.UNIMPLEMENTED,
            "Can't find decompressor for deflate",
            None,
        )


# -- streams of requests to methods that take one --


@pytest.mark.differs("embedded", "takes the first of several requests to a method that takes one")
def test_two_requests_to_a_method_that_takes_one(server, channel: grpc.Channel) -> None:
    call = channel.stream_unary(ANY_METHOD)
    if server.name == "embedded":
        assert call(iter([b"", b"\xff"]), timeout=20) == b""
    else:
        failure = error_of(lambda: call(iter([b"", b""]), timeout=20))
        assert failure == (grpc.StatusCode.INTERNAL, "Too many requests", None)


@pytest.mark.differs("embedded", "answers UNIMPLEMENTED to a call without a request")
def test_no_request_to_a_method_that_takes_one(server, channel: grpc.Channel) -> None:
    failure = error_of(lambda: channel.stream_unary(ANY_METHOD)(iter([]), timeout=20))
    if server.name == "embedded":
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED
    else:
        assert failure == (grpc.StatusCode.INTERNAL, "Half-closed without a request", None)


# -- other protocols on the port --

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OTHER_PROTOCOLS = {
    "HTTP/1.1": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(233),
    "garbage": b"\x00\xff" * 500,
    "garbage in HTTP/2": PREFACE + b"\xff" * 200,
}


@pytest.mark.parametrize("protocol", OTHER_PROTOCOLS)
def test_another_protocol_is_told_so_and_hung_up_on(server, protocol: str) -> None:
    with connection(server) as talking:
        talking.sendall(OTHER_PROTOCOLS[protocol])
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := talking.recv(4096):
                answer += data
    assert answer, "it was hung up on without a word"
    assert answers(server)


def test_half_a_greeting_holds_nobody_up(server) -> None:
    with connection(server) as waiting:
        waiting.sendall(PREFACE[:10])
        assert answers(server)


def test_a_connection_that_is_dropped_within_a_request(server) -> None:
    with connection(server) as dropped:
        dropped.sendall(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x10\x01")
    assert answers(server)


def connection(server: ServerUnderTest) -> socket.socket:
    host, _, port = server.target.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)
