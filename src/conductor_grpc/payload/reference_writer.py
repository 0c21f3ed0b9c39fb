"""Writing of the reference codec: messages, and google.protobuf.Value within them."""

from __future__ import annotations

import math
import struct

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.payload.plain import describe, to_key, to_plain
from conductor_grpc.payload.reference_reader import FIXED64, LENGTH_DELIMITED, VARINT, join

_MAX_MESSAGES = 100
"""Readers of protobuf refuse messages nested deeper. An object takes three (Value, Struct, entry), a list two."""

_FIRST_MESSAGE = 3
"""The level of the outermost value in a request such as UpdateTask: request > result > entry > value."""

_EXACT = 2**53


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def length_delimited(number: int, content: bytes) -> bytes:
    return tag(number, LENGTH_DELIMITED) + varint(len(content)) + content


def utf8(text: str, path: str | None) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise fail(
            f"the text {describe(text)} has a lone surrogate, which UTF-8 cannot carry: remove or escape it", path
        ) from None


def fail(message: str, path: str | None) -> PayloadEncodeError:
    return PayloadEncodeError(f"{path}: {message}" if path else message, path or "")


class ValueWriter:
    """Python values as google.protobuf.Value; every error is a PayloadEncodeError with its path."""

    def __init__(self, big_as_text: bool) -> None:
        self._big_as_text = big_as_text

    def map(self, number: int, mapping: object) -> bytes:
        """Field `number`, a map<string, Value>."""
        converted = mapping if isinstance(mapping, dict) else _converted(mapping, None)
        if not isinstance(converted, dict):
            name = type(mapping).__qualname__
            raise fail(f"expected a mapping with string keys, got {describe(mapping)} of type {name}", None)
        return self._entries(number, converted, _FIRST_MESSAGE, None)

    def _entries(self, number: int, mapping: dict[object, object], message: int, parent: str | None) -> bytes:
        out = b""
        size = len(mapping)
        for key, value in list(dict.items(mapping)):
            name = key if isinstance(key, str) else _converted_key(key, parent)
            raw_name = utf8(name, parent)
            path = join(parent, name)
            _check_level(message, path)
            content = length_delimited(1, raw_name) + length_delimited(2, self._value(value, message, path))
            out += length_delimited(number, content)
            if len(mapping) != size:
                raise fail("the mapping changed its size while it was being encoded", parent)
        return out

    def _value(self, value: object, message: int, path: str) -> bytes:
        content = self._plain_value(value, message, path)
        if content is None:
            converted = _converted(value, path)
            content = self._plain_value(converted, message, path)
            if content is None:
                raise fail(
                    f"a value of type {type(value).__qualname__} converts to {type(converted).__qualname__}, "
                    "which is not a JSON value",
                    path,
                )
        return content

    def _plain_value(self, value: object, message: int, path: str) -> bytes | None:
        if isinstance(value, str):
            return length_delimited(3, utf8(value, path))
        if value is None:
            return tag(1, VARINT) + varint(0)
        if isinstance(value, bool):  # before integers: bool is one
            return tag(4, VARINT) + varint(value)
        if isinstance(value, int):
            return self._integer(value, path)
        if isinstance(value, float):
            return _number(value, path)
        if isinstance(value, dict):
            _check_level(message + 1, path)
            return length_delimited(5, self._entries(1, value, message + 3, path))
        if isinstance(value, (list, tuple)):
            _check_level(message + 1, path)
            return length_delimited(6, self._items(value, message + 2, path))
        return None

    def _items(self, values: list[object] | tuple[object, ...], message: int, path: str) -> bytes:
        out = b""
        for index, value in enumerate(values):
            here = f"{path}[{index}]"
            _check_level(message, here)
            out += length_delimited(1, self._value(value, message, here))
        return out

    def _integer(self, value: int, path: str) -> bytes:
        if -_EXACT <= value <= _EXACT:
            return _number(float(value), path)
        try:
            digits = int.__repr__(value)
        except ValueError:
            raise fail("the integer has too many digits to be written", path) from None
        if not self._big_as_text:
            raise fail(
                f"the integer {digits} is beyond 2**53, where the protocol's numbers lose digits: send it as text, "
                'or set big_integers="string"',
                path,
            )
        return length_delimited(3, digits.encode())


def _number(value: float, path: str) -> bytes:
    if not math.isfinite(value):
        raise fail(
            f"the number {float(value)} is not finite, which JSON cannot carry: send None or a text instead", path
        )
    return tag(2, FIXED64) + struct.pack("<d", value)


def _converted(value: object, path: str | None) -> object:
    try:
        return to_plain(value)
    except PayloadEncodeError as error:
        raise fail(str(error), path) from error.__cause__


def _converted_key(key: object, path: str | None) -> str:
    try:
        return to_key(key)
    except PayloadEncodeError as error:
        raise fail(str(error), path) from error.__cause__


def _check_level(message: int, path: str) -> None:
    if message > _MAX_MESSAGES:
        raise fail(
            "the value is nested too deeply, or contains itself: the server reads about 32 objects or 48 lists "
            "within each other",
            path,
        )
