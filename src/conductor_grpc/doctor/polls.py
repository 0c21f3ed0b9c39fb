"""Who polls which queue, as far as the server tells: over REST only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import PayloadDecodeError

if TYPE_CHECKING:
    from conductor_grpc.doctor.setup import Setup

RECENT: Final = 60.0
"""Seconds. A worker with a free slot polls every few seconds; a longer silence is a worker that is not there."""


@dataclass(frozen=True)
class LastPoll:
    """The last poll of a queue, as the server has noted it."""

    domain: str | None
    worker_id: str
    seconds_ago: float

    @property
    def recent(self) -> bool:
        return self.seconds_ago < RECENT


def last_polls(setup: Setup, task_type: str) -> list[LastPoll] | None:
    """One for each domain of a task type; None without REST. Blocks; raises ServerError."""
    if setup.rest is None:
        return None
    path = "/tasks/queue/polldata"
    answer = setup.rest.get_json(path, {"taskType": task_type})
    if not isinstance(answer, list):
        raise PayloadDecodeError(f"GET {path}: expected a list of polls, got {answer!r:.100}")
    now = time.time() + setup.clock_ahead
    return [
        LastPoll(
            each.get("domain") or None,
            str(each.get("workerId")),
            max(0.0, now - float(each.get("lastPollTime") or 0) / 1000),
        )
        for each in answer
        if isinstance(each, dict)
    ]


def newest(polls: list[LastPoll], domain: str | None) -> LastPoll | None:
    """The last poll in a domain, None being the tasks without one; None if there never was any."""
    return min((each for each in polls if each.domain == domain), key=lambda each: each.seconds_ago, default=None)
