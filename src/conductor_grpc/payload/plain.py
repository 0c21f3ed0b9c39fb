"""Python values -> JSON values, one step at a time.

The codec knows the plain types itself and asks here for all others, so that what a step returns is looked at
again and an error deep inside names its own path.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import math
import numbers
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import TypeAlias, cast

from conductor_grpc.errors import PayloadEncodeError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What decoding gives. A whole number within 2**53 is an int, any other number a float."""

_PLAIN = (str, int, float, bool, type(None), dict, list, tuple)


def to_plain(value: object) -> object:
    """`value` as None, bool, int, float, str, dict, list or tuple; what is inside it may still be of other types.

    Plain values come back as they are. An enum gives its value, a dataclass or a pydantic model (anything with
    `model_dump`) a dict, by its aliases, datetime, date, time and timedelta their ISO text, a UUID its text, bytes
    base64. A Decimal gives text, as a double would round it. Other mappings and sequences give a dict or a list; a set
    a list, sorted if its members can be compared.

    Raises PayloadEncodeError, without a path, for everything else and for a conversion that fails.
    """
    try:
        while isinstance(value, enum.Enum) and not isinstance(value, _PLAIN):
            value = value.value
        return value if isinstance(value, _PLAIN) else _convert(value)
    except PayloadEncodeError:
        raise
    except Exception as error:
        name = type(value).__qualname__
        message = f"converting a value of type {name} failed: {type(error).__qualname__}: {error}"
        raise PayloadEncodeError(message) from error


def to_json(value: object) -> JsonValue:
    """`value` with all that is inside it as JSON.

    Raises PayloadEncodeError, without a path, where `to_plain` or `to_key` does, and for NaN and infinity.
    """
    plain = to_plain(value)
    if isinstance(plain, dict):
        return {key if isinstance(key, str) else to_key(key): to_json(each) for key, each in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [to_json(each) for each in plain]
    scalar = plain.value if isinstance(plain, enum.Enum) else plain
    if isinstance(scalar, float) and not math.isfinite(scalar):
        raise _not_finite(scalar)
    return cast("JsonValue", scalar)


def to_key(key: object) -> str:
    """The text of a mapping's key that is not a str: an enum whose value is one.

    Raises PayloadEncodeError, without a path, for all others: JSON has only text keys, and turning 1 into "1"
    would let two keys fall together.
    """
    if isinstance(key, enum.Enum) and isinstance(key.value, str):
        return key.value
    raise PayloadEncodeError(
        f"the key {describe(key)} has the type {type(key).__qualname__}, expected str: convert the keys with str()"
    )


def describe(value: object) -> str:
    """The ASCII repr for a message, cut to a readable length. Never raises."""
    try:
        text = ascii(value)
    except Exception:  # noqa: BLE001  a user's __repr__ may raise anything
        return type(value).__qualname__
    return text if len(text) <= 80 else text[:80] + "..."


def _convert(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        serializer = getattr(type(value), "__pydantic_serializer__", None)
        if serializer is not None:
            return cast("object", serializer.to_python(value, mode="json", by_alias=True))
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    return _convert_by_behaviour(value)


def _convert_by_behaviour(value: object) -> object:
    model_dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    if callable(model_dump):
        by_alias = {"by_alias": True} if hasattr(value, "__pydantic_serializer__") else {}
        return cast("object", model_dump(mode="json", **by_alias))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    if isinstance(value, Set):
        return _members(value)
    if isinstance(value, numbers.Integral):  # those of numpy, for one
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise PayloadEncodeError(
        f"a value of type {type(value).__qualname__} has no JSON form: convert it to a dict, list, str, number, "
        "bool or None (a generator: to a list; a coroutine: await it)"
    )


def _decimal(value: decimal.Decimal) -> str:
    if not value.is_finite():
        raise _not_finite(value)
    return str(value)


def _not_finite(value: object) -> PayloadEncodeError:
    return PayloadEncodeError(f"the number {value} is not finite, which JSON cannot carry: send None instead")


def _duration(length: datetime.timedelta) -> str:
    sign, length = ("-", -length) if length < datetime.timedelta() else ("", length)
    fraction = f".{length.microseconds:06d}".rstrip("0") if length.microseconds else ""
    days = f"{length.days}D" if length.days else ""
    return f"{sign}P{days}T{length.seconds}{fraction}S"


def _members(values: Set[object]) -> list[object]:
    # In an order that does not change from one process to the next.
    try:
        return sorted(values)  # type: ignore[type-var]
    except TypeError:
        return list(values)
