"""The server's time, told from its tasks."""

from __future__ import annotations

import time

import pytest

from conductor_grpc.poller.server_clock import ServerClock

HOUR_MS = 3_600_000


def test_until_a_task_comes_the_wall_clock_has_to_do() -> None:
    clock = ServerClock()
    clock.saw(0)
    assert clock.at(time.monotonic()) == pytest.approx(time.time() * 1000, abs=1000)
    assert clock.at(time.monotonic() - 10) == pytest.approx(time.time() * 1000 - 10_000, abs=1000)


def test_a_task_tells_how_far_off_the_wall_clock_is() -> None:
    clock = ServerClock()
    clock.saw(int(time.time() * 1000) - HOUR_MS)
    assert clock.at(time.monotonic() - 5) == pytest.approx(time.time() * 1000 - HOUR_MS - 5000, abs=1000)


def test_setting_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    now = time.time()
    clock.saw(int(now * 1000))
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert clock.at(time.monotonic()) == pytest.approx(now * 1000, abs=1000)
