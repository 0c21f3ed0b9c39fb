"""TaskService.Search and SearchV2. On SQLite and embedded the index is up to date at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from search_calls import BAD_QUERY, NO_INDEX, TOO_MANY, Population, indexed, iso, populate, tasks, tasks_v2
from wire import error_of, simple

from conductor_grpc.pb.model.tasksummary_pb2 import TaskSummary

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.differs("redis", NO_INDEX)

ALL = ["completed", "failed", "in progress"]
"""A task is not in the index before somebody polls it."""


@pytest.fixture(scope="module")
def population(server) -> Population:
    return populate(server)


QUERIES: dict[str, list[str]] = {
    "taskType=TYPE": ALL,
    "taskType = TYPE": ALL,
    "taskType='TYPE'": ALL,
    'taskType="TYPE"': ALL,
    "(taskType=TYPE)": ALL,
    "taskDefName=TYPE": ALL,
    "workflowType=NAME": ALL,
    "taskType IN (TYPE,other)": ALL,
    "taskType=TYPE AND status=IN_PROGRESS": ["in progress"],
    "taskType=TYPE AND status=SCHEDULED": [],
    "taskType=TYPE AND status=NO_SUCH_STATUS": [],
    "status IN (COMPLETED,FAILED) AND taskType IN (TYPE)": ["completed", "failed"],
    "taskId=TASK_ID": ["completed"],
    "taskId IN (TASK_ID,OTHER_ID)": ["completed", "failed"],
    "taskType=TYPE AND updateTime>BEFORE": ALL,
    "taskType=TYPE AND updateTime<BEFORE": [],
    "taskType=TYPE AND startTime>BEFORE": ALL,
    # not conditions at all, but parts of the value
    "taskType=TYPE and status=FAILED": [],
    "taskType=TYPE OR status=FAILED": [],
    # columns that the index does not have are passed over
    "taskType=TYPE AND task_type=other": ALL,
    "taskType=TYPE AND workerId=nobody": ALL,
    "taskType=TYPE AND reasonForIncompletion=other": ALL,
}
BAD_QUERIES = [
    "taskType",
    "=",
    "AND",
    "status:FAILED",
    "taskType!=TYPE",
    "taskType=TYPE AND updateTime>=BEFORE",
    "workflowId=WORKFLOW_ID",
    "taskType=TYPE AND correlationId=c0",
]


@pytest.mark.parametrize("query", QUERIES)
def test_query(server, population: Population, query: str) -> None:
    answer = tasks(server, population.fill_in(query))
    expected = indexed(server, QUERIES[query])
    assert sorted(population.tasks_named(answer.results)) == expected
    assert answer.total_hits == len(expected)


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_query(server, population: Population, query: str) -> None:
    if server.name == "redis":
        assert tasks(server, population.fill_in(query)).total_hits == 0
    else:
        assert error_of(lambda: tasks(server, population.fill_in(query))) == BAD_QUERY


def test_a_star_stands_for_the_rest_of_a_value(server, population: Population) -> None:
    answer = tasks(server, f"taskType={population.task_type[:-2]}*")
    assert sorted(population.tasks_named(answer.results)) == indexed(server, ALL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", ALL),
        ("because", ["failed"]),
        ("BECAUSE", ["failed"]),
        ("FAILED", ["failed"]),
        ("{x=1.0}", ["failed"]),
        ("because FAILED", []),
        ("needle1", []),
    ],
)
def test_free_text(server, population: Population, text: str, expected: list[str]) -> None:
    """It is looked for in the summary: not in the input of the workflow, and as one text whatever its case."""
    answer = tasks(server, f"taskType={population.task_type}", free_text=text)
    assert sorted(population.tasks_named(answer.results)) == indexed(server, expected)


def test_the_summary_of_a_task_that_has_ended(server, population: Population) -> None:
    failed = population.failed
    answer = tasks(server, f"taskId={failed.task_id}")
    summary = TaskSummary(
        workflow_id=failed.workflow_instance_id,
        workflow_type=population.workflow_name,
        correlation_id="c1",
        scheduled_time=iso(failed.scheduled_time),
        start_time=iso(failed.start_time),
        update_time=iso(failed.update_time),
        end_time=iso(failed.end_time),
        status="FAILED",
        reason_for_incompletion="because",
        execution_time=failed.end_time - failed.start_time,
        queue_wait_time=failed.start_time - failed.scheduled_time,
        task_def_name=population.task_type,
        task_type=population.task_type,
        input="{x=1.0}",
        output="{}",
        task_id=failed.task_id,
        workflow_priority=1,
    )
    assert list(answer.results) == indexed(server, [summary])


def test_the_summary_of_a_task_that_is_open(server, population: Population) -> None:
    answer = tasks(server, f"taskId={population.in_progress.task_id}")
    seen = [(summary.end_time, summary.execution_time, summary.output) for summary in answer.results]
    assert seen == indexed(server, [(iso(0), 0, "{}")])


@pytest.mark.parametrize(
    ("start", "size", "found"), [(0, 2, 2), (2, 2, 1), (3, 2, 0), (0, 0, 3), (1, 0, 2), (0, -1, 3)]
)
def test_a_page(server, population: Population, start: int, size: int, found: int) -> None:
    answer = tasks(server, f"taskType={population.task_type}", start=start, size=size, sort="startTime:ASC")
    assert population.tasks_named(answer.results) == indexed(server, ALL[start : start + found])
    assert answer.total_hits == len(indexed(server, ALL))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("startTime:ASC", ALL),
        ("startTime:DESC", ALL[::-1]),
        ("status:ASC|startTime:DESC", ALL),
        ("scheduledTime:ASC|startTime:DESC", ALL[::-1]),  # the index has no such column,
    ],
)
def test_sorting(server, population: Population, sort: str, expected: list[str]) -> None:
    answer = tasks(server, f"taskType={population.task_type}", sort=sort)
    assert population.tasks_named(answer.results) == indexed(server, expected)


def test_search_v2_gives_the_tasks_themselves(server, population: Population) -> None:
    answer = tasks_v2(server, f"taskType={population.task_type}", sort="startTime:ASC", size=2)
    assert list(answer.results) == indexed(server, [population.completed, population.failed])
    assert answer.total_hits == len(indexed(server, ALL))


def test_search_v2_fails_where_a_hit_holds_an_integer(server) -> None:
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, input_parameters={"version": "${workflow.version}"})))
    assert error_of(lambda: server.take(task_type)).details == "cannot map to Value type: 1"
    query = f"taskType={task_type}"
    assert tasks(server, query).total_hits == len(indexed(server, [task_type]))
    if server.name == "redis":
        assert tasks_v2(server, query).total_hits == 0
    else:
        assert error_of(lambda: tasks_v2(server, query)) == BAD_QUERY


@pytest.mark.parametrize("search", [tasks, tasks_v2])
def test_more_than_5000_results_cannot_be_asked_for(server, search: Callable[..., Any]) -> None:
    assert error_of(lambda: search(server, "taskType=none", size=5001)) == TOO_MANY
    assert search(server, "taskType=none", size=5000).total_hits == 0
