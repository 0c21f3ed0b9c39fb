"""The servers that the contract cases run against, and facts of the wire for the stubs.

The facts are read from descriptors in the form in which ``wire_contract.json`` writes them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import backends
import pytest
from counts import pytest_itemcollected, pytest_terminal_summary  # noqa: F401 - hooks of pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from server_under_test import ServerUnderTest


@pytest.fixture(
    scope="session",
    params=[
        "embedded",
        pytest.param("sqlite", marks=pytest.mark.real_server),
        pytest.param("redis", marks=pytest.mark.real_server),
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUnderTest]:
    """Each backend in turn: a case that asks for this fixture runs against all of them."""
    with contextlib.ExitStack() as stack:
        if request.param == "embedded":
            server = stack.enter_context(backends.embedded())
        elif request.param == "sqlite":
            shared = request.getfixturevalue("real_server")
            server = stack.enter_context(backends.sqlite(shared.target, shared.base_url))
        else:
            server = stack.enter_context(backends.redis(tmp_path_factory.mktemp("redis")))
        stack.callback(server.close)
        yield server


WireFacts = dict[str, dict[str, "str | int"]]
"""``"message conductor.proto.Task"`` -> ``{"status": "conductor.proto.Task.Status = 2", ...}``, and likewise
for every service, enum and package."""


@pytest.fixture(scope="session")
def read_facts() -> Callable[[Iterable[FileDescriptorProto]], WireFacts]:
    """The function that turns file descriptors into facts, leaving out those of ``google.protobuf``."""

    def read(files: Iterable[FileDescriptorProto]) -> WireFacts:
        facts: WireFacts = {}
        for file in files:
            if not file.package.startswith("google."):
                for owner, members in file_facts(file):
                    facts.setdefault(owner, {}).update(members)
        return facts

    return read


def file_facts(file: FileDescriptorProto) -> Iterator[tuple[str, dict[str, str | int]]]:
    yield f"package {file.package}", {"syntax": file.syntax}
    for service in file.service:
        name = f"{file.package}.{service.name}"
        yield (
            f"service {name}",
            {f"/{name}/{method.name}": method_fact(method) for method in service.method},
        )
    yield from enum_facts(file.enum_type, file.package)
    yield from message_facts(file.message_type, file.package)


def message_facts(messages: Sequence[DescriptorProto], scope: str) -> Iterator[tuple[str, dict[str, str | int]]]:
    for message in messages:
        name = f"{scope}.{message.name}"
        entries = {f".{name}.{entry.name}": entry for entry in message.nested_type if entry.options.map_entry}
        yield f"message {name}", {field.name: field_fact(field, entries) for field in message.field}
        yield from enum_facts(message.enum_type, name)
        yield from message_facts([kind for kind in message.nested_type if not kind.options.map_entry], name)


def enum_facts(enums: Sequence[EnumDescriptorProto], scope: str) -> Iterator[tuple[str, dict[str, str | int]]]:
    for enum in enums:
        yield f"enum {scope}.{enum.name}", {value.name: value.number for value in enum.value}


def field_fact(field: FieldDescriptorProto, map_entries: dict[str, DescriptorProto]) -> str:
    if field.type_name in map_entries:
        key, value = map_entries[field.type_name].field
        return f"map<{type_name(key)}, {type_name(value)}> = {field.number}"
    words = [type_name(field), "=", str(field.number)]
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        words.insert(0, "repeated")
    if field.HasField("oneof_index"):  # also how proto3's `optional` shows itself
        words.insert(0, "oneof")
    if field.options.HasField("packed"):
        words.append(f"[packed={field.options.packed}]")
    return " ".join(words)


def type_name(field: FieldDescriptorProto) -> str:
    """``int64``, or the full name of the message or enum."""
    scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return field.type_name.lstrip(".") or scalar


def method_fact(method: MethodDescriptorProto) -> str:
    request = "stream " * method.client_streaming + method.input_type.lstrip(".")
    response = "stream " * method.server_streaming + method.output_type.lstrip(".")
    return f"({request}) returns ({response})"
