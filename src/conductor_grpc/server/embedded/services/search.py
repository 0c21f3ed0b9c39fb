"""The searches, as the released server's SQLite index answers them (seen on 3.32.1).

A query is `field=value AND field IN (a,b) AND field>value`, with an upper-case AND. Quotes and brackets around values
are dropped, `*` in the value of an `=` stands for anything and makes it blind to case, times are milliseconds since
1970. A field that no search knows is ignored there, and matches everything: in strict mode so it is here. A field that
only the other search knows is an error.
"""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import grpc
from google.protobuf.json_format import MessageToDict

from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure
from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord
from conductor_grpc.server.embedded.services.answers import StatusError
from conductor_grpc.server.embedded.services.summaries import CLASSIFIER, task_summary, workflow_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf.message import Message

    from conductor_grpc.pb.services.search_pb2 import Request
    from conductor_grpc.server.embedded.engine.engine import Engine

    Getter = Callable[["Record"], str | int]
    Test = Callable[["Record"], bool]

Record = TypeVar("Record", TaskRecord, WorkflowRecord)

MOST_RESULTS: Final = 5_000
"""What one search gives at most, and without a size (`workflow.max.search.size`)."""

_CONDITION: Final = re.compile(r"(?<![a-zA-Z])([a-zA-Z]+)\s?(=|>|<|IN)\s?(.*)")
_DROPPED: Final = str.maketrans("", "", "\"'()")
_BEFORE_CAPITAL: Final = re.compile(r"\B(?=[A-Z])")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"=": operator.eq, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Hits(Generic[Record]):
    """One page of what was found."""

    total: int
    """On all pages."""
    records: list[Record]


def find_tasks(engine: Engine, request: Request) -> Hits[TaskRecord]:
    """The tasks that a search asks for.

    Raises StatusError for too large a page, IllegalArgumentFailure for a query that it cannot make sense of. A task is
    in the released server's index once it was updated, which its first poll is.
    """
    tasks = (task for task in engine.shelf.tasks() if task.update_time)
    now = engine.clock.now()
    return _find(request, tasks, _TASK_FIELDS, lambda task: task_summary(task, now), strict=engine.strict)


def find_workflows(engine: Engine, request: Request) -> Hits[WorkflowRecord]:
    """The workflows that a search asks for. Raises as `find_tasks`."""
    return _find(request, engine.shelf.workflows(), _WORKFLOW_FIELDS, workflow_summary, strict=engine.strict)


def find_workflows_by_tasks(engine: Engine, request: Request) -> Hits[WorkflowRecord]:
    """The workflows of the tasks that a search asks for. Raises as `find_tasks`.

    Tasks are what is counted and paged: the total is theirs, less those on this page whose workflow is on it already.
    """
    tasks = find_tasks(engine, request)
    workflows = list(dict.fromkeys(task.workflow for task in tasks.records))
    return Hits(tasks.total - (len(tasks.records) - len(workflows)), workflows)


def _find(
    request: Request,
    records: Iterable[Record],
    fields: Mapping[str, Getter[Record]],
    summary: Callable[[Record], Message],
    *,
    strict: bool,
) -> Hits[Record]:
    size = request.size or MOST_RESULTS
    if size > MOST_RESULTS:
        raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, f"Cannot return more than {MOST_RESULTS} results")
    found = list(records)
    for matches in _conditions(request.query, fields, strict=strict):
        found = [record for record in found if matches(record)]
    if request.free_text not in ("", "*"):
        found = [record for record in found if _mentions(summary(record), request.free_text)]
    for field, descending in reversed(_sorting(request.sort, fields, strict=strict)):
        found.sort(key=field, reverse=descending)
    start = max(0, request.start)
    return Hits(len(found), found[start : start + size] if size > 0 else found[start:])


