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
    import enum

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


def mismatch(expected: str, value: object) -> Mismatch:
    """For a value of the wrong type; the message shows the beginning of a long one."""
    got = "null" if value is None else f"{type(value).__name__} {_SHORT.repr(value)}"
    return Mismatch(f"expected {expected}, got {got}")


class Entry(typing.NamedTuple):
    """One named value to take out of a JSON object: a parameter, or a field of a dataclass."""

    name: str
    convert: Converter
    required: bool

    def take(self, source: dict[str, Any], into: dict[str, object]) -> None:
        """Converts the value of this name, if there is one.

        null counts as absent where the type does not admit it: `${workflow.input.x}` arrives as null when the
        workflow was started without x, and that is what a default is for.
        """
        value = source.get(self.name)
        if value is None and self.name not in source:
            if self.required:
                given = ", ".join(map(repr, list(source)[:20])) or "none"
                raise Mismatch(f"missing, and it has no default (given: {given})", f".{self.name}")
            return
        try:
            into[self.name] = self.convert(value)
        except Mismatch as error:
            if value is None:
                if not self.required:
                    return
                error.message += " (a reference like ${workflow.input.x} that leads nowhere arrives as null)"
            error.path = f".{self.name}{error.path}"
            raise


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


def literal_of(choices: tuple[Any, ...]) -> Converter:
    expected = "one of " + ", ".join(repr(choice) for choice in choices)

    def convert(value: object) -> object:
        for choice in choices:  # 1 == True, so the types count as well
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        raise mismatch(expected, value)

    return convert


def enum_of(cls: type[enum.Enum]) -> Converter:
    literal = literal_of(tuple(member.value for member in cls))
    return lambda value: cls(literal(value))


def optional_of(member: Converter) -> Converter:
    return lambda value: None if value is None else member(value)


def union_of(members: list[Converter], expected: str) -> Converter:
    """Takes the first member, in the order written, that accepts the value."""

    def convert(value: object) -> object:
        for member in members:
            try:
                return member(value)
            except Mismatch:  # noqa: PERF203 - trying one after the other is what a union means
                continue
        raise mismatch(expected, value)

    return convert


def list_of(item: Converter) -> Converter:
    def convert(value: object) -> object:
        if not isinstance(value, list):
            raise mismatch("list", value)
        converted: list[object] = []
        try:
            for each in value:
                converted.append(item(each))  # noqa: PERF401 - its length is the index of the one that failed
        except Mismatch as error:
            error.path = f"[{len(converted)}]{error.path}"
            raise
        return converted

    return convert


def dict_of(item: Converter) -> Converter:
    def convert(value: object) -> object:
        if not isinstance(value, dict):
            raise mismatch("dict", value)
        key = ""
        try:
            return {(key := each): item(content) for each, content in value.items()}
        except Mismatch as error:
            error.path = f"[{key!r}]{error.path}"
            raise

    return convert


def dataclass_of(cls: type, fields: list[Entry]) -> Converter:
    def convert(value: object) -> object:
        if not isinstance(value, dict):
            raise mismatch(f"an object for {cls.__name__}", value)
        arguments: dict[str, object] = {}
        for entry in fields:
            entry.take(value, arguments)
        try:
            return cls(**arguments)
        except Exception as error:  # the class's own __post_init__ judges the values
            raise Mismatch(f"{cls.__name__} refused it: {type(error).__name__}: {error}") from error

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
