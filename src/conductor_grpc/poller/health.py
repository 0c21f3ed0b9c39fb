"""How a poller is doing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkerHealth:
    """One worker of a poller."""

    task_definition_name: str
    domain: str | None
    worker_id: str
    """The id under which the server lists the tasks of this worker."""
    source: str
    """`grpc`, or `rest` once the type has carried JSON integers."""
    concurrency: int
    running: int
    """How many tasks run now."""
    paused: bool
    seconds_since_poll: float | None
    """Since the last poll that succeeded, a full house included; None if none has yet."""
    last_error: str | None
    """Why the last poll failed; None if it did not."""


@dataclass(frozen=True)
class PollerHealth:
    """A poller at one moment."""

    healthy: bool
    """Started, not stopping, every background part alive, and no poll failing."""
    reasons: tuple[str, ...]
    """Why it is not healthy; empty if it is."""
    unsent: int
    """Results that the server has not accepted yet."""
    refused: int
    """Results that the server has refused for good since the start; each was logged as an error."""
    workers: tuple[WorkerHealth, ...]
    journal_failure: str | None = None
    """Why the journal is off, where one was asked for; None if it is not. Work goes on without it, so by itself
    this does not make the poller unhealthy."""
    given_up: int = 0
    """How many of the refused failed without a reason for so long that they are not tried again in this run."""
    late: dict[str, int] = field(default_factory=dict)
    """What became of the updates that were late or in doubt, since the start: `applied`, `ignored`, `reassigned` and
    so on (docs/poller.md), and how many."""
    repaired: int = 0
    """How many updates a lease extension had undone on the server, so that they were sent again."""
    leases_extended: int = 0
    leases_lost: int = 0
    """How many tasks could not be kept beyond their response timeout, so that they may run elsewhere as well."""
