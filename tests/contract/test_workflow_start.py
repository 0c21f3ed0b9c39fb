"""StartWorkflow: by name and version, inline, with priority, domains and correlation id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import references
from definition_calls import UNEXPLAINED, create_workflow, no_such_definition, stored_workflow
from google.protobuf.struct_pb2 import Value
from wire import error_of, plain, simple, status
from workflow_calls import failure

from conductor_grpc.pb.model.startworkflowrequest_pb2 import StartWorkflowRequest
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


# -- by name --


@pytest.mark.parametrize(("asked", "given"), [(0, 3), (1, 1), (3, 3)])
def test_the_version(server: ServerUnderTest, asked: int, given: int) -> None:
    """0 is the latest."""
    node = simple(server.task_definition())
    name = server.workflow(node)
    create_workflow(server, server.workflow_definition(node, name=name, version=3))
    workflow = server.get(server.start(name, version=asked))
    assert workflow.workflow_definition.version == given


def test_an_unknown_name(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.start("nope")) == no_such_definition("nope")


@pytest.mark.parametrize("version", [7, -1])
def test_an_unknown_version(server: ServerUnderTest, version: int) -> None:
    name = server.workflow(simple(server.task_definition()))
    assert error_of(lambda: server.start(name, version=version)) == no_such_definition(name)


def test_no_name(server: ServerUnderTest) -> None:
    text = "Workflow name must be specified when searching for a definition"
    assert error_of(lambda: server.start("")) == failure(text, "IllegalArgumentException")


def test_a_running_workflow_keeps_its_definition(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    name = server.workflow(simple(one, "one"), simple(two, "two"))
    workflow_id = server.start(name)
    create_workflow(server, server.workflow_definition(simple(one, "one"), name=name, version=2))
    server.complete(server.take(one))
    assert references(server.get(workflow_id)) == ["one", "two"]


def test_a_running_workflow_keeps_its_task_definitions(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition(response_timeout_seconds=77)
    server.start(server.workflow(simple(one, "one"), simple(two, "two")))
    server.task_definition(two, response_timeout_seconds=88)
    server.complete(server.take(one))
    assert server.take(two).response_timeout_seconds == 77


def test_every_start_is_a_workflow_of_its_own(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition()))
    ids = {server.start(name, correlation_id="order 7") for _ in range(3)}
    assert len(ids) == 3
    assert {server.get(workflow_id).correlation_id for workflow_id in ids} == {"order 7"}


def test_the_first_task_is_scheduled_when_the_call_answers(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task({"a": "b"})
    (task,) = server.get(workflow_id).tasks
    assert (task.task_type, status(task), plain(task.input_data)) == (task_type, "SCHEDULED", {"a": "b"})


def test_an_input_without_a_kind(server: ServerUnderTest) -> None:
    """A map, a list or a Value must say what it is."""
    name = server.workflow(simple(server.task_definition()))
    request = StartWorkflowRequest(name=name, input={"a": Value()})
    assert error_of(lambda: server.workflows.StartWorkflow(request)) == UNEXPLAINED


# -- inline --


def test_an_inline_definition_is_run_and_not_stored(server: ServerUnderTest) -> None:
    """Its own name counts, not the request's."""
    task_type = server.task_definition(response_timeout_seconds=77)
    definition = server.workflow_definition(simple(task_type, "only"), output_parameters={"x": "${only.output.x}"})
    workflow_id = server.start("another", workflow_def=definition)
    task = server.take(task_type)
    assert (task.workflow_type, task.response_timeout_seconds) == (definition.name, 77)
    server.complete(task, x="1")
    workflow = server.get(workflow_id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "1"})
    assert (workflow.workflow_definition.name, workflow.workflow_definition.version) == (definition.name, 1)
    assert error_of(lambda: stored_workflow(server, definition.name)) == no_such_definition(definition.name)


def test_an_inline_definition_of_a_name_that_is_stored(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition(), "stored"))
    definition = server.workflow_definition(simple(server.task_definition(), "inline"), name=name)
    assert references(server.get(server.start(name, workflow_def=definition))) == ["inline"]
    assert references(server.get(server.start(name))) == ["stored"]


def test_an_inline_task_definition(server: ServerUnderTest) -> None:
    task_type = server.unique()
    inline = TaskDef(name=task_type, retry_count=2, response_timeout_seconds=99, backoff_scale_factor=1)
    definition = server.workflow_definition(simple(task_type, "only", task_definition=inline))
    workflow_id = server.start(definition.name, workflow_def=definition)
    task = server.take(task_type)
    assert (task.response_timeout_seconds, task.workflow_task.task_definition) == (99, inline)
    server.fail(task)
    assert server.take(task_type).retry_count == 1
    assert status(server.get(workflow_id)) == "RUNNING"


def test_an_inline_task_definition_wins_over_a_stored_one(server: ServerUnderTest) -> None:
    task_type = server.task_definition(response_timeout_seconds=77)
    inline = TaskDef(name=task_type, response_timeout_seconds=99, backoff_scale_factor=1)
    definition = server.workflow_definition(simple(task_type, task_definition=inline))
    server.start(definition.name, workflow_def=definition)
    assert server.take(task_type).response_timeout_seconds == 99


def test_an_inline_definition_of_tasks_that_nobody_defined(server: ServerUnderTest) -> None:
    task_type = server.unique()
    definition = server.workflow_definition(simple(task_type))
    server.start(definition.name, workflow_def=definition)
    task = server.take(task_type)
    assert (task.response_timeout_seconds, task.workflow_task.task_definition.retry_count) == (3600, 3)


# -- priority --


@pytest.mark.differs(
    "redis", "priority 1 of a workflow is the highest, 99 the lowest and 0 below that; among equals there is no order"
)
def test_the_priority_orders_the_tasks_of_a_queue(server: ServerUnderTest) -> None:
    """The greater first; among equals the one that was scheduled first."""
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    ids = []
    for priority in (0, 5, 99, 5, 1):
        ids.append(server.start(name, priority=priority))
        server.pass_time(0.002)  # the queues order by milliseconds
    polled = [server.take(task_type) for _ in ids]
    priorities = [task.workflow_priority for task in polled]
    if server.name == "redis":
        assert priorities == [1, 5, 5, 99, 0]
    else:
        assert priorities == [99, 5, 5, 1, 0]
        assert [task.workflow_instance_id for task in polled] == [ids[index] for index in (2, 1, 3, 4, 0)]
    assert server.get(ids[2]).priority == 99


@pytest.mark.parametrize("priority", [-1, 100])
def test_a_priority_is_from_0_to_99(server: ServerUnderTest, priority: int) -> None:
    name = server.workflow(simple(server.task_definition()))
    expected = failure("priority MUST be between 0 and 99 (inclusive)", "IllegalArgumentException")
    assert error_of(lambda: server.start(name, priority=priority)) == expected
