"""Task definitions: adding, replacing, reading and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from definition_calls import UNEXPLAINED, create_tasks, delete_task, stored_task, update_task
from wire import error_of, simple, values

from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.services import metadata_service_pb2 as messages

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest
    from wire import Failure


def definition(name: str, **fields: object) -> TaskDef:
    return TaskDef(**{"name": name, "response_timeout_seconds": 60, "backoff_scale_factor": 1, **fields})


def not_stored(server: ServerUnderTest, name: str) -> Failure:
    return error_of(lambda: stored_task(server, name))


def test_a_task_definition_is_read_back_as_it_was_sent(server) -> None:
    sent = definition(
        server.unique(),
        description="every field has a value that is no default",
        retry_count=2,
        timeout_seconds=100,
        input_keys=["a", "b"],
        output_keys=["c"],
        timeout_policy="ALERT_ONLY",
        retry_logic="LINEAR_BACKOFF",
        retry_delay_seconds=7,
        response_timeout_seconds=50,
        concurrent_exec_limit=4,
        input_template=values({"text": "ä", "half": 0.5, "list": [1, [], {}], "no": False, "nothing": None}),
        rate_limit_per_frequency=3,
        rate_limit_frequency_in_seconds=9,
        isolation_group_id="group",
        execution_name_space="space",
        owner_email="owner@example.com",
        poll_timeout_seconds=8,
        backoff_scale_factor=2,
        base_type="base",
        total_timeout_seconds=1000,
        task_status_listener_enabled=True,
        max_retry_delay_seconds=33,
        backoff_jitter_ms=5,
    )
    create_tasks(server, sent)
    assert stored_task(server, sent.name) == sent


def test_creating_a_task_definition_again_replaces_it(server) -> None:
    name = server.unique()
    create_tasks(server, definition(name, description="first", retry_count=3))
    create_tasks(server, definition(name, description="second"))
    assert stored_task(server, name) == definition(name, description="second")


def test_of_two_task_definitions_of_one_name_in_a_request_the_later_is_kept(server) -> None:
    name = server.unique()
    create_tasks(server, definition(name, description="first"), definition(name, description="second"))
    assert stored_task(server, name).description == "second"


def test_one_bad_task_definition_spoils_the_whole_request(server) -> None:
    good, bad = server.unique(), server.unique()
    request = [definition(good), definition(bad, response_timeout_seconds=0)]
    assert error_of(lambda: create_tasks(server, *request)) == UNEXPLAINED
    assert not_stored(server, good) == UNEXPLAINED


def test_creating_no_task_definition_at_all_is_refused(server) -> None:
    assert error_of(lambda: create_tasks(server)) == UNEXPLAINED


def test_updating_a_task_definition_replaces_all_of_it(server) -> None:
    name = server.unique()
    create_tasks(server, definition(name, description="first", input_template=values({"a": 1})))
    update_task(server, definition(name, retry_count=5))
    assert stored_task(server, name) == definition(name, retry_count=5)


def test_an_unknown_task_definition_cannot_be_updated(server) -> None:
    name = server.unique()
    assert error_of(lambda: update_task(server, definition(name))) == UNEXPLAINED
    assert not_stored(server, name) == UNEXPLAINED


def test_an_update_without_a_task_definition_is_refused(server) -> None:
    assert error_of(lambda: server.metadata.UpdateTask(messages.UpdateTaskRequest())) == UNEXPLAINED


def test_a_removed_task_definition_is_gone(server) -> None:
    name = server.task_definition()
    delete_task(server, name)
    assert not_stored(server, name) == UNEXPLAINED
    assert error_of(lambda: delete_task(server, name)) == UNEXPLAINED


@pytest.mark.parametrize("name", ["", "no such task"])
def test_an_unknown_task_definition_is_unknown_not_not_found(server, name: str) -> None:
    assert not_stored(server, name) == UNEXPLAINED
    assert error_of(lambda: delete_task(server, name)) == UNEXPLAINED


def test_a_workflow_keeps_the_task_definition_with_which_it_started(server) -> None:
    task_type, workflow_id = server.start_task(retry_count=1, description="as it started")
    create_tasks(server, definition(task_type, retry_count=9, description="changed since"))
    (planned,) = server.get(workflow_id, tasks=False).workflow_definition.tasks
    assert planned.task_definition.description == "as it started"
    assert server.take(task_type).workflow_task.task_definition.retry_count == 1


def test_a_workflow_starts_without_the_definition_of_its_task(server) -> None:
    """It gets one with the defaults of REST, under the name of the task."""
    task_type = server.unique()
    server.start(server.workflow(simple(task_type)))
    task = server.take(task_type)
    assert task.workflow_task.task_definition == TaskDef(
        name=task_type,
        retry_count=3,
        retry_delay_seconds=60,
        timeout_policy="TIME_OUT_WF",
        response_timeout_seconds=3600,
        rate_limit_frequency_in_seconds=1,
        backoff_scale_factor=1,
        task_status_listener_enabled=True,
    )
    assert task.response_timeout_seconds == 3600
