"""The conditions of a DO_WHILE that need no JavaScript engine: those that count.

`$.loop['iteration'] < 3`, `$.loop.iteration <= $.limit`, `3 != $.loop.iteration`, `true`, `false` and nothing, which
holds as little as `false`; bare, in parentheses, as `… ? true : false`, as `if (…) { true; } else { false; }` or as
`(function () { if (…) { return true; } return false; })()`. As on the released server `$` holds the loop task's input,
its output under its reference name, and the outputs of the tasks inside it under theirs.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_PATH = r"\$(?:\.[A-Za-z_$][\w$]*|\[(?:'[^'\\]*'|\"[^\"\\]*\"|\d+)\])+"
_OPERAND = rf"{_PATH}|-?\d+(?:\.\d+)?"
_COMPARISON = re.compile(rf"(?P<left>{_OPERAND})\s*(?P<operator><=|>=|<|>|[!=]==?)\s*(?P<right>{_OPERAND})", re.ASCII)
_NAME = re.compile(r"\.([A-Za-z_$][\w$]*)|\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]", re.ASCII)
_IF = re.compile(
    r"if\s*\((?P<condition>.*)\)\s*(?:\{\s*true\s*;?\s*\}|true\s*;)\s*else\s*(?:\{\s*false\s*;?\s*\}|false)",
    re.DOTALL,
)
_FUNCTION = re.compile(
    r"\(\s*function\s*\(\s*\)\s*\{\s*if\s*\((?P<condition>.*)\)\s*(?:\{\s*return\s+true\s*;?\s*\}|return\s+true\s*;)"
    r"\s*(?:else\s*(?:\{\s*return\s+false\s*;?\s*\}|return\s+false\s*;?)|return\s+false\s*;?)\s*\}\s*\)\s*\(\s*\)",
    re.DOTALL,
)
_CHOICE = re.compile(r"(?P<condition>.*)\?\s*true\s*:\s*false", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    "!==": operator.ne,
}

_UNDEFINED = math.nan
"""What JavaScript's `undefined` is as a number: every comparison with it is false."""

_Operand = float | tuple[str, ...]


class InvalidLoopConditionError(ValueError):
    """It is not one of the forms that can be evaluated, or it looks into something that is not there."""


@dataclass(frozen=True, slots=True)
class LoopCondition:
    """A parsed condition. Immutable."""

    text: str
    left: _Operand
    operator: str
    right: _Operand

    @classmethod
    def parse(cls, text: str) -> LoopCondition:
        """Raises InvalidLoopConditionError if it is not one of the forms."""
        condition = _bare(text)
        if condition in ("", "true", "false"):
            return cls(text, 0.0, "<", 1.0 if condition == "true" else 0.0)
        match = _COMPARISON.fullmatch(condition)
        if match is None:
            raise InvalidLoopConditionError(
                f"the loop condition {text!r} needs JavaScript: only counts such as $.loop['iteration'] < 3 or"
                " $.loop['iteration'] < $.limit can be evaluated"
            )
        return cls(text, _operand(match["left"]), match["operator"], _operand(match["right"]))

    def holds(self, scope: Mapping[str, Any]) -> bool:
        """True if the loop goes on; `scope` is what `$` stands for.

        Values that are no numbers count as in JavaScript: null as 0, a text as the number that it reads as, and what
        is no number at all makes it false. Raises InvalidLoopConditionError for a name within something absent.
        """
        left, right = self._value(self.left, scope), self._value(self.right, scope)
        if self.operator[0] in "=!" and (left is None or right is None):  # null equals nothing but itself
            return (left is right) == (self.operator[0] == "=")
        if not (isinstance(left, str) and isinstance(right, str)):
            left, right = _number(left), _number(right)
        return _OPERATORS[self.operator](left, right)

    def _value(self, operand: _Operand, scope: Mapping[str, Any]) -> Any:
        if isinstance(operand, float):
            return operand
        value: Any = scope
        for name in operand:
            if value is None or value is _UNDEFINED:
                nothing = "null" if value is None else "undefined"
                raise InvalidLoopConditionError(
                    f"Unable to evaluate condition {self.text}, exception Error evaluating the script `TypeError:"
                    f" Cannot read property '{name}' of {nothing}` at line 1"
                )
            value = _member(value, name)
        return value


def _bare(text: str) -> str:
    """The condition without what may stand around it."""
    condition = text.strip(" \t\r\n;")
    match = _IF.fullmatch(condition) or _FUNCTION.fullmatch(condition) or _CHOICE.fullmatch(condition)
    if match is not None:
        condition = match["condition"].strip()
    while condition.startswith("(") and condition.endswith(")"):
        condition = condition[1:-1].strip()
    return condition


def _operand(text: str) -> _Operand:
    if not text.startswith("$"):
        return float(text)
    return tuple(next(part for part in name.groups() if part is not None) for name in _NAME.finditer(text, 1))


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, _UNDEFINED)
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return _UNDEFINED


def _number(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    try:
        return float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return math.nan
