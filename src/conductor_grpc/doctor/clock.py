"""The server's clock and ours."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from conductor_grpc.doctor.finding import Finding, error, note, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

SLIGHT: Final = 5.0
GRAVE: Final = 30.0
"""Seconds. With more, tasks that a killed process has left are looked for at the wrong time."""

_REMEDY: Final = "set the clocks by NTP on both machines: timedatectl set-ntp true"


def check(setup: Setup) -> Iterator[Finding]:
    """By the date of a REST answer; without REST only a server that is ahead shows, by its tasks."""
    expected = f"a difference of less than {SLIGHT:g} s"
    began = time.time()
    told = setup.rest.server_time() if setup.rest is not None else None
    if told is None:
        yield from _by_tasks(setup, expected)
        return
    ended = time.time()
    if told.tzinfo is None:
        told = told.replace(tzinfo=timezone.utc)
    # It was cut to a second, and read at some moment in between: what cannot be due to that is the difference.
    least, most = told.timestamp() - ended, told.timestamp() + 1 - began
    ahead = setup.clock_ahead = least if least > 0 else min(most, 0.0)
    if abs(ahead) < SLIGHT:
        yield ok("clock", f"{abs(ahead):.0f} s apart" if ahead else "less than 1 s apart")
        return
    kind = error if abs(ahead) >= GRAVE else warning
    side = "ahead of" if ahead > 0 else "behind"
    yield kind("clock.skew", f"the server's clock is {abs(ahead):.0f} s {side} this machine's", expected, _REMEDY)


def _by_tasks(setup: Setup, expected: str) -> Iterator[Finding]:
    now = time.time()
    found = setup.search(f"updateTime>{int((now + SLIGHT) * 1000)}", size=1)
    if not found.results:
        yield note(
            "clock.unseen",
            "no task is from the future; whether the server's clock is behind cannot be seen without REST",
            expected,
            "give --base-url the server's REST address",
        )
        return
    task = found.results[0]
    ahead = datetime.fromisoformat(task.update_time.replace("Z", "+00:00")).timestamp() - now
    kind = error if ahead >= GRAVE else warning
    yield kind(
        "clock.skew",
        f"task {task.task_id} was changed {ahead:.0f} s in the future: the server's clock is, or was, ahead of ours",
        expected,
        _REMEDY,
    )
