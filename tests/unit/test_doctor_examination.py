"""The doctor's checks as a whole: what fails in one hides nothing of the others, and none takes longer than it may."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from conductor_grpc import Configuration
from conductor_grpc.doctor import Finding, Severity, examination, examine
from conductor_grpc.doctor.examination import Check
from conductor_grpc.doctor.finding import error, ok
from conductor_grpc.errors import ConductorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

NOWHERE = Configuration("", target="127.0.0.1:1", journal="")


def healthy(_setup: Setup) -> Iterator[Finding]:
    yield ok("healthy", "well")


def half(_setup: Setup) -> Iterator[Finding]:
    yield ok("half", "so far")
    raise ZeroDivisionError("by nought")


def refused(_setup: Setup) -> Iterator[Finding]:
    raise ConductorError("GET /x at y: no [HTTP 500]. Look into the log.")
    yield


def ill(_setup: Setup) -> Iterator[Finding]:
    yield error("grpc.refused", "nobody", "somebody", "start it")


def made(monkeypatch: pytest.MonkeyPatch, *checks: Check, seconds: float = 10.0) -> list[Finding]:
    monkeypatch.setattr(examination, "CHECKS", checks)
    return examine(NOWHERE, seconds=seconds)


def test_an_error_in_a_check_is_a_finding_beside_what_it_had_found(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = made(monkeypatch, Check("half", half), Check("refused", refused), Check("healthy", healthy))
    assert [(each.severity, each.code, each.found) for each in findings] == [
        (Severity.OK, "half", "so far"),
        (Severity.WARNING, "half.failed", "ZeroDivisionError: by nought"),
        (Severity.WARNING, "refused.failed", "GET /x at y: no [HTTP 500]"),
        (Severity.OK, "healthy", "well"),
    ]
    assert findings[2].remedy == "Look into the log."


def test_a_check_that_is_late_is_a_finding_beside_what_it_had_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for_ever = threading.Event()

    def late(_setup: Setup) -> Iterator[Finding]:
        yield ok("late", "so far")
        for_ever.wait(30)
        yield ok("late", "too late")

    began = time.monotonic()
    try:
        findings = made(monkeypatch, Check("late", late), Check("healthy", healthy), seconds=0.2)
    finally:
        for_ever.set()
    assert time.monotonic() - began < 10
    assert [each.code for each in findings] == ["late", "late.late", "healthy"]
    assert findings[1].found == "this check was not done after 0.2 s"


def test_what_needs_the_server_is_left_out_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = Check("grpc", ill), Check("half", half, needs_server=True), Check("healthy", healthy)
    findings = made(monkeypatch, *checks)
    assert [each.code for each in findings] == ["grpc.refused", "healthy", "skipped"]
    assert findings[-1].found == "not looked at without gRPC: half"


@pytest.mark.parametrize("fails", ["half", "late"])
def test_a_server_that_could_not_be_looked_at_is_none(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    for_ever = threading.Event()

    def late(_setup: Setup) -> Iterator[Finding]:
        for_ever.wait(30)
        yield from ()

    try:
        look = half if fails == "half" else late
        findings = made(monkeypatch, Check("grpc", look), Check("other", healthy, needs_server=True), seconds=0.2)
    finally:
        for_ever.set()
    assert findings[-1].code == "skipped"
    assert "healthy" not in [each.code for each in findings]


def test_each_check_is_announced() -> None:
    begun: list[str] = []
    findings = examine(NOWHERE, begins=begun.append)
    assert begun == [check.name for check in examination.CHECKS if not check.needs_server]
    assert "grpc.refused" in [each.code for each in findings]
