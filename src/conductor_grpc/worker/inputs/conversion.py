"""Checking JSON values against types: closures that take a JSON value and give the Python one.

Which closure belongs to which annotation is decided once, when the worker is declared (`annotation`), so a
task costs calls only. A closure that refuses a value raises `Mismatch`, and the containers around it prepend
their part of the path on the way out: a value that fits costs no path.
"""

from __future__ import annotations

import reprlib
import types
import typing
from collections.abc import Callable
from typing import Any, Final

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor_grpc.worker.inputs.rule import Rule

Converter = Callable[[object], object]


_EXACT_INT: Final = 2**53

_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60


class Mismatch(Exception):  # noqa: N818 - never leaves this room: it becomes an InputError
    """A value does not fit its type. `path` is relative to the value that was converted, e.g.
    `.items[2].price`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.others: tuple[Mismatch, ...] = ()
        """Those of the same value that were found besides."""

    def within(self, part: str) -> None:
        """Prepends what leads to the value from the one around it."""
        self.path = part + self.path
        for other in self.others:
            other.path = part + other.path

    def joined(self, other: Mismatch) -> Mismatch:
        """This one, together with what else is wrong with the same value."""
        self.others = (*self.others, other, *other.others)
        return self


def mismatch(expected: str, value: object) -> Mismatch:
    """For a value of the wrong type; the message shows the beginning of a long one."""
    return Mismatch(f"expected {expected}, got {shown(value)}")


def shown(value: object) -> str:
    """A value for a message, with its type."""
    return "null" if value is None else f"{type(value).__name__} {_SHORT.repr(value)}"


def _to_any(value: object) -> object:
    return value


def _to_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise mismatch("str", value)


def _to_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise mismatch("bool", value)


def _to_none(value: object) -> None:
    if value is not None:
        raise mismatch("null", value)


def _to_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # The wire has one kind of number: 3.0 may be somebody's 3. Beyond 2**53 a double no longer says which
    # integer.
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INT:
        return int(value)
    raise mismatch("int", value)


def _to_float(value: object) -> float:
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise mismatch("float of at most 1.8e308", value) from None
    raise mismatch("float", value)


def choice_of(choices: list[tuple[object, object]]) -> Converter:
    """Of pairs: the JSON value, and what it becomes."""
    expected = "one of " + ", ".join(repr(json) for json, _ in choices)

    def convert(value: object) -> object:
        for json, choice in choices:  # 1 == True, so the types count as well
            if value == json and isinstance(value, bool) == isinstance(json, bool):
                return choice
        raise mismatch(expected, value)

    return convert


def optional_of(member: Converter) -> Converter:
    return lambda value: None if value is None else member(value)


def union_of(members: list[tuple[str, Converter]]) -> Converter:
    """Takes the first member, in the order written, that accepts the value; each with its name for the error."""
    expected = " | ".join(name for name, _ in members)

    def convert(value: object) -> object:
        failures: tuple[tuple[str, Mismatch], ...] = ()
        for name, member in members:
            try:
                return member(value)
            except Mismatch as error:  # noqa: PERF203 - trying one after the other is what a union means
                failures = (*failures, (name, error))
        raise mismatch(expected + _reasons(failures), value)

    return convert


def _reasons(failures: tuple[tuple[str, Mismatch], ...]) -> str:
    """Of the members that took the value for theirs, and found something wrong within."""
    reasons = [
        f"{name}: {error.path.removeprefix('.')}: {error.message}"
        for name, error in failures
        if error.path.startswith(".")
    ]
    return f" ({'; '.join(reasons)})" if reasons else ""


def list_of(item: Converter, build: Callable[[list[object]], object] | None = None) -> Converter:
    """A list, or what `build` makes of it: a tuple, a set."""

    def convert(value: object) -> object:
        if not isinstance(value, list):
            raise mismatch("list", value)
        converted: list[object] = []
        try:
            for each in value:
                converted.append(item(each))  # noqa: PERF401 - its length is the index of the one that failed
        except Mismatch as error:
            error.within(f"[{len(converted)}]")
            raise
        if build is None:
            return converted
        try:
            return build(converted)
        except TypeError as error:  # a set of dicts
            raise mismatch("hashable members", value) from error

    return convert


def tuple_of(members: Sequence[Rule], least: int, build: Callable[[list[object]], object]) -> Converter:
    """What `build` makes of a list with a type for each place, of which at least this many must be there."""

    def convert(value: object) -> object:
        if not isinstance(value, list) or not least <= len(value) <= len(members):
            count = len(members) if least == len(members) else f"{least} to {len(members)}"
            raise mismatch(f"a list of {count}", value)
        converted: list[object] = []
        try:
            for member, each in zip(members, value, strict=False):
                converted.append(member.convert(each))
        except Mismatch as error:
            error.within(f"[{len(converted)}]")
            raise
        return build(converted)

    return convert


def dict_of(item: Converter) -> Converter:
    def convert(value: object) -> object:
        if not isinstance(value, dict):
            raise mismatch("dict", value)
        key = ""
        try:
            return {(key := each): item(content) for each, content in value.items()}
        except Mismatch as error:
            error.within(f"[{key!r}]")
            raise

    return convert


def dict_with_keys(key: Converter, values: Converter) -> Converter:
    """What `values` makes of an object, with the type `key` for its names."""

    def convert(value: object) -> object:
        converted: Any = values(value)
        names: list[object] = []
        for name in converted:
            try:
                names.append(key(name))
            except Mismatch as error:  # noqa: PERF203 - there are few
                error.message = f"as a key: {error.message}"
                error.within(f"[{name!r}]")
                raise
        return dict(zip(names, converted.values(), strict=True))

    return convert


SCALARS: Final[dict[Any, Converter]] = {
    Any: _to_any,
    object: _to_any,
    str: _to_str,
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    None: _to_none,
    types.NoneType: _to_none,
}
