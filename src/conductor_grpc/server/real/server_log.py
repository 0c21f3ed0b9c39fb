"""Finds in a Java server's log the line that tells why it ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TAIL = 256 * 1024  # bytes from the end: one failed start's stack traces fit
_FRAME = re.compile(r"\s*(at |\.\.\. \d+ (more|common frames))")
_TROUBLE = re.compile(r"\b(Error|Exception|ERROR|FATAL)\b|\w(Error|Exception)\b")
_ORDINARY = re.compile(r"\] (DEBUG|INFO|WARN) ")
_GAVE_UP = re.compile(r"^APPLICATION FAILED TO START$|Application run failed")
_CAUSE = "Caused by: "
_LONGEST = 300  # characters of the line that go into a message


def telling_line(log: Path, start: int = 0) -> str:
    """The line of the log, from byte ``start`` on, that best tells why Java ended; "" when it says nothing.

    In this order: Spring's description of a failed start; the innermost cause of the last stack trace; the
    last line that names an error; the last line, unless it is an ordinary log line or a stack frame.
    Never raises for a missing log.
    """
    lines = [line.strip() for line in _tail(log, start) if line.strip() and not _FRAME.match(line)]
    return " ".join(_choose(lines).split())[:_LONGEST]


def gave_up(log: Path, start: int = 0) -> bool:
    """Whether the server has written, from byte ``start`` on, that it cannot start.

    Its Java goes on all the same: threads that were started before the failure keep the process alive.
    """
    return any(_GAVE_UP.search(line) for line in _tail(log, start))


def _tail(log: Path, start: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - _TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _choose(lines: list[str]) -> str:
    if "Description:" in lines[:-1]:
        return lines[len(lines) - lines[::-1].index("Description:")]
    causes = [line.removeprefix(_CAUSE) for line in lines if line.startswith(_CAUSE)]
    if causes:
        return causes[-1]
    troubles = [line for line in lines if _TROUBLE.search(line)]
    if troubles:
        return troubles[-1]
    return lines[-1] if lines and not _ORDINARY.search(lines[-1]) else ""
