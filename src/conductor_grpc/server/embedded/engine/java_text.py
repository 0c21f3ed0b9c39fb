"""How the released server prints a value within a text: as Java's `toString` does."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-3, 1e7
_ESCAPED = re.compile('["\\\\/\x00-\x1f\x7f-\x9f\u2000-\u20ff]')
_SHORT_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\", "/": "\\/"}


class JsonArray(list[Any]):
    """What a JsonPath with a wildcard or the like gives: unlike any other list it prints as JSON."""


def java_text(value: Any) -> str:
    """A JSON value as Java prints it: `null`, `true`, `5.0`, `1.0E10`, `[a, b]`, `{a=1.0}`; a JsonArray `["a",1.0]`."""
    if isinstance(value, str):
        return value
    if isinstance(value, JsonArray):
        return _json_text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={java_text(value[key])}" for key in hash_order(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(java_text, value)) + "]"
    return _scalar(value)


def hash_order(keys: Collection[str]) -> list[str]:
    """The order in which a Java HashMap gives its keys. Those in one bucket stay in the order in which they come."""
    buckets = 16
    while len(keys) > buckets * 3 // 4:
        buckets *= 2
    return sorted(keys, key=lambda key: _spread(_hash_code(key)) % buckets)


def _json_text(value: Any) -> str:
    if isinstance(value, str):
        return '"' + _ESCAPED.sub(_escape, value) + '"'
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json_text(key)}:{_json_text(value[key])}" for key in hash_order(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json_text, value)) + "]"
    return _scalar(value)


def _escape(match: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _double(value) if isinstance(value, float) else str(value)


def _double(number: float) -> str:
    """The shortest digits that read back as the same number, as in Java since 19."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number == 0 or _SMALLEST_PLAIN <= abs(number) < _LARGEST_PLAIN:
        return repr(number)
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    head, *tail = map(str, digits)
    return f"{'-' * sign}{head}.{''.join(tail) or '0'}E{len(tail) + int(exponent)}"


def _hash_code(text: str) -> int:
    """`String.hashCode`, as an unsigned number."""
    units = text.encode("utf-16-be", "surrogatepass")
    code = 0
    for at in range(0, len(units), 2):
        code = (31 * code + int.from_bytes(units[at : at + 2], "big")) % 2**32
    return code


def _spread(code: int) -> int:
    """What a HashMap makes of a hash code before it takes the bucket from it."""
    return code ^ (code >> 16)
