"""Facts of the wire, read from descriptors in the form in which ``wire_contract.json`` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
