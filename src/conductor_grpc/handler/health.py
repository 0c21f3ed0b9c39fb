"""How a handler and its processes are doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from conductor_grpc.observe import probes
from conductor_grpc.observe.probes import Verdict

if TYPE_CHECKING:
    from conductor_grpc.poller.health import PollerHealth, State

ProcessState = Literal["starting", "running", "restarting", "stopping", "ended"]

SILENT_AFTER: Final = 10.0
"""Seconds without a word, which comes every second, after which a process counts as one that hangs."""


@dataclass(frozen=True)
class ProcessHealth:
    """One process of a handler."""

    name: str
    """The task type and a number, as in `greet-0`."""
    task_definition_name: str
    pid: int | None
    """None while there is none."""
    state: ProcessState
    restarts: int
    """How often it was started again."""
    last_ending: str | None
    """How the last one that has ended has done so; None if none has."""
    seconds_silent: float
    """Since its last word. More than a second or two: it hangs, or is stopped, or the machine is overloaded."""
    poller: PollerHealth | None
    """As of its last word; None if there was none yet."""


@dataclass(frozen=True)
class HandlerHealth:
    """A handler at one moment."""

    healthy: bool
    """All processes run, none hangs, and each poller is healthy."""
    reasons: tuple[str, ...]
    """Why it is not healthy; empty if it is."""
    state: State
    failure: str | None
    """Why it has given up; None if it has not."""
    processes: tuple[ProcessHealth, ...]


def health_of(state: State, failure: str | None, processes: tuple[ProcessHealth, ...]) -> HandlerHealth:
    """Put together from its parts."""
    reasons = _own_reasons(state, failure)
    for process in processes:
        reasons += _of_process(process)
        if process.poller is not None:
            reasons += [f"process {process.name}: {why}" for why in process.poller.reasons]
    return HandlerHealth(not reasons, tuple(reasons), state, failure, processes)


def live(health: HandlerHealth) -> Verdict:
    """Whether anything else than a new handler would help: it makes good for its processes, unless it has given up."""
    return Verdict(health.failure is None, () if health.failure is None else (health.failure,), health)


def ready(health: HandlerHealth, poll_overdue_after: float, outbox_stuck_after: float) -> Verdict:
    """Whether every process takes tasks, and gets rid of their results."""
    reasons = _own_reasons(health.state, health.failure)
    for process in health.processes:
        reasons += _of_process(process)
        if process.poller is not None:
            verdict = probes.ready(process.poller, poll_overdue_after, outbox_stuck_after)
            reasons += [f"process {process.name}: {why}" for why in verdict.reasons]
    return Verdict(not reasons, tuple(reasons), health)


def _own_reasons(state: State, failure: str | None) -> list[str]:
    reasons = [] if failure is None else [failure]
    if state != "running":
        reasons.append(f"the handler is {state}")
    return reasons


def _of_process(process: ProcessHealth) -> list[str]:
    if process.state != "running":
        why = "" if process.last_ending is None else f": the last one {process.last_ending}"
        return [f"process {process.name} is {process.state}{why}"]
    if process.seconds_silent > SILENT_AFTER:
        return [f"process {process.name} ({process.pid}) hangs: not a word of it for {process.seconds_silent:.0f} s"]
    return []
