"""The last line of a run of the contract suite: how many cases ran and passed on each server.

Its two hooks are imported by conftest.py, which makes them pytest's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

_CASE = "contract case"
"""Name of the property that a contract case's reports carry: its backend, and whether it differs there."""

_BACKENDS = ("embedded", "sqlite", "redis")


def pytest_itemcollected(item: pytest.Item) -> None:
    backend = getattr(getattr(item, "callspec", None), "params", {}).get("server")
    if backend in _BACKENDS:
        differs = any(mark.args[0] == backend for mark in item.iter_markers("differs"))
        item.user_properties.append((_CASE, [backend, differs]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    line = summary(
        (outcome, report)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
    )
    if line:
        terminalreporter.write_line(line)


def summary(reports: Iterable[tuple[str, pytest.TestReport]]) -> str:
    """``contract: embedded 183 passed (9 differ), sqlite 180 passed, 3 failed``; "" if no contract case has run."""
    outcomes: dict[str, Counter[str]] = {}
    for outcome, report in reports:
        for name, value in report.user_properties:
            if name == _CASE:
                backend, differs = value
                counts = outcomes.setdefault(backend, Counter())
                counts[outcome] += 1
                counts["differ"] += differs and outcome == "passed"
    parts = [_part(backend, outcomes[backend]) for backend in _BACKENDS if backend in outcomes]
    return f"contract: {', '.join(parts)}" if parts else ""


def _part(backend: str, counts: Counter[str]) -> str:
    passed = f"{backend} {counts['passed']} passed"
    if counts["differ"]:
        passed += f" ({counts['differ']} differ)"
    others = [f"{counts[outcome]} {outcome}" for outcome in ("failed", "error", "skipped") if counts[outcome]]
    return ", ".join([passed, *others])
