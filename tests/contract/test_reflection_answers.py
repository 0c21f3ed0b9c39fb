"""Server reflection: the version of it that is served, and its answers to what is not there.

That it tells the truth about the four services is what test_reflection.py sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from wire import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_FOUND = 5
UNIMPLEMENTED = 12


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    with server.new_channel() as channel:
        yield channel


def ask(channel: grpc.Channel, *requests: ServerReflectionRequest) -> list[ServerReflectionResponse]:
    """The answers to several requests on one stream."""
    return list(ServerReflectionStub(channel).ServerReflectionInfo(iter(requests), timeout=20))


def file_names(answer: ServerReflectionResponse) -> list[str]:
    return [FileDescriptorProto.FromString(data).name for data in answer.file_descriptor_response.file_descriptor_proto]


def test_the_services_that_are_served(channel: grpc.Channel) -> None:
    request = ServerReflectionRequest(list_services="")
    (answer,) = ask(channel, request)
    assert {service.name for service in answer.list_services_response.service} == {
        "conductor.grpc.events.EventService",
        "conductor.grpc.metadata.MetadataService",
        "conductor.grpc.tasks.TaskService",
        "conductor.grpc.workflows.WorkflowService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answer.original_request == request


def test_only_v1alpha_is_served(channel: grpc.Channel) -> None:
    method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    stream = channel.stream_stream(f"/{method}")
    request = ServerReflectionRequest(list_services="").SerializeToString()
    assert error_of(lambda: list(stream(iter([request]), timeout=20))) == (
        grpc.StatusCode.UNIMPLEMENTED,
        f"Method not found: {method}",
        None,
    )


@pytest.mark.parametrize("symbol", ["conductor.grpc.tasks.TaskService", "conductor.grpc.tasks.TaskService.Poll"])
def test_a_service_or_method_is_found_in_its_file(channel: grpc.Channel, symbol: str) -> None:
    (answer,) = ask(channel, ServerReflectionRequest(file_containing_symbol=symbol))
    assert any(name.endswith("/task_service.proto") for name in file_names(answer))


def test_a_message_is_found_in_its_file(channel: grpc.Channel) -> None:
    (answer,) = ask(channel, ServerReflectionRequest(file_containing_symbol="conductor.proto.Task"))
    assert any(name.endswith("/task.proto") for name in file_names(answer))


MISSING = {
    "a symbol": (ServerReflectionRequest(file_containing_symbol="no.such.Symbol"), "Symbol not found."),
    "a file": (ServerReflectionRequest(file_by_filename="no/such.proto"), "File not found."),
    "the extensions of an unknown type": (
        ServerReflectionRequest(all_extension_numbers_of_type="no.such.Type"),
        "Type not found.",
    ),
    "the extensions of a type": (
        ServerReflectionRequest(all_extension_numbers_of_type="conductor.proto.Task"),
        "Type not found.",
    ),
    "an extension": (
        ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type="conductor.proto.Task", extension_number=1)
        ),
        "Extension not found.",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_not_there(channel: grpc.Channel, case: str) -> None:
    request, message = MISSING[case]
    (answer,) = ask(channel, request)
    assert (answer.error_response.error_code, answer.error_response.error_message) == (NOT_FOUND, message)
    assert answer.original_request == request


def test_a_request_that_asks_for_nothing(channel: grpc.Channel) -> None:
    (answer,) = ask(channel, ServerReflectionRequest())
    assert answer.error_response.error_code == UNIMPLEMENTED


def test_a_stream_goes_on_after_an_error(channel: grpc.Channel) -> None:
    services = ServerReflectionRequest(list_services="")
    answers = ask(channel, services, MISSING["a symbol"][0], services)
    assert [answer.WhichOneof("message_response") for answer in answers] == [
        "list_services_response",
        "error_response",
        "list_services_response",
    ]
