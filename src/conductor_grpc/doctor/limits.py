"""Limits of the definitions that hold tasks back though slots are free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.doctor.finding import Finding, note, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup


def check(setup: Setup) -> Iterator[Finding]:
    """Concurrency and rate. The server looks at a task that it holds back again a minute later."""
    limited = False
    for task_type in setup.task_types:
        definition = setup.definition(task_type) or {}
        for finding in (_concurrency(setup, task_type, definition), _rate(setup, task_type, definition)):
            if finding is not None:
                limited = True
                yield finding
    if setup.task_types and not limited:
        yield ok("limit", "no limit of a definition holds tasks back")


def _concurrency(setup: Setup, task_type: str, definition: dict[str, object]) -> Finding | None:
    limit = definition.get("concurrentExecLimit")
    slots = sum(worker.concurrency for worker in setup.workers if worker.task_definition_name == task_type)
    if not isinstance(limit, int) or not 0 < limit < slots:
        return None
    return warning(
        "limit.concurrency",
        f"{task_type}: the definition lets {limit} run at a time (concurrentExecLimit), the workers have {slots} slots",
        f"{slots} or more, or no limit",
        f"run with fewer slots, --concurrency {task_type}={limit}; or raise concurrentExecLimit, then"
        f" {setup.apply_command(task_type)}",
    )


def _rate(setup: Setup, task_type: str, definition: dict[str, object]) -> Finding | None:
    limit, seconds = definition.get("rateLimitPerFrequency"), definition.get("rateLimitFrequencyInSeconds")
    if not isinstance(limit, int) or limit <= 0 or not isinstance(seconds, int) or seconds <= 0:
        return None
    # On SQL the server keeps no such limit; on which one it stands it does not tell.
    rule = f"{task_type}: the definition lets {limit} begin in {seconds} s (rateLimitPerFrequency; not kept on SQL)"
    waiting = setup.tasks.queue_sizes([task_type]).get(task_type, 0)
    if waiting <= limit:
        return note("limit.rate", rule)
    return warning(
        "limit.rate",
        f"{rule}, and {waiting} wait",
        f"no more than {limit} waiting",
        f"if the limit is not meant, raise rateLimitPerFrequency, then {setup.apply_command(task_type)}",
    )
