"""How many tasks to poll for, how long to let the server wait, and how long to pause before.

Pure functions: no clock, no randomness, no state but the `Memory` passed in and out.

A SQL-backed server waits until it can fill the *whole* batch or the time is over, so asking for many and
waiting long delays a lone task by the whole wait. Hence two modes. *Scout*, when the queue seems empty: ask for
one task and wait long. *Drain*, after an answer as full as asked for, since more may be waiting: ask for as many
as there are free slots and do not wait at all, until an answer falls short.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

NO_WAIT: Final = -1
"""As a BatchPoll timeout: one look at the queue, no waiting (0 would mean the server's default, 100 ms)."""

MAX_BATCH: Final = 100
"""Most tasks asked for at once. The server takes every one of them off the queue, one after the other, before
it sends the first, so a larger batch only makes the first task wait longer."""

BACKOFF_FIRST: Final = 0.2
"""Seconds to pause after the first failed poll; doubled after each further one."""

BACKOFF_LIMIT: Final = 10.0
"""Longest pause between failed polls, in seconds, before jitter."""

EMPTY_PAUSE_FIRST: Final = 0.01
"""Seconds to pause after a poll that was to wait but came back empty at once; doubled likewise."""

EMPTY_PAUSE_LIMIT: Final = 1.0


@dataclass(frozen=True)
class Poll:
    """What to ask the server for."""

    count: int
    """Most tasks to take, at least 1."""
    wait_ms: int
    """How long the server may wait for them, in milliseconds, or NO_WAIT."""


@dataclass(frozen=True)
class Memory:
    """What the planner knows from the polls so far."""

    draining: bool = False
    """The last answer was full: there may be more."""
    failures: int = 0
    """How many polls have failed in a row."""
    hasty: int = 0
    """How many polls in a row came back empty long before their wait was over (a queue without long poll)."""


def permits(memory: Memory) -> int:
    """How many permits the next poll can make use of."""
    return MAX_BATCH if memory.draining else 1


def next_poll(memory: Memory, free: int, wait_ms: int, most: int = MAX_BATCH) -> Poll:
    """The next poll, given `free` slots (at least 1) and the longest wait of a scout in milliseconds.

    `most` limits the batch: 1 for a type whose tasks may break the batch they travel in.
    """
    if memory.draining:
        return Poll(count=min(free, most), wait_ms=NO_WAIT)
    return Poll(count=1, wait_ms=wait_ms)


def after_answer(memory: Memory, poll: Poll, received: int, elapsed_ms: float) -> Memory:
    """What is known after a poll that succeeded with `received` tasks in `elapsed_ms` milliseconds."""
    if received > 0:
        return Memory(draining=received >= poll.count)
    if poll.wait_ms != NO_WAIT and elapsed_ms < poll.wait_ms / 2:
        return Memory(hasty=memory.hasty + 1)
    return Memory()


def after_failure(memory: Memory) -> Memory:
    """What is known after a poll that failed: next comes a scout, as nothing is known of the queue."""
    return replace(memory, draining=False, failures=memory.failures + 1)


def pause(memory: Memory, jitter: float) -> float:
    """Seconds to pause before the next poll. `jitter`, from 0 to 1, spreads workers that failed together."""
    if memory.failures:
        return _doubled(BACKOFF_FIRST, memory.failures, BACKOFF_LIMIT) * (0.8 + 0.4 * jitter)
    if memory.hasty:
        return _doubled(EMPTY_PAUSE_FIRST, memory.hasty, EMPTY_PAUSE_LIMIT) * (0.8 + 0.4 * jitter)
    return 0.0


def _doubled(first: float, times: int, limit: float) -> float:
    # Bounding the exponent keeps a server that is down for days from overflowing the float.
    return min(limit, first * 2.0 ** min(times - 1, 30))
