"""google.protobuf.Value <-> the engine's payloads.

A number from the wire is a float, as it becomes a Double on the released server; NaN and the infinities become the
texts "NaN", "Infinity" and "-Infinity", which is how that server stores them (seen on 3.32.1). On the way out the
released server cannot put an integer on the wire: strict mode keeps that fault, otherwise any number goes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from conductor_grpc.server.embedded.engine.failures import UnmappableValue, UnsetValue

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from google.protobuf.struct_pb2 import Value


def from_values(values: Mapping[str, Value]) -> dict[str, Any]:
    """The payload of a `map<string, Value>` field. Raises UnsetValue for a Value without a kind."""
    return {key: from_value(value) for key, value in values.items()}


def from_value(value: Value) -> Any:
    """None, bool, float, str, list or dict. Raises UnsetValue for a Value without a kind, however deep."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "struct_value":
        return from_values(value.struct_value.fields)
    if kind == "list_value":
        return [from_value(item) for item in value.list_value.values]
    if kind == "bool_value":
        return value.bool_value
    if kind == "null_value":
        return None
    raise UnsetValue("unset Value element: ")


def fill_values(values: MutableMapping[str, Value], payload: Mapping[str, Any], *, strict: bool) -> None:
    """Puts a payload into an empty `map<string, Value>` field.

    Raises UnmappableValue for what has no form on the wire: in strict mode any integer, else only what is no JSON
    value at all, which the engine never makes. The field is then filled in part.
    """
    for key, item in payload.items():
        _fill(values[key], item, strict=strict)


def _fill(value: Value, item: Any, *, strict: bool) -> None:
    if isinstance(item, str):
        value.string_value = item
    elif isinstance(item, float):
        value.number_value = item
    elif item is None:
        value.null_value = 0  # type: ignore[assignment]  # NULL_VALUE
    elif isinstance(item, bool):
        value.bool_value = item
    elif isinstance(item, dict):
        fields = value.struct_value.fields
        value.struct_value.SetInParent()  # else an empty one would leave the kind unset
        fill_values(fields, item, strict=strict)
    elif isinstance(item, list):
        items = value.list_value.values
        value.list_value.SetInParent()
        for each in item:
            _fill(items.add(), each, strict=strict)
    elif isinstance(item, int) and not strict:
        value.number_value = item
    else:
        raise UnmappableValue(f"cannot map to Value type: {item}")


def _number(number: float) -> float | str:
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
