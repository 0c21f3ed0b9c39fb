"""Each of the 42 RPCs answers a good request and refuses a bad one, with the code that the table says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from every_rpc import RPCS, Scene
from google.protobuf.message_factory import GetMessageClass
from wire import error_of

from conductor_grpc.pb.services import event_service_pb2, metadata_service_pb2, task_service_pb2, workflow_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

METHODS: dict[str, MethodDescriptor] = {
    f"{service.full_name}/{method.name}": method
    for file in (task_service_pb2, workflow_service_pb2, metadata_service_pb2, event_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

# What a server answers where the embedded one and the released one with SQLite answer as the table says.
WITHOUT_SHARDS = pytest.mark.differs("redis", "GetQueueAllInfo is UNKNOWN: its queues have no shards")


def call(channel: grpc.Channel, path: str, request: Message | bytes) -> list[Message]:
    """All answers; one to a unary RPC."""
    answer = GetMessageClass(METHODS[path].output_type)
    data = request if isinstance(request, bytes) else request.SerializeToString()
    if METHODS[path].server_streaming:
        return list(channel.unary_stream(f"/{path}", response_deserializer=answer.FromString)(data, timeout=20))
    return [channel.unary_unary(f"/{path}", response_deserializer=answer.FromString)(data, timeout=20)]


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    with server.new_channel() as channel:
        yield channel


@pytest.fixture
def scene(server) -> Scene:
    return Scene(server)


def test_the_table_is_whole() -> None:
    assert RPCS.keys() == METHODS.keys()
    assert len(RPCS) == 42


def _cases() -> list[Any]:
    return [
        pytest.param(path, marks=WITHOUT_SHARDS if path.endswith("GetQueueAllInfo") else ()) for path in sorted(RPCS)
    ]


@pytest.mark.parametrize("path", _cases())
def test_a_good_request(server, channel: grpc.Channel, scene: Scene, path: str) -> None:
    request = RPCS[path].good(scene)
    assert type(request).DESCRIPTOR is METHODS[path].input_type
    if server.name == "redis" and path.endswith("GetQueueAllInfo"):
        assert error_of(lambda: call(channel, path, request)).code is grpc.StatusCode.UNKNOWN
        return
    call(channel, path, request)  # fails if the server does


@pytest.mark.parametrize("path", sorted(RPCS))
def test_a_bad_request(channel: grpc.Channel, scene: Scene, path: str) -> None:
    request = RPCS[path].bad(scene)
    assert isinstance(request, bytes) or type(request).DESCRIPTOR is METHODS[path].input_type
    failure = error_of(lambda: call(channel, path, request))
    assert failure.code is RPCS[path].code
    # INTERNAL is what the server makes of an exception of its own, and alone tells which one it was.
    assert (failure.java_class is not None) == (failure.code is grpc.StatusCode.INTERNAL)
