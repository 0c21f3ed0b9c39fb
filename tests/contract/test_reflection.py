"""The facts of ``wire_contract.json`` against those a running server tells of itself by reflection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    class Server(Protocol):
        target: str


pytestmark = pytest.mark.real_server

Facts = dict[str, dict[str, "str | int"]]

CONTRACT: Facts = json.loads(Path(__file__).with_name("wire_contract.json").read_text("utf-8"))

# Reflection shows the files that a service imports, directly or not. No method carries these.
OUT_OF_SIGHT = {
    "message conductor.proto.DynamicForkJoinTask",
    "message conductor.proto.DynamicForkJoinTaskList",
    "message conductor.proto.EventExecution",
    "enum conductor.proto.EventExecution.Status",
    "message conductor.proto.PollData",
    "message conductor.proto.StateChangeEvent",
    "message conductor.proto.UpgradeWorkflowRequest",
    "message conductor.proto.WorkflowDefSummary",
}
IN_SIGHT = sorted(CONTRACT.keys() - OUT_OF_SIGHT)

DEADLINE_SECONDS = 20


class Reflection:
    """The three questions that are needed, each asked in a stream of its own.

    By v1alpha of the protocol: 3.32.1 answers UNIMPLEMENTED to v1.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ServerReflectionStub(channel)

    def services(self) -> list[str]:
        answer = self._ask(ServerReflectionRequest(list_services=""))
        return [service.name for service in answer.list_services_response.service]

    def files_of(self, symbol: str) -> list[FileDescriptorProto]:
        """The file that defines the symbol; the protocol lets a server send its imports along."""
        return self._files(ServerReflectionRequest(file_containing_symbol=symbol))

    def files_named(self, name: str) -> list[FileDescriptorProto]:
        return self._files(ServerReflectionRequest(file_by_filename=name))

    def _files(self, request: ServerReflectionRequest) -> list[FileDescriptorProto]:
        answer = self._ask(request)
        assert not answer.HasField("error_response"), f"{request}: {answer.error_response}"
        return [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]

    def _ask(self, request: ServerReflectionRequest):  # type: ignore[no-untyped-def]
        (answer,) = self._stub.ServerReflectionInfo(iter([request]), timeout=DEADLINE_SECONDS)
        return answer


def own_services(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith("conductor.")}


@pytest.fixture(scope="module")
def reflection(real_server: Server) -> Iterable[Reflection]:
    with grpc.insecure_channel(real_server.target) as channel:
        yield Reflection(channel)


@pytest.fixture(scope="module")
def served(reflection: Reflection, read_facts: Callable[[Iterable[FileDescriptorProto]], Facts]) -> Facts:
    files: dict[str, FileDescriptorProto] = {}
    unread = [file for name in own_services(reflection.services()) for file in reflection.files_of(name)]
    while unread:
        file = unread.pop()
        if file.name not in files:
            files[file.name] = file
            unread += [found for name in file.dependency for found in reflection.files_named(name)]
    return read_facts(files.values())


def test_services(reflection: Reflection) -> None:
    expected = {owner.removeprefix("service ") for owner in CONTRACT if owner.startswith("service ")}
    assert own_services(reflection.services()) == expected


@pytest.mark.parametrize("owner", IN_SIGHT)
def test_served_as_written_down(served: Facts, owner: str) -> None:
    assert served.get(owner) == CONTRACT[owner]


def test_nothing_else_is_served(served: Facts) -> None:
    assert served.keys() == set(IN_SIGHT)
