"""What a workflow tells of itself from its start to its end, and the calls that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import references
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, status, statuses
from workflow_calls import by_correlation_id, failure, pause, running, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflow_pb2 import Workflow

NO_INDEX = "without an index, workflows are not found by their correlation id"


# -- a workflow's life --


def test_a_workflow_that_has_just_started(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    workflow = server.get(server.start(name, {"a": [1]}, correlation_id="order 7", priority=5))
    assert (status(workflow), plain(workflow.input), plain(workflow.output)) == ("RUNNING", {"a": [1.0]}, {})
    assert (workflow.correlation_id, workflow.priority, workflow.reason_for_incompletion) == ("order 7", 5, "")
    assert (workflow.end_time, workflow.last_retried_time) == (0, 0)
    assert (workflow.parent_workflow_id, workflow.parent_workflow_task_id, workflow.re_run_from_workflow_id) == (
        "",
        "",
        "",
    )
    assert (plain(workflow.variables), dict(workflow.task_to_domain), workflow.event) == ({}, {}, "")
    assert (list(workflow.failed_reference_task_names), list(workflow.failed_task_names)) == ([], [])
    assert list(workflow.history) == []


def test_a_workflow_carries_its_definition(server: ServerUnderTest) -> None:
    """As it was registered, with the task definitions filled in."""
    task_type = server.task_definition(retry_count=2)
    name = server.workflow(simple(task_type), description="what it does", output_parameters={"x": 1})
    definition = server.get(server.start(name)).workflow_definition
    assert definition.tasks[0].task_definition.name == task_type
    assert definition.tasks[0].task_definition.retry_count == 2
    definition.tasks[0].ClearField("task_definition")
    expected = server.workflow_definition(
        simple(task_type), name=name, description="what it does", output_parameters={"x": 1}
    )
    assert definition == expected


def test_tasks_come_one_after_the_other(server: ServerUnderTest) -> None:
    types = [server.task_definition() for _ in range(3)]
    workflow_id = server.start(server.workflow(*(simple(task_type, f"no. {i}") for i, task_type in enumerate(types))))
    for count, task_type in enumerate(types, 1):
        workflow = server.get(workflow_id)
        assert statuses(workflow) == ["COMPLETED"] * (count - 1) + ["SCHEDULED"]
        server.complete(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (status(workflow), references(workflow)) == ("COMPLETED", ["no. 0", "no. 1", "no. 2"])
    assert [task.seq for task in workflow.tasks] == [1, 2, 3]
    assert [task.executed for task in workflow.tasks] == [True, True, False]  # nothing follows the last


def test_a_completed_workflow(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.complete(server.take(task_type), x="1")
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output), workflow.reason_for_incompletion) == ("COMPLETED", {"x": "1"}, "")
    assert workflow.end_time >= workflow.tasks[0].end_time > 0


def test_a_failed_workflow(server: ServerUnderTest) -> None:
    """It names what failed, but not why, and what was to follow is never scheduled."""
    one, two = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(one, "one"), simple(two, "two")))
    task = server.take(one)
    server.fail(task, "bad")
    workflow = server.get(workflow_id)
    assert (status(workflow), references(workflow)) == ("FAILED", ["one"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'bad'"
    assert (list(workflow.failed_reference_task_names), list(workflow.failed_task_names)) == (["one"], [one])
    assert workflow.end_time > 0


def test_a_workflow_whose_worker_cancels_its_task(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.update(task, "CANCELED", reason_for_incompletion="no more")
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("TERMINATED", ["CANCELED"])
    reason = f"Task {task.task_id} failed with status: TERMINATED and reason: 'no more'"
    assert workflow.reason_for_incompletion == reason


# -- GetWorkflowStatus --


def test_status_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.get("nope")) == unknown_workflow("nope")


def test_status_needs_a_workflow_id(server: ServerUnderTest) -> None:
    text = "getExecutionStatus.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: server.get("")) == failure(text, "ConstraintViolationException")


def test_status_without_tasks_is_the_same_but_for_them(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    with_tasks, without = server.get(workflow_id), server.get(workflow_id, tasks=False)
    assert (len(with_tasks.tasks), len(without.tasks)) == (1, 0)
    with_tasks.ClearField("tasks")
    assert with_tasks == without


# -- DecideWorkflow --


def test_decide_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.decide("nope")) == unknown_workflow("nope")


def test_decide_needs_a_workflow_id(server: ServerUnderTest) -> None:
    text = "decideWorkflow.arg0: WorkflowId cannot be null or empty."
    assert error_of(lambda: server.decide("")) == failure(text, "ConstraintViolationException")


def test_decide_changes_nothing_where_nothing_has_happened(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task()
    before = server.get(workflow_id)
    server.decide(workflow_id)
    assert server.get(workflow_id) == before
    server.terminate(workflow_id)
    ended = server.get(workflow_id)
    server.decide(workflow_id)
    assert server.get(workflow_id) == ended


# -- GetWorkflows --


@pytest.mark.differs("redis", NO_INDEX)
def test_workflows_by_correlation_id(server: ServerUnderTest) -> None:
    """Only those that run, unless the closed ones are asked for; an unknown id has an empty list."""
    one, two = server.unique("order"), server.unique("order")
    name = server.workflow(simple(server.task_definition()))
    first = server.start(name, correlation_id=one)
    second = server.start(name, correlation_id=one)
    third = server.start(name, correlation_id=two)
    server.terminate(second)
    found = by_correlation_id(server, name, [one, two, "nope"])
    if server.name == "redis":
        first_ones, second_ones = [], []
    else:
        first_ones, second_ones = [first], [third]
    assert {key: ids(workflows) for key, workflows in found.items()} == {one: first_ones, two: second_ones, "nope": []}
    assert all(not workflow.tasks for workflow in found[one])


def ids(workflows: list[Workflow]) -> list[str]:
    return sorted(workflow.workflow_id for workflow in workflows)


@pytest.mark.differs("redis", NO_INDEX)
def test_workflows_by_correlation_id_with_tasks(server: ServerUnderTest) -> None:
    order = server.unique("order")
    name = server.workflow(simple(server.task_definition()))
    workflow_id = server.start(name, correlation_id=order)
    found = by_correlation_id(server, name, [order], tasks=True)[order]
    assert found == ([] if server.name == "redis" else [server.get(workflow_id)])


@pytest.mark.differs("redis", NO_INDEX)
def test_closed_workflows_by_correlation_id(server: ServerUnderTest) -> None:
    order = server.unique("order")
    name = server.workflow(simple(server.task_definition()))
    open_one, closed = server.start(name, correlation_id=order), server.start(name, correlation_id=order)
    server.terminate(closed)
    found = by_correlation_id(server, name, [order], closed=True)[order]
    assert ids(found) == ([] if server.name == "redis" else sorted([open_one, closed]))


def test_a_paused_workflow_is_not_among_the_open_ones(server: ServerUnderTest) -> None:
    order = server.unique("order")
    name = server.workflow(simple(server.task_definition()))
    pause(server, server.start(name, correlation_id=order))
    assert by_correlation_id(server, name, [order])[order] == []


def test_workflows_of_another_name_are_not_found(server: ServerUnderTest) -> None:
    order = server.unique("order")
    server.start(server.workflow(simple(server.task_definition())), correlation_id=order)
    other = server.workflow(simple(server.task_definition()))
    assert by_correlation_id(server, other, [order], closed=True) == {order: []}


def test_workflows_by_correlation_id_need_a_name(server: ServerUnderTest) -> None:
    assert error_of(lambda: by_correlation_id(server, "", ["order"])) == UNEXPLAINED


# -- GetRunningWorkflows --


def test_running_workflows_of_a_name(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition()))
    first, second, third = (server.start(name) for _ in range(3))
    server.terminate(second)
    assert sorted(running(server, name)) == sorted([first, third])


def test_running_workflows_of_an_unknown_name(server: ServerUnderTest) -> None:
    assert running(server, "nope") == []


def test_running_workflows_need_a_name(server: ServerUnderTest) -> None:
    text = "getRunningWorkflows.arg0: Workflow name cannot be null or empty."
    assert error_of(lambda: running(server, "")) == failure(text, "ConstraintViolationException")


def test_workflows_of_a_time(server: ServerUnderTest) -> None:
    """Of that version, whether they still run or not."""
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    workflow_id = server.start(name)
    started = server.get(workflow_id).tasks[0].scheduled_time
    around = {"start_time": started - 60_000, "end_time": started + 60_000}
    before = {"start_time": started - 120_000, "end_time": started - 60_000}
    assert running(server, name, version=1, **around) == [workflow_id]
    assert running(server, name, version=2, **around) == []
    assert running(server, name, version=1, **before) == []
    server.complete(server.take(task_type))
    assert running(server, name, version=1, **around) == [workflow_id]
    assert running(server, name) == []