def _conditions(query: str, fields: Mapping[str, Getter[Record]], *, strict: bool) -> list[Test[Record]]:
    parts = query.split(" AND ")
    while parts and not parts[-1]:
        parts.pop()  # what comes after the last AND may be missing, Java's split does not see it
    conditions = []
    for part in parts:
        parsed = _CONDITION.search(part)
        if parsed is None:
            raise IllegalArgumentFailure(f"Incorrectly formatted query string: {part}")
        name, sign, values = parsed.groups()
        field = _field(name, fields, strict=strict)
        if field is not None:
            conditions.append(_condition(name, field, sign, values.translate(_DROPPED).split(",")))
    return conditions


def _condition(name: str, field: Getter[Record], sign: str, values: list[str]) -> Test[Record]:
    if sign == "IN" and len(values) > 1:
        several = {_comparable(name, value) for value in values}
        return lambda record: field(record) in several
    if len(values) > 1:
        raise IllegalArgumentFailure(f"{name} {sign} takes one value, not {len(values)}: {','.join(values)}")
    value = _comparable(name, values[0])
    if isinstance(value, str) and "*" in value and sign in ("=", "IN"):
        return lambda record: _is_like(str(field(record)), value)
    compare = _COMPARE["=" if sign == "IN" else sign]
    return lambda record: compare(field(record), value)


def _is_like(text: str, pattern: str) -> bool:
    """True if `*` may stand for what the pattern does not say of the text; a regular expression could take for ever."""
    text = text.lower()
    first, *parts, last = pattern.lower().split("*")
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in parts:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _comparable(name: str, value: str) -> str | int:
    if not name.endswith("Time"):
        return value
    try:
        return int(value)
    except ValueError:
        raise IllegalArgumentFailure(f'{name} is compared with "{value}", expected milliseconds since 1970') from None


def _sorting(sort: str, fields: Mapping[str, Getter[Record]], *, strict: bool) -> list[tuple[Getter[Record], bool]]:
    """`field:ASC|field:DESC`. What has another form is ignored."""
    sorting = []
    for part in sort.split("|"):
        name, _, order = part.partition(":")
        if order.upper() in ("ASC", "DESC"):
            field = _field(name, fields, strict=strict)
            if field is not None:
                sorting.append((field, order.upper() == "DESC"))
    return sorting


def _field(name: str, fields: Mapping[str, Getter[Record]], *, strict: bool) -> Getter[Record] | None:
    """What a field's name stands for; None for a name that is to be ignored."""
    key = _BEFORE_CAPITAL.sub("_", name).lower()
    if key in fields:
        return fields[key]
    if key in _TASK_FIELDS or key in _WORKFLOW_FIELDS or not strict:
        known = ", ".join(re.sub("_(.)", lambda letter: letter[1].upper(), each) for each in fields)
        raise IllegalArgumentFailure(f"this search has no field {name!r}, it has {known}")
    return None


def _mentions(summary: Message, text: str) -> bool:
    """True if the text is anywhere in the JSON of a summary, upper or lower case."""
    return text.lower() in json.dumps(MessageToDict(summary), ensure_ascii=False, separators=(",", ":")).lower()


_TASK_FIELDS: Final[Mapping[str, Getter[TaskRecord]]] = {
    "task_id": lambda task: task.task_id,
    "task_type": lambda task: task.task_type,
    "task_def_name": lambda task: task.name,
    "workflow_type": lambda task: task.workflow.name,
    "status": lambda task: task.status.value,
    "start_time": lambda task: task.start_time,
    "update_time": lambda task: task.update_time,
    "end_time": lambda task: task.end_time,
}
_WORKFLOW_FIELDS: Final[Mapping[str, Getter[WorkflowRecord]]] = {
    "workflow_id": lambda workflow: workflow.workflow_id,
    "workflow_type": lambda workflow: workflow.name,
    "correlation_id": lambda workflow: workflow.correlation_id,
    "parent_workflow_id": lambda workflow: workflow.parent_workflow_id,
    "classifier": lambda _: CLASSIFIER,
    "status": lambda workflow: workflow.status.value,
    "start_time": lambda workflow: workflow.create_time,
    "update_time": lambda workflow: workflow.update_time,
    "end_time": lambda workflow: workflow.end_time,
}
