"""A worker id that another process polls under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.configuration import default_worker_id
from conductor_grpc.doctor.finding import Finding, note, ok, warning
from conductor_grpc.doctor.polls import last_polls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup


def check(setup: Setup) -> Iterator[Finding]:
    """For an id that was chosen: the default one is new in each process."""
    ours = setup.configuration.worker_id
    if ours == default_worker_id() or not setup.workers:
        return
    if setup.rest is None:
        yield note("worker-id.unseen", f"whether another process polls as {ours!r} is not seen without REST")
        return
    taken = False
    for task_type in setup.task_types:
        for poll in last_polls(setup, task_type) or []:
            if poll.recent and (poll.worker_id == ours or poll.worker_id.startswith(f"{ours}/")):
                taken = True
                yield warning(
                    "worker-id.taken",
                    f"{task_type} was polled {poll.seconds_ago:.0f} s ago as {poll.worker_id!r}",
                    f"no other live process with the worker id {ours!r}",
                    "leave --worker-id out, or give each process its own; all is well if that is the very process that"
                    " you ask about",
                )
    if not taken:
        yield ok("worker-id", f"nobody else polls as {ours!r}")
