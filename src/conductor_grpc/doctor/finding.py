"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conductor_grpc.errors import ConductorError


class Severity(enum.IntEnum):
    """How bad it is; a greater one is worse."""

    OK = 0
    NOTE = 1
    """Worth knowing, and nothing to do."""
    WARNING = 2
    """Works, and costs something: time, tasks that run twice, a restart that fails."""
    ERROR = 3
    """Tasks do not run, or are lost until a timeout."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    severity: Severity
    code: str
    """What it is about, for programs: `grpc.refused`. The part before the dot is the check's name."""
    found: str
    """What there is, with the value."""
    expected: str = ""
    """What there should be; "" if all is well."""
    remedy: str = ""
    """What to do, a command where there is one."""

    def to_json(self) -> dict[str, str]:
        """As `conductor-grpc doctor --json` prints it."""
        return {
            "severity": self.severity.name.lower(),
            "code": self.code,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
        }


def ok(code: str, found: str) -> Finding:
    """All is well."""
    return Finding(Severity.OK, code, found)


def note(code: str, found: str, expected: str = "", remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(Severity.NOTE, code, found, expected, remedy)


def warning(code: str, found: str, expected: str, remedy: str) -> Finding:
    """It costs something."""
    return Finding(Severity.WARNING, code, found, expected, remedy)


def error(code: str, found: str, expected: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Severity.ERROR, code, found, expected, remedy)


def told(failure: ConductorError) -> tuple[str, str]:
    """An error's message in two: what happened, and what it says to do about it ("" if it says nothing)."""
    text = " ".join(str(failure).split())
    happened, bracket, advice = text.rpartition("]. ")
    return (f"{happened}]", advice) if bracket else (text, "")
