"""Poll of one task, and what a polled task tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import error_of, plain, simple, status, statuses, values

from conductor_grpc.pb.services.task_service_pb2 import PollRequest
from conductor_grpc.pb.services.workflow_service_pb2 import PauseWorkflowRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.services.task_service_pb2 import PollResponse


def poll_one(server: ServerUnderTest, task_type: str) -> PollResponse:
    return server.tasks.Poll(PollRequest(task_type=task_type, worker_id="w"))


@pytest.mark.parametrize("task_type", ["nobody_has_such_a_task", ""])
def test_poll_of_an_empty_queue_is_cancelled_by_the_server(server: ServerUnderTest, task_type: str) -> None:
    failure = error_of(lambda: poll_one(server, task_type))
    assert (failure.code, failure.java_class) == (grpc.StatusCode.CANCELLED, None)


def test_poll_hands_out_one_task(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task({"x": "y"})
    server.start(server.workflow(simple(task_type)))
    task = poll_one(server, task_type).task
    assert (task.workflow_instance_id, plain(task.input_data)) == (workflow_id, {"x": "y"})
    assert status(server.task(task.task_id)) == "IN_PROGRESS"
    assert server.take(task_type).task_id != task.task_id


def test_polled_task_tells_about_itself(server: ServerUnderTest) -> None:
    task_type = server.task_definition(response_timeout_seconds=77, retry_count=3)
    server.start(server.workflow(simple(task_type, "the_reference")))
    task = server.take(task_type, worker="worker 7")
    assert (task.task_type, task.task_def_name, task.reference_task_name) == (task_type, task_type, "the_reference")
    assert (status(task), task.worker_id, task.response_timeout_seconds) == ("IN_PROGRESS", "worker 7", 77)
    assert (task.poll_count, task.retry_count, task.seq, task.iteration) == (1, 0, 1, 0)
    assert (task.callback_from_worker, task.executed, task.retried) == (True, False, False)
    assert (task.callback_after_seconds, task.start_delay_in_seconds) == (0, 0)
    assert (task.domain, task.reason_for_incompletion, task.retried_task_id) == ("", "", "")
    assert (task.rate_limit_per_frequency, task.rate_limit_frequency_in_seconds) == (0, 1)
    assert (plain(task.output_data), plain(task.input_data)) == ({}, {})
    assert task.HasField("execution_metadata")
    assert not task.execution_metadata.ListFields()
    assert (task.HasField("input_message"), task.HasField("output_message")) == (False, False)


def test_polled_task_tells_its_times(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    assert 0 < task.scheduled_time <= task.start_time <= task.update_time
    assert (task.end_time, task.first_start_time) == (0, 0)


def test_polled_task_tells_about_its_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    workflow_id = server.start(name, correlation_id="order 7", priority=5)
    task = server.take(task_type)
    assert (task.workflow_instance_id, task.workflow_type) == (workflow_id, name)
    assert (task.correlation_id, task.workflow_priority) == ("order 7", 5)


def test_polled_task_carries_its_definitions(server: ServerUnderTest) -> None:
    task_type = server.task_definition(retry_count=3, description="what it does")
    node = simple(task_type, "ref", input_parameters={"a": "${workflow.input.a}"}, optional=True)
    server.start(server.workflow(node))
    carried = server.take(task_type).workflow_task
    definition = carried.task_definition
    carried.ClearField("task_definition")
    assert carried == node
    assert (definition.name, definition.retry_count, definition.description) == (task_type, 3, "what it does")


def test_a_task_without_definition_gets_one_with_the_defaults_of_java(server: ServerUnderTest) -> None:
    task_type = server.unique()
    server.start(server.workflow(simple(task_type)))
    task = server.take(task_type)
    definition = task.workflow_task.task_definition
    assert (definition.name, definition.retry_count, definition.retry_delay_seconds) == (task_type, 3, 60)
    assert (definition.response_timeout_seconds, definition.timeout_seconds) == (3600, 0)
    assert (definition.retry_logic, definition.timeout_policy) == (definition.FIXED, definition.TIME_OUT_WF)
    assert (definition.backoff_scale_factor, definition.rate_limit_frequency_in_seconds) == (1, 1)
    assert definition.task_status_listener_enabled
    assert task.response_timeout_seconds == 3600


def test_get_task_gives_what_was_polled(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task({"a": [None, {"b": True}]})
    task = server.take(task_type)
    assert server.task(task.task_id) == task


def test_a_polled_task_may_have_no_worker_id(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.take(task_type, worker="")
    (task,) = server.get(workflow_id).tasks
    assert (status(task), task.worker_id, task.poll_count) == ("IN_PROGRESS", "", 1)


def test_a_task_is_handed_out_once(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    server.take(task_type)
    assert server.poll(task_type, wait=100) == []


def test_tasks_of_a_paused_workflow_are_handed_out(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.workflows.PauseWorkflow(PauseWorkflowRequest(workflow_id=workflow_id))
    server.complete(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (status(workflow), statuses(workflow)) == ("PAUSED", ["COMPLETED"])


def test_tasks_of_a_terminated_workflow_are_not_handed_out(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    server.terminate(workflow_id)
    assert server.poll(task_type, wait=100) == []
    assert statuses(server.get(workflow_id)) == ["CANCELED"]


def test_tasks_of_equal_priority_come_in_order(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    started = [server.start(name) for _ in range(4)]
    assert [server.take(task_type).workflow_instance_id for _ in started] == started


@pytest.mark.differs("redis", "a low priority number goes first, and 0 last; elsewhere the highest number goes first")
def test_priority_decides_which_task_comes_first(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    for priority in (0, 1, 2, 3):
        server.start(name, priority=priority)
    expected = [1, 2, 3, 0] if server.name == "redis" else [3, 2, 1, 0]
    assert [server.take(task_type).workflow_priority for _ in expected] == expected


def test_a_running_workflow_keeps_the_definitions_that_it_started_with(server: ServerUnderTest) -> None:
    first, second = server.task_definition(), server.task_definition(response_timeout_seconds=100)
    name = server.workflow(simple(first), simple(second))
    server.start(name)
    server.task_definition(second, response_timeout_seconds=200)
    server.complete(server.take(first))
    assert server.take(second).response_timeout_seconds == 100


def test_the_input_template_fills_what_is_missing_or_null(server: ServerUnderTest) -> None:
    template = {"given": "template", "null": "template", "missing": "template", "computed": "${workflow.input.x}"}
    task_type = server.task_definition(input_template=values(template))
    parameters = {"given": "own", "null": None}
    server.start(server.workflow(simple(task_type, input_parameters=parameters)), {"x": "computed"})
    assert plain(server.take(task_type).input_data) == {
        "given": "own",
        "null": "template",
        "missing": "template",
        "computed": "computed",
    }
