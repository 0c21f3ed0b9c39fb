"""The searches over records: every row here was asked of the released server 3.32.1 (SQLite) too."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from embedded_workflows import task_record, workflow_record

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.services.search_pb2 import Request
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure
from conductor_grpc.server.embedded.engine.shelf import Shelf
from conductor_grpc.server.embedded.services.answers import StatusError
from conductor_grpc.server.embedded.services.search import find_tasks, find_workflows, find_workflows_by_tasks
from conductor_grpc.worker.status import TaskStatus

NOON = 1795575600000


def make_engine(*, strict: bool = True) -> Any:
    """Three workflows of two tasks each: w0 RUNNING, w1 TERMINATED, w2 FAILED; started a second apart."""
    shelf = Shelf()
    statuses = (WorkflowStatus.RUNNING, WorkflowStatus.TERMINATED, WorkflowStatus.FAILED)
    for number, status in enumerate(statuses):
        start = NOON + 1000 * number
        workflow = workflow_record(
            f"w{number}",
            "pack",
            "send_it",
            status=status,
            correlation_id=f"c{number}",
            create_time=start,
            update_time=start + 500,
            end_time=0 if status is WorkflowStatus.RUNNING else start + 500,
            input={"text": f'say "{number}"'},
            reason="why not" if number == 2 else "",
        )
        shelf.add(workflow)
        times = {"start_time": start + 100, "update_time": start + 100, "end_time": start + 200}
        shelf.add_task(task_record(workflow, f"{number}a", status=TaskStatus.COMPLETED, **times))
        second = task_record(workflow, f"{number}b", 1)
        if number == 2:
            second.status, second.start_time, second.update_time = TaskStatus.FAILED, start + 300, start + 300
        shelf.add_task(second)
    return SimpleNamespace(shelf=shelf, strict=strict, clock=SimpleNamespace(now=lambda: NOON))


@pytest.fixture
def engine() -> Any:
    return make_engine()


def tasks(engine: Any, query: str, **request: Any) -> list[str]:
    return [each.task_id for each in find_tasks(engine, Request(query=query, **request)).records]


def workflows(engine: Any, query: str, **request: Any) -> list[str]:
    return [each.workflow_id for each in find_workflows(engine, Request(query=query, **request)).records]


@pytest.mark.parametrize("query", [f"taskType={'*a' * 40}*b", "a" * 100_000])
def test_a_query_cannot_keep_the_server_busy(engine: Any, query: str) -> None:
    next(engine.shelf.tasks()).task_type = "a" * 80
    began = time.thread_time()
    with contextlib.suppress(IllegalArgumentFailure):
        assert tasks(engine, query) == []
    assert time.thread_time() - began < 1, "with regular expressions it is minutes, or years"


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("abab", "ab*ab", True),
        ("aba", "ab*ba", False),
        ("x.y\n.Z", "X*.*z", True),
        ("abc", "a*c*b*", False),
        ("", "*", True),
        ("", "**a", False),
    ],
)
def test_what_a_star_stands_for(engine: Any, text: str, pattern: str, expected: bool) -> None:
    next(engine.shelf.tasks()).task_type = text
    assert bool(tasks(engine, f"taskType={pattern}")) is expected


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["0a", "1a", "2a", "2b"]),  # the others were never polled
        ("taskType=pack", ["0a", "1a", "2a"]),
        ("taskType = pack", ["0a", "1a", "2a"]),
        ("TaskType='pack'", ["0a", "1a", "2a"]),
        ('taskType="pack" AND (status=COMPLETED)', ["0a", "1a", "2a"]),
        ("status IN (FAILED) AND taskType IN (send_it)", ["2b"]),
        ("taskId IN (1a,2b)", ["1a", "2b"]),
        ("taskId IN (1a, 2b)", ["1a"]),  # blanks belong to the value
        ("taskType=SEND*", ["2b"]),
        ("taskType=SEND_IT", []),
        ("taskType=send%", []),
        ("taskType=p*k AND  status=COMPLETED", ["0a", "1a", "2a"]),
        ("status=completed", []),
        ("taskType=pack and status=COMPLETED", []),
        ("taskType=pack OR status=COMPLETED", []),
        ("taskType=", []),
        ("status IN ()", []),
        ("taskType>pack", ["2b"]),
        (f"updateTime>{NOON + 1100} AND taskType=pack", ["2a"]),
        (f"updateTime={NOON + 1100}", ["1a"]),
        (f"startTime<{NOON + 1100}", ["0a"]),
        ("endTime=0", ["2b"]),
        ("workflowType=orders AND taskDefName=send_it", ["2b"]),
        ("taskType=pack AND ", ["0a", "1a", "2a"]),
        ("task_type=send_it", ["0a", "1a", "2a", "2b"]),  # no field that is known, so ignored
        ("taskType=pack AND bogus>1 AND version=9 AND domain IN (x)", ["0a", "1a", "2a"]),
    ],
)
def test_tasks(engine: Any, query: str, found: list[str]) -> None:
    assert tasks(engine, query) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("workflowType=orders", ["w0", "w1", "w2"]),
        ("status IN (RUNNING,FAILED)", ["w0", "w2"]),
        ("status=FAILED AND workflowId=w2", ["w2"]),
        ("correlationId=c1", ["w1"]),
        ("parentWorkflowId=x", []),
        ("classifier=workflow AND classifier=zzz", []),
        (f"startTime>{NOON}", ["w1", "w2"]),
        ("endTime>1", ["w1", "w2"]),
        ("status:RUNNING", ["w0", "w1", "w2"]),  # a field RUNN that is IN G, which nobody knows
    ],
)
def test_workflows(engine: Any, query: str, found: list[str]) -> None:
    assert workflows(engine, query) == found


@pytest.mark.parametrize(
    "query",
    [
        "garbage",
        "status:COMPLETED",
        "taskType!=pack",
        "taskType  =  pack",
        "updateTime>abc",
        "startTime>2026-01-01T00:00:00Z",
        "workflowId=w0",
        "correlationId=c1",
        "classifier=workflow",
        "taskType=pack,send_it",
    ],
)
def test_queries_that_fail(engine: Any, query: str) -> None:
    with pytest.raises(IllegalArgumentFailure):
        tasks(engine, query)


def test_fields_of_tasks_are_no_fields_of_workflows(engine: Any) -> None:
    with pytest.raises(IllegalArgumentFailure, match="no field 'taskId', it has workflowId, workflowType"):
        workflows(engine, "taskId=0a")
    with pytest.raises(IllegalArgumentFailure):
        workflows(engine, "", sort="taskType:ASC")


def test_outside_strict_mode_no_condition_is_ignored() -> None:
    engine = make_engine(strict=False)
    assert tasks(engine, "taskType=pack") == ["0a", "1a", "2a"]
    with pytest.raises(IllegalArgumentFailure, match="no field 'domain', it has taskId, taskType, taskDefName"):
        tasks(engine, "domain=x")


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("startTime:DESC", ["w2", "w1", "w0"]),
        ("startTime:asc", ["w0", "w1", "w2"]),
        ("status:ASC|startTime:DESC", ["w2", "w0", "w1"]),
        ("workflowType:ASC|correlationId:DESC", ["w2", "w1", "w0"]),
        ("startTime", ["w0", "w1", "w2"]),
        ("startTime:DOWN", ["w0", "w1", "w2"]),
        ("bogus:DESC", ["w0", "w1", "w2"]),
        ("startTime:DESC:x", ["w0", "w1", "w2"]),
    ],
)
def test_sorting(engine: Any, sort: str, found: list[str]) -> None:
    assert workflows(engine, "", sort=sort) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("*", ["w0", "w1", "w2"]), ("C1", ["w1"]), ("WHY", ["w2"]), ('say "0"', []), ("say", ["w0", "w1", "w2"])],
)
def test_free_text_is_sought_in_the_summary(engine: Any, text: str, found: list[str]) -> None:
    assert workflows(engine, "", free_text=text) == found


@pytest.mark.parametrize(
    ("start", "size", "found"),
    [
        (0, 2, ["w0", "w1"]),
        (2, 2, ["w2"]),
        (9, 2, []),
        (-1, 1, ["w0"]),
        (0, -1, ["w0", "w1", "w2"]),
        (1, 5000, ["w1", "w2"]),
    ],
)
def test_pages(engine: Any, start: int, size: int, found: list[str]) -> None:
    hits = find_workflows(engine, Request(start=start, size=size))
    assert ([each.workflow_id for each in hits.records], hits.total) == (found, 3)


def test_a_page_that_is_too_large(engine: Any) -> None:
    with pytest.raises(StatusError, match="Cannot return more than 5000 results") as caught:
        find_tasks(engine, Request(size=5001))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_workflows_by_tasks_are_counted_as_tasks(engine: Any) -> None:
    hits = find_workflows_by_tasks(engine, Request(query="workflowType=orders"))
    assert ([each.workflow_id for each in hits.records], hits.total) == (["w0", "w1", "w2"], 3)
    page = find_workflows_by_tasks(engine, Request(query="workflowType=orders", size=1))
    assert ([each.workflow_id for each in page.records], page.total) == (["w0"], 4)
