"""A text with `${…}` expressions in it, taken apart once and kept."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_START = re.compile(r"(?<!\$)\$\{")
_BRACE = re.compile(r"[{}]")


@dataclass(frozen=True, slots=True)
class Expression:
    """One `${…}`."""

    text: str
    """As it was written, `${` and `}` included."""
    path: Template
    """What is between the braces; expressions in it are filled in first."""


@dataclass(frozen=True, slots=True)
class Template:
    """Texts and expressions in turn. Immutable."""

    parts: tuple[str | Expression, ...]

    @property
    def whole(self) -> Expression | None:
        """The expression that is all there is: its value keeps its type."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Expression) else None

    def expressions(self) -> list[Expression]:
        """All of them, inner ones included."""
        found = []
        for part in self.parts:
            if isinstance(part, Expression):
                found += [part, *part.path.expressions()]
        return found


@functools.lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Takes a text apart. `$${` stays text, and so does all from a `${` on that no brace closes."""
    parts: list[str | Expression] = []
    done = 0
    start = _START.search(text)
    while start is not None:
        end = _closing_brace(text, start.end())
        if end is None:
            break
        if start.start() > done:
            parts.append(text[done : start.start()])
        parts.append(Expression(text[start.start() : end], parse_template(text[start.end() : end - 1])))
        done = end
        start = _START.search(text, end)
    if done < len(text) or not parts:
        parts.append(text[done:])
    return Template(tuple(parts))


def _closing_brace(text: str, at: int) -> int | None:
    """Behind the brace that closes the one before `at`; None if there is none."""
    depth = 1
    for brace in _BRACE.finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return None
