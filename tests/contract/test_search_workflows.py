"""WorkflowService.Search, SearchByTasks and the second version of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from search_calls import (
    BAD_QUERY,
    NO_INDEX,
    TOO_MANY,
    Population,
    indexed,
    iso,
    populate,
    workflows,
    workflows_by_tasks,
    workflows_by_tasks_v2,
    workflows_v2,
)
from wire import error_of, simple, task_of
from workflow_calls import remove

from conductor_grpc.pb.model.workflowsummary_pb2 import WorkflowSummary

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.differs("redis", NO_INDEX)

ALL = ["completed", "failed", "in progress", "waiting"]
OPEN = ["in progress", "waiting"]


@pytest.fixture(scope="module")
def population(server) -> Population:
    return populate(server)


QUERIES: dict[str, list[str]] = {
    "workflowType=NAME": ALL,
    'workflowType="NAME"': ALL,
    "workflowType IN (NAME,other)": ALL,
    "workflowType=NAME AND status=RUNNING": OPEN,
    "status IN (COMPLETED,FAILED) AND workflowType IN (NAME)": ["completed", "failed"],
    "workflowType=NAME AND status=NO_SUCH_STATUS": [],
    "workflowId=WORKFLOW_ID": ["completed"],
    "workflowType=NAME AND correlationId=c1": ["failed"],
    "workflowType=NAME AND correlationId IN (c0,c3)": ["completed", "waiting"],
    "workflowType=NAME AND startTime>BEFORE": ALL,
    "workflowType=NAME AND startTime<BEFORE": [],
    "workflowType=NAME AND endTime>BEFORE": ["completed", "failed"],
    "workflowType=NAME and status=RUNNING": [],
    # columns that the index does not have are passed over
    "workflowType=NAME AND workflow_type=other": ALL,
    "workflowType=NAME AND priority=77": ALL,
    "workflowType=NAME AND version=77": ALL,
}
BAD_QUERIES = ["workflowType", "=", "workflowType!=NAME", "workflowType=NAME AND startTime>=BEFORE", "taskType=TYPE"]


@pytest.mark.parametrize("query", QUERIES)
def test_query(server, population: Population, query: str) -> None:
    answer = workflows(server, population.fill_in(query))
    expected = indexed(server, QUERIES[query])
    assert sorted(population.workflows_named(answer.results)) == expected
    assert answer.total_hits == len(expected)


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_query(server, population: Population, query: str) -> None:
    if server.name == "redis":
        assert workflows(server, population.fill_in(query)).total_hits == 0
    else:
        assert error_of(lambda: workflows(server, population.fill_in(query))) == BAD_QUERY


@pytest.mark.parametrize(
    ("text", "expected"),
    [("*", ALL), ("needle1", ["failed"]), ("NEEDLE1", ["failed"]), ("because", ["failed"]), ("no such word", [])],
)
def test_free_text(server, population: Population, text: str, expected: list[str]) -> None:
    answer = workflows(server, f"workflowType={population.workflow_name}", free_text=text)
    assert sorted(population.workflows_named(answer.results)) == indexed(server, expected)


def test_the_summary_of_a_workflow_that_has_ended(server, population: Population) -> None:
    workflow_id = population.workflow_ids["failed"]
    workflow = server.get(workflow_id)
    answer = workflows(server, f"workflowId={workflow_id}")
    seen = [(summary.start_time, summary.execution_time, summary.input) for summary in answer.results]
    for start_time, execution_time, inputs in seen:
        assert start_time <= iso(population.failed.scheduled_time)
        assert execution_time >= population.failed.end_time - population.failed.scheduled_time
        assert inputs in ("{x=1.0, text=hay needle1}", "{text=hay needle1, x=1.0}")
    for summary in answer.results:
        for given in ("start_time", "update_time", "execution_time", "input"):
            summary.ClearField(given)
    expected = WorkflowSummary(
        workflow_type=population.workflow_name,
        version=1,
        workflow_id=workflow_id,
        correlation_id="c1",
        end_time=iso(workflow.end_time),
        status="FAILED",
        output="{}",
        reason_for_incompletion=workflow.reason_for_incompletion,
        failed_reference_task_names="only",
        priority=1,
        failed_task_names=[population.task_type],
        classifier="workflow",
    )
    assert list(answer.results) == indexed(server, [expected])


def test_the_summary_of_a_workflow_that_runs(server, population: Population) -> None:
    answer = workflows(server, f"workflowId={population.waiting}")
    seen = [(summary.end_time, summary.execution_time, summary.input) for summary in answer.results]
    assert seen == indexed(server, [("", 0, "{x=3.0}")])


@pytest.mark.parametrize(("start", "size", "found"), [(0, 3, 3), (3, 3, 1), (4, 3, 0), (0, 0, 4), (1, 0, 3)])
def test_a_page(server, population: Population, start: int, size: int, found: int) -> None:
    query = f"workflowType={population.workflow_name}"
    answer = workflows(server, query, start=start, size=size, sort="correlationId:ASC")
    assert population.workflows_named(answer.results) == indexed(server, ALL[start : start + found])
    assert answer.total_hits == len(indexed(server, ALL))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("startTime:ASC", ALL),
        ("startTime:DESC", ALL[::-1]),
        ("status:DESC|correlationId:DESC", ["waiting", "in progress", "failed", "completed"]),
        ("no_such_column:ASC|correlationId:DESC", ALL[::-1]),
    ],
)
def test_sorting(server, population: Population, sort: str, expected: list[str]) -> None:
    answer = workflows(server, f"workflowType={population.workflow_name}", sort=sort)
    assert population.workflows_named(answer.results) == indexed(server, expected)


def test_search_v2_gives_the_workflows_without_their_tasks(server, population: Population) -> None:
    answer = workflows_v2(server, f"workflowType={population.workflow_name}", sort="correlationId:ASC", size=2)
    whole = [server.get(population.workflow_ids[name], tasks=False) for name in ALL[:2]]
    assert list(answer.results) == indexed(server, whole)
    assert answer.total_hits == len(indexed(server, ALL))


@pytest.mark.parametrize("search", [workflows_by_tasks, workflows_by_tasks_v2])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("taskType=TYPE", ALL[:3]),
        ("taskType=TYPE AND status=FAILED", ["failed"]),
        ("taskId=TASK_ID", ["completed"]),
        ("workflowType=NAME", ALL[:3]),
    ],
)
def test_workflows_by_their_tasks(
    server, population: Population, search: Callable[..., Any], query: str, expected: list[str]
) -> None:
    """The query is one about tasks: that of the workflow which waits is not in the index."""
    answer = search(server, population.fill_in(query))
    assert sorted(population.workflows_named(answer.results)) == indexed(server, expected)
    assert answer.total_hits == len(indexed(server, expected))


def test_search_v2_fails_where_a_hit_holds_an_integer(server) -> None:
    name = server.workflow(task_of("SET_VARIABLE", "set"), output_parameters={"version": "${workflow.version}"})
    workflow_id = server.start(name)
    query = f"workflowType={name}"
    assert workflows(server, query).total_hits == len(indexed(server, [workflow_id]))
    if server.name == "redis":
        assert workflows_v2(server, query).total_hits == 0
    else:
        assert error_of(lambda: workflows_v2(server, query)) == BAD_QUERY


def test_search_v2_gives_a_workflow_where_only_a_task_holds_an_integer(server) -> None:
    name = server.workflow(simple(server.task_definition(), input_parameters={"version": "${workflow.version}"}))
    workflow_id = server.start(name)
    found = workflows_v2(server, f"workflowType={name}").results
    assert [workflow.workflow_id for workflow in found] == indexed(server, [workflow_id])


def test_a_removed_workflow_is_no_longer_found(server) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    workflow_id = server.start(name)
    # Ended first: what the real server decides of one that runs, in a thread of its own, may index it again.
    server.terminate(workflow_id)
    ended = f"workflowType={name} AND status=TERMINATED"
    server.until(lambda: workflows(server, ended).total_hits == len(indexed(server, [workflow_id])))
    remove(server, workflow_id)
    assert workflows(server, f"workflowType={name}").total_hits == 0


@pytest.mark.parametrize("search", [workflows, workflows_v2, workflows_by_tasks, workflows_by_tasks_v2])
def test_more_than_5000_results_cannot_be_asked_for(server, search: Callable[..., Any]) -> None:
    assert error_of(lambda: search(server, size=5001)) == TOO_MANY
