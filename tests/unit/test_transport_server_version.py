"""Whether the server extends leases, asked of servers that answer in all the ways there are."""

from __future__ import annotations

from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from scripted_server import ScriptedServer

from conductor_grpc import Configuration
from conductor_grpc.errors import NotFoundError, PayloadDecodeError, UnavailableError
from conductor_grpc.payload import Layout
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.reflection import REFLECTION
from conductor_grpc.transport.server_version import LeaseSupport, lease_support

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.transport.rest import RestClient


class Rest:
    """Answers `version()`."""

    def __init__(self, answer: str | Exception) -> None:
        self._answer = answer

    def version(self) -> str:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def ask(target: str, answer: str | Exception | None = None) -> LeaseSupport:
    with open_channel(Configuration("", target=target)) as channel:
        return lease_support(channel, None if answer is None else cast("RestClient", Rest(answer)))


@contextmanager
def reflecting(*answers: bytes) -> Iterator[str]:
    """A server whose reflection answers with these bytes."""
    handler = grpc.stream_stream_rpc_method_handler(lambda _requests, _context: iter(answers))
    _, service, method = REFLECTION.split("/")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def files(*descriptors: bytes) -> bytes:
    return Layout([(4, "bytes")]).encode((Layout([(1, "messages")]).encode((list(descriptors),)),))


def task_result(leave_out: str = "") -> FileDescriptorProto:
    file = FileDescriptorProto()
    taskresult_pb2.DESCRIPTOR.CopyToProto(file)
    fields = file.message_type[0].field
    for index, field in reversed(list(enumerate(fields))):
        if field.name == leave_out:
            del fields[index]
    return file


def test_the_embedded_server_does() -> None:
    with EmbeddedServer(strict=True) as server:
        assert ask(server.target) is LeaseSupport.YES


@pytest.mark.parametrize(("leave_out", "expected"), [("", LeaseSupport.YES), ("extend_lease", LeaseSupport.NO)])
def test_reflection_decides(leave_out: str, expected: LeaseSupport) -> None:
    other = FileDescriptorProto(name="other.proto", package="other", message_type=[{"name": "TaskResult"}])
    descriptors = [other.SerializeToString(), task_result(leave_out).SerializeToString()]
    with reflecting(files(*descriptors)) as target:
        assert ask(target) is expected
        assert ask(target, "2.0.0") is expected, "whatever the version says"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.32.1", LeaseSupport.YES),
        ("v3.33.0-rc.1", LeaseSupport.YES),
        ("4.0", LeaseSupport.YES),
        ("3.31.9", LeaseSupport.NO),
        ("2.40.0", LeaseSupport.NO),
        ("dev", LeaseSupport.UNTOLD),
        (PayloadDecodeError("a page"), LeaseSupport.UNTOLD),
        (NotFoundError("no route", code=grpc.StatusCode.NOT_FOUND), LeaseSupport.UNTOLD),
        (None, LeaseSupport.UNTOLD),
    ],
)
def test_where_there_is_no_reflection_the_version_does(version: str | Exception | None, expected: LeaseSupport) -> None:
    with ScriptedServer() as server:
        assert ask(server.target, version) is expected


@pytest.mark.parametrize(
    "answers",
    [(), (b"",), (files(b"\xff\xff"),), (b"\x22\x05nope",), (files(),)],
    ids=["none", "empty", "no descriptor", "cut short", "no files"],
)
def test_an_answer_that_says_nothing_leaves_it_to_the_version(answers: tuple[bytes, ...]) -> None:
    with reflecting(*answers) as target:
        assert ask(target) is LeaseSupport.UNTOLD
        assert ask(target, "3.32.0") is LeaseSupport.YES


def test_a_server_that_is_not_there_is_no_answer() -> None:
    with pytest.raises(UnavailableError):
        ask("127.0.0.1:1", "3.32.0")
    down = UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE)
    with ScriptedServer() as server, pytest.raises(UnavailableError):
        ask(server.target, down)
