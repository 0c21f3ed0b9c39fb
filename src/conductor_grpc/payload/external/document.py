"""Payloads as the JSON documents that the server reads and writes in an external storage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias, cast

from conductor_grpc.errors import PayloadDecodeError
from conductor_grpc.payload.json_number import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.payload import JsonValue

    _WithFloats: TypeAlias = "bool | float | str | list[_WithFloats] | dict[str, _WithFloats] | None"

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def to_document(values: Mapping[str, JsonValue]) -> bytes:
    """The document with these values, all numbers with a point or an exponent.

    That is how the server keeps numbers that came over gRPC. An integer would be one for the tasks behind this one as
    well, and they could not be sent over gRPC.
    """
    return _encode({key: _with_floats(value) for key, value in values.items()}).encode()


def from_document(data: bytes) -> dict[str, JsonValue]:
    """The values in a document, numbers as a task over gRPC has them. Raises PayloadDecodeError."""
    try:
        values = json.loads(data, parse_float=json_number)
    except (ValueError, RecursionError) as error:
        raise PayloadDecodeError(f"not a JSON document: {error}") from error
    if not isinstance(values, dict):
        raise PayloadDecodeError(f"expected a JSON object, got {values!r:.80}")
    return cast("dict[str, JsonValue]", values)


def _with_floats(value: JsonValue) -> _WithFloats:
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, dict):
        return {key: _with_floats(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_floats(each) for each in value]
    return float(value)
