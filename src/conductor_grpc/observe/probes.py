"""Whether a poller is alive, and whether it is ready, with the reasons why not."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conductor_grpc.poller.health import PollerHealth, WorkerHealth


@dataclass(frozen=True)
class Verdict:
    """The answer to a probe."""

    good: bool
    reasons: tuple[str, ...]
    """Why not; empty if it is good."""
    health: Any
    """All that is known: the PollerHealth, or that of several processes, a dataclass as well."""

    @property
    def document(self) -> dict[str, object]:
        """The answer's JSON."""
        return {
            "status": "ok" if self.good else "failed",
            "reasons": list(self.reasons),
            "health": dataclasses.asdict(self.health),
        }


def live(health: PollerHealth) -> Verdict:
    """Whether anything else than a new process would help: it would not if a part has died.

    A server that is down, or slow, is no reason: a restart does not bring it back. Neither is a drain.
    """
    return _verdict([*health.dead_parts], health)


def ready(health: PollerHealth, poll_overdue_after: float, outbox_stuck_after: float) -> Verdict:
    """Whether it takes tasks, and gets rid of their results."""
    reasons = [*health.dead_parts]
    if health.state != "running":
        reasons.append(f"the poller is {health.state}")
    reasons += [
        f"no poll for {worker.task_definition_name!r} has succeeded for {worker.seconds_trying:.0f} s (limit"
        f" {poll_overdue_after:g} s): {worker.last_error or 'the poll in flight has not been answered'}"
        for worker in health.workers
        if _overdue(worker, poll_overdue_after)
    ]
    if health.oldest_unsent > outbox_stuck_after:
        reasons.append(
            f"the outbox is stuck: {health.unsent} results wait for the server, the oldest for"
            f" {health.oldest_unsent:.0f} s (limit {outbox_stuck_after:g} s)"
        )
    return _verdict(reasons, health)


def _overdue(worker: WorkerHealth, after: float) -> bool:
    busy = worker.paused or worker.running >= worker.slots
    return not busy and worker.seconds_trying is not None and worker.seconds_trying > after


def _verdict(reasons: list[str], health: PollerHealth) -> Verdict:
    return Verdict(not reasons, tuple(reasons), health)
