"""Reading of the reference codec: messages, and google.protobuf.Value within them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NoReturn

from conductor_grpc.errors import PayloadDecodeError

if TYPE_CHECKING:
    from conductor_grpc.payload.plain import JsonValue

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5

_MAX_DEPTH = 100
_MAX_VARINT_BYTES = 10
_MAX_TAG_BYTES = 5


class MessageReader:
    """Reads one message; every error is a PayloadDecodeError with `path`, which may be set as it becomes known."""

    def __init__(self, data: bytes, path: str) -> None:
        self._data = data
        self._position = 0
        self.path = path

    @property
    def done(self) -> bool:
        return self._position == len(self._data)

    def tag(self) -> tuple[int, int]:
        """Field number and wire type."""
        start = self._position
        raw = self.varint()
        if self._position - start > _MAX_TAG_BYTES or raw >= 2**32:
            self._fail("a tag is longer than 32 bits")
        if raw >> 3 == 0:
            self._fail("a tag has the field number 0")
        return raw >> 3, raw & 7

    def varint(self) -> int:
        """Bits beyond the 64th are dropped, as protobuf does."""
        value = 0
        for count in range(_MAX_VARINT_BYTES):
            if self.done:
                self._fail("the message ends inside a number")
            byte = self._data[self._position]
            self._position += 1
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return value % 2**64
        return self._fail("a number is longer than 10 bytes")

    def double(self) -> float:
        (value,) = struct.unpack("<d", self._take(8))
        return float(value)

    def chunk(self) -> bytes:
        return self._take(self.varint())

    def text(self) -> str:
        try:
            return self.chunk().decode("utf-8")
        except UnicodeDecodeError:
            return self._fail("a text is not valid UTF-8")

    def expect(self, number: int, wire_type: int, expected: int) -> None:
        if wire_type != expected:
            self._fail(f"field {number} has the wire type {wire_type}, expected {expected}")

    def skip(self, number: int, wire_type: int) -> None:
        if wire_type == VARINT:
            self.varint()
        elif wire_type == FIXED64:
            self._take(8)
        elif wire_type == LENGTH_DELIMITED:
            self.chunk()
        elif wire_type == FIXED32:
            self._take(4)
        else:
            self._fail(f"field {number} has the wire type {wire_type}, which is a group or undefined")

    def _take(self, length: int) -> bytes:
        rest = len(self._data) - self._position
        if length > rest:
            self._fail(f"the message is cut off: {length} bytes should follow, {rest} are there")
        self._position += length
        return self._data[self._position - length : self._position]

    def _fail(self, message: str) -> NoReturn:
        raise PayloadDecodeError(f"{self.path}: {message}" if self.path else message, self.path)


def signed(value: int) -> int:
    """64 bits as a signed integer."""
    return value - 2**64 if value >= 2**63 else value


def read_entry(data: bytes, depth: int, parent: str | None) -> tuple[str, JsonValue]:
    """An entry of a map<string, Value>; `depth` is that of its value, 1 for the outermost."""
    key = ""
    value: JsonValue = None
    reader = MessageReader(data, join(parent, key))
    while not reader.done:
        number, wire_type = reader.tag()
        if number == 1:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            key = reader.text()
            reader.path = join(parent, key)
        elif number == 2:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            value = read_value(reader.chunk(), value, depth, reader.path)
        else:
            reader.skip(number, wire_type)
    return key, value


def read_value(data: bytes, value: Any, depth: int, path: str) -> Any:
    """A Value merged into `value`: the last kind wins, the same kind of container again grows."""
    reader = MessageReader(data, path)
    if depth > _MAX_DEPTH:
        raise PayloadDecodeError(f"{path}: the value is nested more than {_MAX_DEPTH} levels deep", path)
    while not reader.done:
        number, wire_type = reader.tag()
        if number not in _KINDS:
            reader.skip(number, wire_type)
            continue
        reader.expect(number, wire_type, _KINDS[number])
        if number == 1:
            reader.varint()
            value = None
        elif number == 2:
            value = _number(reader.double())
        elif number == 3:
            value = reader.text()
        elif number == 4:
            value = reader.varint() != 0
        elif number == 5:
            value = _read_object(reader.chunk(), value if isinstance(value, dict) else {}, depth, path)
        else:
            value = _read_list(reader.chunk(), value if isinstance(value, list) else [], depth, path)
    return value


_KINDS = {1: VARINT, 2: FIXED64, 3: LENGTH_DELIMITED, 4: VARINT, 5: LENGTH_DELIMITED, 6: LENGTH_DELIMITED}


def _read_object(data: bytes, members: dict[str, Any], depth: int, path: str) -> dict[str, Any]:
    reader = MessageReader(data, path)
    while not reader.done:
        number, wire_type = reader.tag()
        if number == 1:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            key, value = read_entry(reader.chunk(), depth + 1, path)
            members[key] = value
        else:
            reader.skip(number, wire_type)
    return members


def _read_list(data: bytes, items: list[Any], depth: int, path: str) -> list[Any]:
    reader = MessageReader(data, path)
    while not reader.done:
        number, wire_type = reader.tag()
        if number == 1:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            items.append(read_value(reader.chunk(), None, depth + 1, f"{path}[{len(items)}]"))
        else:
            reader.skip(number, wire_type)
    return items


def join(parent: str | None, key: str) -> str:
    """The path of a key; None stands for the outermost message."""
    return key if parent is None else f"{parent}.{key}"


def _number(value: float) -> int | float:
    return int(value) if abs(value) <= 2**53 and value == int(value) else value
