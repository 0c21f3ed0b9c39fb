"""What the descriptors of the definitions' messages say, as far as converting from and to JSON needs it."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message


class Shape(enum.Enum):
    """How many values a field holds."""

    ONE = enum.auto()
    LIST = enum.auto()
    MAP = enum.auto()


class Kind(enum.Enum):
    """What one value of a field is."""

    BOOL = enum.auto()
    STRING = enum.auto()
    INT32 = enum.auto()
    INT64 = enum.auto()
    ENUM = enum.auto()
    MESSAGE = enum.auto()
    TASKS = enum.auto()
    """A list of tasks: proto wraps it in a message, having neither lists of lists nor maps to lists."""
    VALUE = enum.auto()
    """A google.protobuf.Value: any JSON value."""
    ANY = enum.auto()
    """A google.protobuf.Any: an opaque packed message."""


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    key: str
    """Its name in JSON."""
    name: str
    """Its name in Python."""
    number: int
    shape: Shape
    kind: Kind
    """Of a map, what its values are; the keys are strings."""
    numbers: Mapping[str, int]
    """Of an enum, the numbers of its names."""


def fields_of(message: Message) -> Mapping[str, Field]:
    """The fields of a message's type by their JSON name, in the order of the proto file."""
    return _fields(message.DESCRIPTOR)


@functools.cache
def _fields(descriptor: Any) -> Mapping[str, Field]:
    return {each.key: each for each in map(_field, descriptor.fields)}


def _field(entry: Any) -> Field:
    of = entry
    shape = Shape.LIST if entry.is_repeated else Shape.ONE
    if entry.message_type is not None and entry.message_type.GetOptions().map_entry:
        of = entry.message_type.fields_by_name["value"]
        shape = Shape.MAP
    names = {} if of.enum_type is None else {each.name: each.number for each in of.enum_type.values}
    return Field(entry.json_name, entry.name, entry.number, shape, _kind(of), names)


_MESSAGES = {
    "conductor.proto.WorkflowTask.WorkflowTaskList": Kind.TASKS,
    "google.protobuf.Value": Kind.VALUE,
    "google.protobuf.Any": Kind.ANY,
}

_SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: Kind.BOOL,
    FieldDescriptor.CPPTYPE_STRING: Kind.STRING,
    FieldDescriptor.CPPTYPE_INT32: Kind.INT32,
    FieldDescriptor.CPPTYPE_INT64: Kind.INT64,
    FieldDescriptor.CPPTYPE_ENUM: Kind.ENUM,
}


def _kind(entry: Any) -> Kind:
    if entry.message_type is not None:
        return _MESSAGES.get(entry.message_type.full_name, Kind.MESSAGE)
    return _SCALARS[entry.cpp_type]
