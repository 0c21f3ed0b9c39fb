"""The codec in Python: what the native one has to do, and its stand-in under CONDUCTOR_GRPC_PURE=1.

Same names, values, errors and messages as `conductor_grpc._core`, whose stub file documents them; written to be
read, not to be fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, final

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload.plain import JsonValue, describe
from conductor_grpc.payload.reference_reader import LENGTH_DELIMITED, VARINT, MessageReader, read_entry, signed
from conductor_grpc.payload.reference_writer import (
    ValueWriter,
    length_delimited,
    tag,
    utf8,
    varint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer

_MAX_FIELD_NUMBER = 2**29 - 1
_MAX_FIELDS = 2**15 - 1

_ABSENT: dict[str, object] = {
    "string": "",
    "int": 0,
    "bool": False,
    "bytes": b"",
    "value_map": {},
    "string_map": {},
    "messages": [],
    "strings": [],
}


def encode_map(mapping: object, field_number: int, big_integers: Literal["error", "string"] | str = "error") -> bytes:
    """See `conductor_grpc._core.encode_map`."""
    writer = ValueWriter(_checked_big_integers(big_integers))
    return writer.map(_checked_number(field_number), mapping)


def decode_map(data: Buffer, field_number: int) -> dict[str, JsonValue]:
    """See `conductor_grpc._core.decode_map`."""
    number = _checked_number(field_number)
    values: dict[str, JsonValue] = {}
    reader = MessageReader(_input(data), "")
    while not reader.done:
        found, wire_type = reader.tag()
        if found == number:
            reader.expect(found, wire_type, LENGTH_DELIMITED)
            key, value = read_entry(reader.chunk(), 1, None)
            values[key] = value
        else:
            reader.skip(found, wire_type)
    return values


@final
class Layout:
    """See `conductor_grpc._core.Layout`."""

    def __init__(self, fields: Iterable[tuple[int, str]]) -> None:
        self._fields = tuple(fields)
        self._positions: dict[int, int] = {}
        for position, (number, kind) in enumerate(self._fields):
            if kind not in _ABSENT:
                raise ValueError(
                    f"field {number} has the kind '{kind}', expected string, int, bool, bytes, value_map, "
                    "string_map, messages or strings"
                )
            if _checked_number(number) in self._positions:
                raise ValueError(f"the field number {number} is given twice")
            self._positions[number] = position
        if len(self._fields) > _MAX_FIELDS:
            raise ValueError(f"a layout has at most {_MAX_FIELDS} fields")

    @property
    def fields(self) -> tuple[tuple[int, str], ...]:
        """As given."""
        return self._fields

    def decode(self, data: Buffer) -> tuple[Any, ...]:
        """See `conductor_grpc._core.Layout.decode`."""
        values: list[Any] = [_fresh(_ABSENT[kind]) for _, kind in self._fields]
        reader = MessageReader(_input(data), "")
        while not reader.done:
            number, wire_type = reader.tag()
            position = self._positions.get(number)
            if position is None:
                reader.skip(number, wire_type)
                continue
            kind = self._fields[position][1]
            reader.expect(number, wire_type, VARINT if kind in ("int", "bool") else LENGTH_DELIMITED)
            values[position] = _read_field(reader, kind, values[position])
        return tuple(values)

    def encode(self, values: Sequence[object], big_integers: Literal["error", "string"] | str = "error") -> bytes:
        """See `conductor_grpc._core.Layout.encode`."""
        writer = ValueWriter(_checked_big_integers(big_integers))
        if not isinstance(values, (list, tuple)):
            name = type(values).__qualname__
            raise TypeError(f"expected a list or tuple with one value per field, got {name}")
        if len(values) != len(self._fields):
            raise ValueError(f"the layout has {len(self._fields)} fields, got {len(values)} values")
        return b"".join(
            _written_field(writer, number, kind, value)
            for (number, kind), value in zip(self._fields, values, strict=True)
            if value is not None
        )


def _fresh(value: object) -> object:
    return value.copy() if isinstance(value, (dict, list)) else value


def _read_field(reader: MessageReader, kind: str, present: Any) -> object:
    """The value after one more occurrence of the field; containers grow in place."""
    if kind == "int":
        return signed(reader.varint())
    if kind == "bool":
        return reader.varint() != 0
    if kind == "string":
        return reader.text()
    if kind == "value_map":
        key, value = read_entry(reader.chunk(), 1, None)
        present[key] = value
    elif kind == "string_map":
        name, text = _read_text_entry(reader.chunk())
        present[name] = text
    elif kind == "messages":
        present.append(reader.chunk())
    elif kind == "strings":
        present.append(reader.text())
    else:
        return reader.chunk()
    return cast("object", present)


def _read_text_entry(data: bytes) -> tuple[str, str]:
    reader = MessageReader(data, "")
    key = text = ""
    while not reader.done:
        number, wire_type = reader.tag()
        if number == 1:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            key = reader.path = reader.text()
        elif number == 2:
            reader.expect(number, wire_type, LENGTH_DELIMITED)
            text = reader.text()
        else:
            reader.skip(number, wire_type)
    return key, text


def _written_field(writer: ValueWriter, number: int, kind: str, value: object) -> bytes:
    if kind == "value_map":
        return writer.map(number, value)
    if kind == "string_map":
        return _written_text_map(number, value)
    if kind in ("messages", "strings"):
        return _written_sequence(number, kind, value)
    if kind == "string":
        if not isinstance(value, str):
            raise _wrong(number, "str", value)
        return length_delimited(number, utf8(value, "")) if value else b""
    if kind == "bytes":
        content = _buffer(number, value)
        return length_delimited(number, content) if content else b""
    if kind == "bool":
        if not isinstance(value, bool):
            raise _wrong(number, "bool", value)
        return tag(number, VARINT) + varint(1) if value else b""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(number, "int", value)
    if not -(2**63) <= value < 2**63:
        raise _wrong(number, "an int of 64 bits", value)
    return tag(number, VARINT) + varint(value % 2**64) if value else b""


def _written_text_map(number: int, value: object) -> bytes:
    if not isinstance(value, dict):
        raise _wrong(number, "dict[str, str]", value)
    out = b""
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise _wrong(number, "dict[str, str]", value)
        content = length_delimited(1, utf8(key, "")) + length_delimited(2, utf8(text, key))
        out += length_delimited(number, content)
    return out


def _written_sequence(number: int, kind: str, value: object) -> bytes:
    item_type = "str" if kind == "strings" else "bytes"
    expected = f"a list or tuple of {item_type}"
    if not isinstance(value, (list, tuple)):
        raise _wrong(number, expected, value)
    out = b""
    for item in value:
        if kind == "messages":
            out += length_delimited(number, _buffer(number, item))
        elif isinstance(item, str):
            out += length_delimited(number, utf8(item, ""))
        else:
            raise _wrong(number, expected, value)
    return out


def _buffer(number: int, value: object) -> bytes:
    try:
        return memoryview(cast("Buffer", value)).tobytes()
    except TypeError:
        raise _wrong(number, "bytes", value) from None


def _wrong(number: int, expected: str, value: object) -> PayloadEncodeError:
    name = type(value).__qualname__
    return PayloadEncodeError(f"field {number} expects {expected}, got {describe(value)} of type {name}")


def _input(data: Buffer) -> bytes:
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(
            f"expected bytes, a bytearray or a memoryview, got {type(data).__qualname__}: pass the serialised message"
        ) from None


def _checked_number(number: int) -> int:
    if not isinstance(number, int):
        raise TypeError(f"the field number is {describe(number)}, expected an int")
    if not 1 <= number <= _MAX_FIELD_NUMBER:
        raise ValueError(f"the field number {number} is not within 1 and {_MAX_FIELD_NUMBER}")
    return number


def _checked_big_integers(name: str) -> bool:
    if name not in ("error", "string"):
        raise ValueError(f"big_integers is '{name}', expected 'error' or 'string'")
    return name == "string"
