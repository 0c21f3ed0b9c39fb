"""TaskService.Search and SearchV2. On SQLite and embedded the index is up to date at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from search_calls import BAD_QUERY, NO_INDEX, TOO_MANY, Population, populate, tasks, tasks_v2
from wire import error_of, simple

from conductor_grpc.pb.model.tasksummary_pb2 import TaskSummary

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

pytestmark = pytest.mark.differs("redis", NO_INDEX)

ALL = ["completed", "failed", "in progress"]
"""A task is not in the index before somebody polls it."""


@pytest.fixture(scope="module")
def population(server) -> Population:
    return populate(server)


def has_index(server: ServerUnderTest) -> bool:
    return server.name != "redis"


QUERIES: dict[str, list[str]] = {
    "taskType=TYPE": ALL,
    "taskType = TYPE": ALL,
    "taskType='TYPE'": ALL,
    'taskType="TYPE"': ALL,
    "(taskType=TYPE)": ALL,
    "taskType=TYP*": [],  # the word is not filled in: a type that does not exist
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
    expected = QUERIES[query] if has_index(server) else []
    assert sorted(population.tasks_named(answer.results)) == expected
    assert answer.total_hits == len(expected)


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_query(server, population: Population, query: str) -> None:
    if has_index(server):
        assert error_of(lambda: tasks(server, population.fill_in(query))) == BAD_QUERY
    else:
        assert tasks(server, population.fill_in(query)).total_hits == 0


def test_a_star_stands_for_the_rest_of_a_value(server, population: Population) -> None:
    answer = tasks(server, f"taskType={population.task_type[:-2]}*")
    assert sorted(population.tasks_named(answer.results)) == (ALL if has_index(server) else [])


def test_the_summary_of_a_task(server, population: Population) -> None:
    answer = tasks(server, f"taskId={population.failed.task_id}")
    if not has_index(server):
        assert list(answer.results) == []
        return
    (summary,) = answer.results
    failed = population.failed
    assert iso(summary.scheduled_time) == iso(summary.scheduled_time)
    assert summary == TaskSummary(
        workflow_id=failed.workflow_instance_id,
        workflow_type=population.workflow_name,
        correlation_id="c1",
        scheduled_time=iso(failed.scheduled_time),
        start_time=iso(failed.start_time),
        update_time=summary.update_time,
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
