"""What is simulated: some tasks, some faults, and the seed that decides everything else."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

CALL_FAULTS: Final = {
    "poll": ("refused", "cut", "early", "hung", "slow"),
    "update": ("refused", "throttled", "unknown", "lost", "late", "slow", "hung"),
    "extend": ("refused", "lost", "late", "stalled", "slow", "hung"),
    "look": ("refused",),
    "list": ("refused", "slow"),
}
"""What can happen to a call of the worker. *refused*, *throttled*, *unknown*: an error, and nothing done. *lost*: done,
but the answer is an error. *cut*: so after a few tasks of a poll. *late*, *early*: an error at once, and done a while
after it. *stalled*: an error at once; the server has read the task, and writes it back together with the next update of
it, if one comes soon, as if both had waited for the same lock. *slow*: done a while later, and answered. *hung*: done,
and never answered."""

_WEIGHTS: Final = {
    "poll": 5,
    "update": 5,
    "extend": 4,
    "look": 1,
    "list": 2,
    "kill": 3,
    "kill at write": 3,
    "stop": 1,
    "outage": 1,
}

_IN_FOCUS: Final = 10
"""How many times likelier the targets are that a schedule concentrates on: some bugs take two faults of a sort."""


@dataclass(frozen=True)
class Job:
    """One workflow of one task."""

    start: float
    """When it is started, in seconds."""
    duration: float
    """How long each execution takes."""
    integer: bool = False
    """Its input holds a JSON integer."""
    fails: int = 0
    """How many of its executions raise."""
    callbacks: int = 0
    """How many executions after that return IN_PROGRESS."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    target: str
    """A call of CALL_FAULTS, or `kill`, `kill at write`, `stop`, `outage`."""
    at: float
    """Which of these calls or writes it hits, counted from 0; or when it comes, in seconds."""
    how: str = ""
    amount: float = 0.0
    """Seconds that it takes, or how many tasks of the poll arrive."""

    @property
    def is_call(self) -> bool:
        return self.target in CALL_FAULTS


@dataclass(frozen=True)
class Schedule:
    """All that decides a run."""

    seed: int
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...]
    concurrency: int = 2
    response_timeout: int = 3600
    poll_wait_ms: int = 5000
    outbox_limit: int = 1000
    fills: bool = True
    """The server waits until a batch is full, as SQL-backed ones do."""
    rest: bool = True
    """The server's REST address is known."""
    journal: bool = True
    listed: int = 1000
    """How many tasks make a backlog that is too long to be listed."""

    def only(self, jobs: tuple[int, ...] | None, faults: tuple[int, ...] | None) -> Schedule:
        """This schedule with these of its jobs and faults alone; None: all of them."""
        return replace(
            self,
            jobs=self.jobs if jobs is None else tuple(self.jobs[index] for index in jobs),
            faults=self.faults if faults is None else tuple(self.faults[index] for index in faults),
        )

    def __str__(self) -> str:
        settings = ", ".join(
            f"{name}={getattr(self, name)}"
            for name in (
                "concurrency",
                "response_timeout",
                "poll_wait_ms",
                "outbox_limit",
                "fills",
                "rest",
                "journal",
                "listed",
            )
        )
        return "\n".join([f"  {settings}", *(f"  {each}" for each in (*self.jobs, *self.faults))])


def generate(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)
    response_timeout = chance.choice((3600, 3600, 4, 10))
    rest = chance.random() < 0.85
    jobs = tuple(_job(chance, response_timeout, integers=rest) for _ in range(chance.choice((1, 2, 3, 4, 6, 9))))
    weights = dict(_WEIGHTS)
    for target in chance.sample(list(weights), chance.choice((0, 1, 2))):
        weights[target] *= _IN_FOCUS
    if response_timeout == 3600:
        del weights["extend"]
    faults = tuple(_fault(chance, weights) for _ in range(chance.choice((0, 1, 2, 2, 3, 4, 6, 8))))
    restarts = any(not fault.is_call and fault.target != "outage" for fault in faults)
    return Schedule(
        seed=seed,
        jobs=jobs,
        faults=faults,
        concurrency=chance.choice((1, 1, 2, 4)),
        response_timeout=response_timeout,
        poll_wait_ms=chance.choice((1000, 5000)),
        outbox_limit=chance.choice((2, 1000)),
        fills=chance.random() < 0.6,
        rest=rest,
        # Without it a restart may strand what was here, as the documentation says.
        journal=restarts or chance.random() < 0.5,
        listed=chance.choice((1, 2, 1000)),
    )


def _job(chance: random.Random, response_timeout: int, integers: bool) -> Job:
    long = chance.choice((10.0, 150.0)) if response_timeout == 3600 else response_timeout * 3.0
    return Job(
        start=chance.choice((0.0, 0.0, chance.uniform(0.0, 10.0))),
        duration=chance.choice((0.0, chance.uniform(0.0, 0.5), chance.uniform(0.1, 1.0) * long)),
        integer=integers and chance.random() < 0.15,
        fails=int(chance.random() < 0.1),
        callbacks=int(chance.random() < 0.1),
    )


def _fault(chance: random.Random, weights: dict[str, int]) -> Fault:
    target = chance.choices(list(weights), list(weights.values()))[0]
    if target == "kill":
        return Fault(target, chance.uniform(0.0, 15.0), amount=chance.uniform(0.0, 3.0))
    if target == "stop":
        return Fault(target, chance.uniform(0.0, 15.0), chance.choice(("patient", "hasty")), chance.uniform(0.0, 3.0))
    if target == "kill at write":
        how = chance.choice(("before", "torn", "after"))
        return Fault(target, chance.choice((1, 2, chance.randrange(30))), how, chance.uniform(0.0, 3.0))
    if target == "outage":
        return Fault(target, chance.uniform(0.0, 15.0), amount=chance.uniform(1.0, 20.0))
    how = chance.choice(CALL_FAULTS[target])
    # What is stalled goes on with the next update, so it has to last until one comes.
    amount = float(chance.randrange(3)) if how == "cut" else chance.uniform(0.0, 10.0 if how == "stalled" else 2.5)
    return Fault(target, chance.choice((0, 1, chance.randrange(8))), how, amount)
