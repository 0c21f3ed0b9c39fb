"""How a poller is doing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from conductor_grpc.poller.intake import Intake
    from conductor_grpc.poller.slots import Slots
    from conductor_grpc.worker.interface import WorkerInterface

State = Literal["not started", "running", "stopping", "stopped"]


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
    """The most tasks that may run at a time."""
    running: int
    """How many tasks run now."""
    paused: bool
    seconds_since_poll: float | None
    """Since the last poll that succeeded, a full house included; None if none has yet."""
    last_error: str | None
    """Why the last poll failed; None if it did not."""
    seconds_trying: float | None = None
    """Since the beginning of the first poll after the last success; None if none has begun."""
    begun: int = 0
    """How many tasks have been begun since the start."""
    full_house: int = 0
    """How often a poll had to wait for a slot."""
    slots: int = 0
    """How many tasks may run at this moment: `concurrency`, unless the worker's slot supplier grants fewer, or other
    workers use what all of them share."""
    pauses: int = 0
    """How often it was paused."""
    reclaimed: int = 0
    """How many tasks were found again that a failed poll had left behind on the server."""

    @classmethod
    def of(cls, worker: WorkerInterface, domain: str | None, intake: Intake, slots: Slots) -> WorkerHealth:
        """That of this moment. Never blocks."""
        now, last, trying, error = time.monotonic(), intake.last_poll, intake.trying_since, intake.last_error
        return cls(
            task_definition_name=intake.task_type,
            domain=domain,
            worker_id=intake.worker_id,
            source=intake.source.name,
            concurrency=worker.concurrency,
            running=slots.running,
            paused=intake.paused,
            seconds_since_poll=None if last is None else now - last,
            last_error=None if error is None else str(error),
            seconds_trying=None if trying is None else now - trying,
            begun=slots.begun,
            full_house=slots.full_house,
            slots=slots.capacity,
            pauses=intake.pauses,
            reclaimed=intake.reclaimed,
        )


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
    cancelled: dict[str, int] = field(default_factory=dict)
    """How many running tasks the server was found to have done with, by the cause: `terminated`, `timed_out`, `ended`,
    `reassigned`, `gone` (docs/poller.md). Their workers were told."""
    state: State = "running"
    dead_parts: tuple[str, ...] = ()
    """The background parts that have died, each with its name and why, as in `conductor-outbox died: KeyError: 7`. The
    poller drains what is there then, and stops."""
    unsent_bytes: int = 0
    oldest_unsent: float = 0.0
    """For how many seconds the oldest of the results has waited that the server has not accepted yet."""
    unsent_at_stop: int = 0
    """How many it had not accepted when the poller stopped."""
    lease_lag: float = 0.0
    """For how many seconds the most overdue lease extension has been due; 0 if none is overdue."""
