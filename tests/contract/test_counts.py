"""The line that says how many cases passed on each server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from counts import summary


def report(*properties: tuple[str, object]) -> Any:
    return SimpleNamespace(user_properties=list(properties))


def case(backend: str, *, differs: bool = False) -> Any:
    return report(("contract case", [backend, differs]))


def test_counts_by_backend_and_outcome() -> None:
    reports = [
        ("passed", case("redis", differs=True)),
        ("passed", case("sqlite")),
        ("passed", case("embedded")),
        ("passed", case("embedded")),
        ("failed", case("sqlite")),
        ("failed", case("redis", differs=True)),
        ("error", case("redis")),
    ]
    assert summary(reports) == (
        "contract: embedded 2 passed, sqlite 1 passed, 1 failed, redis 1 passed (1 differ), 1 failed, 1 error"
    )


def test_a_run_without_contract_cases_says_nothing() -> None:
    assert summary([("passed", report()), ("failed", report(("other", 1)))]) == ""
