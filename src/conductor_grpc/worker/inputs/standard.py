"""Types of the standard library that travel as text: the counterparts of what `conductor_grpc.payload` writes."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import re
import uuid
from typing import Any, Final

from conductor_grpc.worker.inputs.conversion import Converter, Mismatch, mismatch
from conductor_grpc.worker.inputs.rule import Definitions, Rule, Schema, fixed

_CLOCK: Final = r"([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:[.,]([0-9]{1,9}))?)?(?:([Zz])|([+-][0-9]{2}):?([0-9]{2}))?"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(_CLOCK)
_DATETIME: Final = re.compile(rf"({_DATE.pattern})[Tt ]{_CLOCK}")
_DURATION: Final = re.compile(
    r"([+-]?)P(?=[0-9T])(?:([0-9]+)W)?(?:([0-9]+)D)?"
    r"(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:[.,]([0-9]{1,9}))?S)?)?"
)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")


def _refusal(expected: str, value: object) -> Mismatch:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        expected += " (of a number nobody knows the unit: take it as int or float and convert it yourself)"
    return mismatch(expected, value)


def _clock(hours: str, seconds: str | None, fraction: str | None, z: str | None, zone: str | None, rest: str) -> str:
    # As Python 3.10 reads it, too: it knows no Z, and three or six digits only. Java writes nine.
    offset = "+00:00" if z else f"{zone}:{rest}" if zone else ""
    return f"{hours}{seconds or ':00'}.{(fraction or '')[:6]:0<6}{offset}"


def to_datetime(value: object) -> datetime.datetime:
    """ISO 8601 with `T` or a blank. Without an offset it is naive, as it was sent."""
    if isinstance(value, str) and (match := _DATETIME.fullmatch(value)):
        try:
            return datetime.datetime.fromisoformat(f"{match[1]}T{_clock(*match.groups()[1:])}")
        except ValueError:
            pass  # a 30th of February
    raise _refusal("a date and time such as '2024-02-03T04:05:06Z'", value)


def to_date(value: object) -> datetime.date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return datetime.date.fromisoformat(value)
        except ValueError:
            pass
    raise _refusal("a date such as '2024-02-03'", value)


def to_time(value: object) -> datetime.time:
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        try:
            return datetime.time.fromisoformat(_clock(*match.groups()))
        except ValueError:
            pass
    raise _refusal("a time such as '04:05:06'", value)


def to_timedelta(value: object) -> datetime.timedelta:
    """ISO 8601 in weeks, days, hours, minutes and seconds; a year or a month has no length."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        sign, *numbers, fraction = match.groups()
        try:
            weeks, days, hours, minutes, seconds = (int(each or 0) for each in numbers)
            length = datetime.timedelta(
                weeks=weeks,
                days=days,
                hours=hours,
                minutes=minutes,
                seconds=seconds,
                microseconds=int(f"{(fraction or '')[:6]:0<6}"),
            )
        except (OverflowError, ValueError):
            raise mismatch("a duration of less than a billion days", value) from None
        return -length if sign == "-" else length
    raise _refusal("an ISO 8601 duration such as 'P1DT2H' or 'PT1.5S'", value)


def to_uuid(value: object) -> uuid.UUID:
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            pass
    raise mismatch("a UUID such as '3d6f0a4e-0b1c-4c8e-9a52-0f6f3a1b2c3d'", value)


def to_decimal(value: object) -> decimal.Decimal:
    """From text exactly; from a number by its shortest text, which is what was written before it became a double."""
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal.Decimal(value)
    text = repr(value) if isinstance(value, float) else value
    if isinstance(text, str) and _DECIMAL.fullmatch(text):
        return decimal.Decimal(text)
    raise mismatch("a decimal number, as text such as '19.90' or as a number", value)


def to_bytes(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise mismatch("bytes as base64", value)


def to_bytearray(value: object) -> bytearray:
    return bytearray(to_bytes(value))


def _decimal_schema(definitions: Definitions) -> Schema:
    text = {"type": "string", "pattern": f"^(?:{_DECIMAL.pattern})$"}
    return text if definitions.output else {"anyOf": [text, {"type": "number"}]}


def _text(convert: Converter, **keywords: Any) -> Rule:
    return Rule(convert, fixed({"type": "string", **keywords}))


STANDARD: Final[dict[Any, Rule]] = {
    datetime.datetime: _text(to_datetime, format="date-time"),
    datetime.date: _text(to_date, format="date"),
    datetime.time: _text(to_time, format="time"),
    datetime.timedelta: _text(to_timedelta, format="duration"),
    uuid.UUID: _text(to_uuid, format="uuid"),
    decimal.Decimal: Rule(to_decimal, _decimal_schema),
    bytes: _text(to_bytes, contentEncoding="base64"),
    bytearray: _text(to_bytearray, contentEncoding="base64"),
}
