"""The part of JsonPath that expressions use: `a.b`, `a['b c']`, `a[0]`, `a[-1]`, `a[0,2]`, `a[1:3]`, `a[*].b`, `a.*`
and `a.length()` at the end.

As in the library of the released server, a definite path that leads nowhere gives None, and one with a wildcard, a
slice or several indexes gives a list, empty if nothing is there. The rest of JsonPath (filters `[?(…)]`, the deep scan
`..`, several names in one bracket, other functions) is an UnsupportedPathError, told apart from an InvalidPathError so
that nobody gets a wrong value silently.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conductor_grpc.server.embedded.engine.java_text import JsonArray, hash_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = re.compile(r"[^.\[( ]+")
_QUOTED = re.compile(r"""\[\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]""", re.DOTALL)
_QUOTED_MORE = re.compile(r"""\[\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*,""", re.DOTALL)
_INDEXES = re.compile(r"\[\s*(-?\d+(?:\s*,\s*-?\d+)*)\s*\]", re.ASCII)
_SLICE = re.compile(r"\[\s*(-?\d+)?\s*:\s*(-?\d+)?\s*\]", re.ASCII)
_WILDCARD = re.compile(r"\[\s*\*\s*\]|\*(?=[.\[]|$)")
_COUNT = re.compile(r"(?:length|size)\(\s*\)$")


class InvalidPathError(Exception):
    """This is no JsonPath. The message says where."""


class UnsupportedPathError(Exception):
    """A JsonPath that only the released server evaluates."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One part of a path: `name` leads into an object, `indexes` or `span` into a list, none of them to all of it."""

    name: str | None = None
    indexes: tuple[int, ...] = ()
    span: tuple[int | None, int | None] | None = None

    @property
    def is_definite(self) -> bool:
        return self.name is not None or len(self.indexes) == 1

    def children(self, value: Any) -> Iterator[Any]:
        """What it leads to from here; nothing if that is not there."""
        if self.name is not None:
            if isinstance(value, Mapping) and self.name in value:
                yield value[self.name]
        elif isinstance(value, list):
            yield from (value[index] for index in self._positions(len(value)) if -len(value) <= index < len(value))
        elif isinstance(value, Mapping) and not self.indexes and self.span is None:
            yield from (value[key] for key in hash_order(value))

    def _positions(self, length: int) -> Iterable[int]:
        if self.span is None:
            return self.indexes or range(length)
        start, end = self.span
        if start is None or end is None:
            return range(length)[start:end]
        return range(start, min(length, end))  # one below zero counts on from the end to the front, as there


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path. Immutable."""

    steps: tuple[_Step, ...]
    counts: bool = False
    """It ends in `length()`."""

    def read(self, document: Mapping[str, Any]) -> Any:
        """The value it leads to: None if there is none, a JsonArray if the path is not definite."""
        values: list[Any] = [document]
        for step in self.steps:
            values = [child for value in values for child in step.children(value)]
        if not all(step.is_definite for step in self.steps):
            return JsonArray(values)
        value = values[0] if values else None
        if not self.counts:
            return value
        return len(value) if isinstance(value, (list, Mapping)) else None


@functools.lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """`a.b[0].c`, with or without `$.` before it. Raises InvalidPathError or UnsupportedPathError."""
    path = text.rstrip(" ")
    if path == "$" or path.startswith(("@", "*", "$.*", "$[*")):
        raise UnsupportedPathError(f"{text}: everything at once")
    if not path:
        raise InvalidPathError("an empty path")
    if path.endswith("."):
        raise InvalidPathError(f"{text}: a path must not end with a dot")
    if not path.startswith("$"):
        path = f"$.{path}"
    steps: list[_Step] = []
    at = 1
    while at < len(path):
        if path.startswith("..", at):
            if path.startswith("...", at):
                raise InvalidPathError(f"{text}: three dots")
            raise UnsupportedPathError(f"{text}: the deep scan `..`")
        after_dot = at + path.startswith(".", at)
        if after_dot == at and path[at] != "[":
            if at == 1:
                raise InvalidPathError(f"{text}: no name at {path!r}")
            raise UnsupportedPathError(f"{text}: no dot before {path[at:]!r}")
        if _COUNT.match(path, after_dot):
            return _counting(text, steps)
        step, at = _step(path, after_dot, text)
        steps.append(step)
    return Path(tuple(steps))


def _counting(text: str, steps: list[_Step]) -> Path:
    if not all(step.is_definite for step in steps):
        raise UnsupportedPathError(f"{text}: the length of what a wildcard gives")
    return Path(tuple(steps), counts=True)


def _step(path: str, at: int, text: str) -> tuple[_Step, int]:
    """The step that begins here, and where the next one does."""
    wildcard = _WILDCARD.match(path, at)
    if wildcard is not None:
        return _Step(), wildcard.end()
    if path[at] == "[":
        return _bracket(path, at, text)
    if path[at] == "*":
        raise UnsupportedPathError(f"{text}: a wildcard with more at {path[at:]!r}")
    name = _NAME.match(path, at)
    if name is None:
        raise InvalidPathError(f"{text}: no name at {path[at:]!r}")
    if path.startswith("(", name.end()):
        raise UnsupportedPathError(f"{text}: the function {name[0]}()")
    if path.startswith(" ", name.end()):
        raise InvalidPathError(f"{text}: a name with a blank is written ['{name[0]} …']")
    return _Step(name=name[0]), name.end()


def _bracket(path: str, at: int, text: str) -> tuple[_Step, int]:
    quoted = _QUOTED.match(path, at)
    if quoted is not None:
        name = quoted[1] if quoted[1] is not None else quoted[2]
        return _Step(name=re.sub(r"\\(.)", r"\1", name)), quoted.end()
    indexes = _INDEXES.match(path, at)
    if indexes is not None:
        return _Step(indexes=tuple(int(index) for index in indexes[1].split(","))), indexes.end()
    part = _SLICE.match(path, at)
    if part is not None and (part[1] or part[2]):
        start, end = (None if bound is None else int(bound) for bound in part.groups())
        return _Step(span=(start, end)), part.end()
    if path[at:] == "[" and not path.endswith(".["):
        raise UnsupportedPathError(f"{text}: a bracket with nothing in it")
    if path.startswith("?", at + 1) and "]" in path[at:]:
        raise UnsupportedPathError(f"{text}: filters")
    if _QUOTED_MORE.match(path, at):
        raise UnsupportedPathError(f"{text}: several names in one bracket")
    raise InvalidPathError(f"{text}: this is no bracket of a JsonPath: {path[at:]!r}")
