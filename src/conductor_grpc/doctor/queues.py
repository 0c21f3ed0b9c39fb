"""How much waits, and whether anybody comes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from conductor_grpc.doctor.finding import Finding, note, ok, warning
from conductor_grpc.doctor.polls import RECENT, LastPoll, last_polls, newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conductor_grpc.doctor.setup import Setup

LONG: Final = 1_000
ROUNDS: Final = 100
"""A queue is long with more than so many tasks, and with more than so many for each slot."""

_MOST_TYPES: Final = 20
"""Queues that are looked at where there are no workers to say which."""


class _Queue(NamedTuple):
    task_type: str
    domain: str | None
    slots: int | None
    """Of the workers under examination; None: none of them polls it."""

    @property
    def name(self) -> str:
        return f"{self.domain}:{self.task_type}" if self.domain else self.task_type


def check(setup: Setup) -> Iterator[Finding]:
    """The queues of the workers, and those of the same types in other domains."""
    depths = setup.tasks.queue_info()
    for queue in _queues(setup, depths):
        waiting = depths.get(queue.name, 0)
        polls = last_polls(setup, queue.task_type)
        if polls is None:
            yield _unseen(queue, waiting)
        elif waiting and not _recent(newest(polls, queue.domain)):
            yield _alone(setup, queue, waiting, newest(polls, queue.domain))
        elif waiting > max(LONG, ROUNDS * (queue.slots or 1)):
            yield _long(queue, waiting)
        else:
            yield ok("queue", f"{queue.name}: {waiting} waiting, {_last(newest(polls, queue.domain))}")


def _queues(setup: Setup, depths: Mapping[str, int]) -> Iterator[_Queue]:
    slots: dict[tuple[str, str | None], int] = {}
    for worker in setup.workers:
        key = worker.task_definition_name, setup.domain_of(worker)
        slots[key] = slots.get(key, 0) + worker.concurrency
    for (task_type, domain), many in slots.items():
        yield _Queue(task_type, domain, many)
    asked = 0
    for name, waiting in sorted(depths.items(), key=lambda item: -item[1]):
        domain, _, task_type = name.rpartition(":")
        if not waiting or (task_type, domain or None) in slots:
            continue
        if not setup.any_workers:
            wanted = task_type in setup.task_types
        else:
            # Without a definition it is a queue of the server's own: of a system task, or of the decider.
            asked += 1
            wanted = asked <= _MOST_TYPES and not name.startswith("_") and setup.definition(task_type) is not None
        if wanted:
            yield _Queue(task_type, domain or None, None)


def _recent(poll: LastPoll | None) -> bool:
    return poll is not None and poll.recent


def _last(poll: LastPoll | None) -> str:
    if poll is None:
        return "never polled"
    return f"last polled {poll.seconds_ago:.0f} s ago by {poll.worker_id!r}"


def _unseen(queue: _Queue, waiting: int) -> Finding:
    if waiting > max(LONG, ROUNDS * (queue.slots or 1)):
        return _long(queue, waiting)
    if waiting and queue.slots is None:
        return note("queue.unseen", f"{queue.name}: {waiting} waiting; who polls it is not seen without REST")
    return ok("queue", f"{queue.name}: {waiting} waiting")


def _alone(setup: Setup, queue: _Queue, waiting: int, poll: LastPoll | None) -> Finding:
    running = setup.search(f"taskType={queue.task_type} AND status=IN_PROGRESS", size=1).total_hits
    if running and poll is not None and queue.slots is not None:
        # A worker whose slots are all taken does not poll.
        return note("queue.busy", f"{queue.name}: {waiting} waiting, {running} running, {_last(poll)}")
    either = "; no worker under examination polls it" if queue.slots is None and not setup.any_workers else ""
    if queue.slots is None and (queue.domain is not None or not setup.any_workers):
        place = f"in domain {queue.domain!r}" if queue.domain else "without a domain"
        return warning(
            "queue.domain",
            f"{queue.task_type}: {waiting} waiting {place}, {_last(poll)}{either}",
            f"a worker that polls it at least every {RECENT:g} s",
            _polls_it(queue),
        )
    return warning(
        "queue.nobody",
        f"{queue.name}: {waiting} waiting, {_last(poll)}",
        f"a poll at least every {RECENT:g} s",
        "start the workers: conductor-grpc run MODULE",
    )


def _polls_it(queue: _Queue) -> str:
    option = f" --domain {queue.domain}" if queue.domain else " without --domain"
    return f"run a worker there: conductor-grpc run MODULE{option}; or correct taskToDomain where workflows are started"


def _long(queue: _Queue, waiting: int) -> Finding:
    return warning(
        "queue.backlog",
        f"{queue.name}: {waiting} waiting" + (f" for {queue.slots} slots" if queue.slots else ""),
        f"{max(LONG, ROUNDS * (queue.slots or 1))} at most",
        "run more workers, or with more slots: conductor-grpc run MODULE"
        f" --concurrency {queue.task_type}={2 * (queue.slots or 1)}",
    )
