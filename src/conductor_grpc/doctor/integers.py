"""Tasks that hold JSON integers, which the server cannot send over gRPC."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.doctor.finding import Finding, error, note, ok
from conductor_grpc.errors import NotFoundError, UnmappablePayloadError
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.transport.methods import GET_TASK, raw_unary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

LISTED: Final = 1_000
LISTED_BYTES: Final = 4 << 20
"""What the list of pending tasks of one type may cost."""

ASKED: Final = 50
"""Tasks of a type that the server is asked for over gRPC: its word counts, whatever they look like here."""


def check(setup: Setup) -> Iterator[Finding]:
    """The open tasks of each type. Reading one by its id takes nothing off the queue."""
    for task_type in setup.task_types:
        suspects = _listed(setup, task_type) if setup.rest is not None else _indexed(setup, task_type)
        refused = [task_id for task_id in itertools.islice(suspects, ASKED) if _refuses(setup, task_id)]
        if not refused:
            yield ok("integers", f"{task_type}: no open task holds a JSON integer, as far as is seen")
            continue
        found = f"{task_type}: open tasks with JSON integers: {len(refused)}, such as {refused[0]}"
        if setup.rest is not None:
            yield note("integers.rest", f"{found}; they are run by way of REST")
        else:
            yield integers_without_rest(found)


def integers_without_rest(found: str) -> Finding:
    """What to do if there are such tasks and no REST address."""
    return error(
        "integers.no-rest",
        f"{found}, and gRPC cannot carry them",
        "a REST address, by which they are run",
        "--base-url http://HOST:8080/api, or start workflows with floats (7.0, not 7)",
    )


def _listed(setup: Setup, task_type: str) -> Iterator[str]:
    assert setup.rest is not None
    listing = setup.rest.list_pending(
        task_type, LISTED, _holds_some, most_bytes=LISTED_BYTES, seconds=setup.seconds / 2
    )
    yield from (str(task.get("taskId")) for task in listing.tasks)


def _holds_some(task: dict[str, Any]) -> bool:
    return may_hold_integer(task.get("inputData")) or may_hold_integer(task.get("outputData"))


def may_hold_integer(value: object) -> bool:
    """True for every value that holds an integer, and for 3.0, which is read as 3."""
    unseen = [value]
    while unseen:
        each = unseen.pop()
        if isinstance(each, dict):
            unseen += each.values()
        elif isinstance(each, list):
            unseen += each
        elif isinstance(each, int) and not isinstance(each, bool):
            return True
    return False


def _indexed(setup: Setup, task_type: str) -> Iterator[str]:
    """Without REST the tasks that were handed out: those that wait are not in the index."""
    found = setup.search(f"taskType={task_type} AND status=IN_PROGRESS", size=ASKED)
    yield from (summary.task_id for summary in found.results)


def _refuses(setup: Setup, task_id: str) -> bool:
    """Whether the server cannot send this task over gRPC."""
    request = task_service_pb2.GetTaskRequest(task_id=task_id).SerializeToString()
    try:
        raw_unary(setup.channel, GET_TASK)(request)
    except UnmappablePayloadError:
        return True
    except NotFoundError:  # it has ended meanwhile, and was removed
        return False
    return False
