"""UpdateTask: what it stores, what it refuses, and what it answers OK to and ignores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.struct_pb2 import Value
from wire import error_of, plain, simple, status, statuses, value

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.pb.services.workflow_service_pb2 import RemoveWorkflowRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task

INTERNAL = grpc.StatusCode.INTERNAL


def polled(server: ServerUnderTest, **definition: object) -> Task:
    """The one task of a new workflow, taken by a worker."""
    task_type, _ = server.start_task(**definition)
    return server.take(task_type)


def workflow_status(server: ServerUnderTest, task: Task) -> str:
    return status(server.get(task.workflow_instance_id))


# -- results --


def test_the_answer_repeats_the_task_id(server: ServerUnderTest) -> None:
    task = polled(server)
    result = TaskResult(
        workflow_instance_id=task.workflow_instance_id, task_id=task.task_id, status=TaskResult.COMPLETED
    )
    assert server.tasks.UpdateTask(UpdateTaskRequest(result=result)).task_id == task.task_id


def test_completed_ends_the_task_and_the_workflow(server: ServerUnderTest) -> None:
    task = polled(server)
    server.complete(task, answer="yes")
    stored = server.task(task.task_id)
    assert (status(stored), plain(stored.output_data)) == ("COMPLETED", {"answer": "yes"})
    assert stored.end_time >= stored.start_time == task.start_time
    assert workflow_status(server, task) == "COMPLETED"


def test_the_next_task_is_scheduled_when_the_update_answers(server: ServerUnderTest) -> None:
    first, second = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(first), simple(second)))
    server.complete(server.take(first))
    workflow = server.get(workflow_id)
    assert statuses(workflow) == ["COMPLETED", "SCHEDULED"]
    assert [task.executed for task in workflow.tasks] == [True, False]


def test_a_task_may_be_completed_without_a_poll(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    (task,) = server.get(workflow_id).tasks
    server.complete(task, a="b")
    (stored,) = server.get(workflow_id).tasks
    assert (status(stored), stored.poll_count, stored.start_time) == ("COMPLETED", 0, 0)
    assert server.poll(task_type, wait=100) == []


def test_the_output_is_replaced_not_merged(server: ServerUnderTest) -> None:
    task = polled(server)
    server.update(task, "IN_PROGRESS", {"first": 1, "both": 1})
    server.complete(task, second=2, both=2)
    assert plain(server.task(task.task_id).output_data) == {"second": 2.0, "both": 2.0}


def test_every_kind_of_value_survives(server: ServerUnderTest) -> None:
    output = {
        "null": None,
        "list": [],
        "map": {},
        "text": "é\u2028\U0001f600\0 end",
        "empty": "",
        "": "empty key",
        "bool": [True, False],
        "nested": {"a": [None, {"b": [[1.5]]}], "null": None},
    }
    task = polled(server)
    server.complete(task, **output)
    assert plain(server.task(task.task_id).output_data) == output


def test_numbers_that_json_lacks_are_stored_as_text(server: ServerUnderTest) -> None:
    task = polled(server)
    server.complete(task, nan=math.nan, plus=math.inf, minus=-math.inf)
    expected = {"nan": "NaN", "plus": "Infinity", "minus": "-Infinity"}
    assert plain(server.task(task.task_id).output_data) == expected


def test_reason_and_worker_are_overwritten_even_with_nothing(server: ServerUnderTest) -> None:
    task = polled(server)
    server.update(task, "IN_PROGRESS", reason_for_incompletion="why", worker_id="other")
    stored = server.task(task.task_id)
    assert (stored.reason_for_incompletion, stored.worker_id) == ("why", "other")
    server.update(task, "COMPLETED", reason_for_incompletion="", worker_id="")
    stored = server.task(task.task_id)
    assert (stored.reason_for_incompletion, stored.worker_id) == ("", "")


@pytest.mark.parametrize("sent", ["", "the child"])
def test_an_output_named_sub_workflow_id_is_overwritten(server: ServerUnderTest, sent: str) -> None:
    task = polled(server)
    server.update(task, "COMPLETED", {"subWorkflowId": "mine"}, sub_workflow_id=sent)
    stored = server.task(task.task_id)
    assert (plain(stored.output_data), stored.sub_workflow_id) == ({"subWorkflowId": sent}, sent)


def test_an_output_message_is_passed_through(server: ServerUnderTest) -> None:
    message = AnyMessage(type_url="type.googleapis.com/some.Thing", value=b"\x00\x01\xff")
    task = polled(server)
    server.update(task, "COMPLETED", output_message=message)
    stored = server.task(task.task_id)
    assert (stored.output_message, stored.HasField("input_message")) == (message, False)


# -- ends that are not good --


def test_failed_fails_the_workflow(server: ServerUnderTest) -> None:
    task = polled(server)
    server.update(task, "FAILED", {"o": "p"}, reason_for_incompletion="it broke")
    workflow = server.get(task.workflow_instance_id)
    assert (status(workflow), statuses(workflow)) == ("FAILED", ["FAILED"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'it broke'"
    assert list(workflow.failed_reference_task_names) == [task.reference_task_name]
    assert plain(workflow.tasks[0].output_data) == {"o": "p"}


def test_failed_with_terminal_error_is_not_retried(server: ServerUnderTest) -> None:
    task = polled(server, retry_count=3)
    server.update(task, "FAILED_WITH_TERMINAL_ERROR", reason_for_incompletion="never")
    workflow = server.get(task.workflow_instance_id)
    assert (status(workflow), statuses(workflow)) == ("FAILED", ["FAILED_WITH_TERMINAL_ERROR"])
    assert workflow.reason_for_incompletion == f"Task {task.task_id} failed with status: FAILED and reason: 'never'"


def test_canceled_terminates_the_workflow(server: ServerUnderTest) -> None:
    task = polled(server, retry_count=3)
    server.update(task, "CANCELED", reason_for_incompletion="not needed")
    workflow = server.get(task.workflow_instance_id)
    assert (status(workflow), statuses(workflow)) == ("TERMINATED", ["CANCELED"])
    reason = f"Task {task.task_id} failed with status: TERMINATED and reason: 'not needed'"
    assert workflow.reason_for_incompletion == reason


# -- refused --


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("workflow_instance_id", "updateTask.arg0.workflowInstanceId: Workflow Id cannot be null or empty"),
        ("task_id", "updateTask.arg0.taskId: Task ID cannot be null or empty"),
    ],
)
def test_an_empty_id_is_refused(server: ServerUnderTest, missing: str, message: str) -> None:
    task = polled(server)
    failure = error_of(lambda: server.update(task, "COMPLETED", **{missing: ""}))
    assert failure == (INTERNAL, message, "ConstraintViolationException")


def test_no_result_is_refused_for_both_ids(server: ServerUnderTest) -> None:
    failure = error_of(lambda: server.tasks.UpdateTask(UpdateTaskRequest()))
    assert (failure.code, failure.java_class) == (INTERNAL, "ConstraintViolationException")
    assert sorted(failure.details.split(", ")) == [
        "updateTask.arg0.taskId: Task ID cannot be null or empty",
        "updateTask.arg0.workflowInstanceId: Workflow Id cannot be null or empty",
    ]


def test_the_workflow_is_looked_up_before_the_task(server: ServerUnderTest) -> None:
    task = polled(server)
    failure = error_of(lambda: server.update(task, "COMPLETED", workflow_instance_id="nope", task_id="nope"))
    assert failure == (INTERNAL, "No such workflow found by id: nope", "NotFoundException")


def test_an_unknown_task_is_refused(server: ServerUnderTest) -> None:
    task = polled(server)
    failure = error_of(lambda: server.update(task, "COMPLETED", task_id="nope"))
    assert failure == (INTERNAL, "No such task found by id: nope", "NotFoundException")


def test_a_task_of_a_removed_workflow_is_refused(server: ServerUnderTest) -> None:
    task = polled(server)
    server.workflows.RemoveWorkflow(RemoveWorkflowRequest(workflod_id=task.workflow_instance_id))
    failure = error_of(lambda: server.complete(task))
    message = f"No such workflow found by id: {task.workflow_instance_id}"
    assert failure == (INTERNAL, message, "NotFoundException")


@pytest.mark.parametrize("number", [5, 99, -1])
def test_an_unknown_status_number_is_refused(server: ServerUnderTest, number: int) -> None:
    task = polled(server)
    failure = error_of(lambda: server.update(task, number))
    assert failure == (INTERNAL, "Unexpected enum constant: UNRECOGNIZED", "IllegalArgumentException")
    assert status(server.task(task.task_id)) == "IN_PROGRESS"


def test_a_value_without_a_kind_is_refused(server: ServerUnderTest) -> None:
    task = polled(server)
    failure = error_of(lambda: server.complete(task, good="x", bad=Value()))
    assert failure == (INTERNAL, "unset Value element: ", "ClassCastException")
    assert status(server.task(task.task_id)) == "IN_PROGRESS"


@pytest.mark.parametrize(("depth", "accepted"), [(48, True), (49, False)])
def test_lists_may_be_nested_48_deep(server: ServerUnderTest, depth: int, accepted: bool) -> None:
    """The server reads messages nested 100 deep, and a list in a list takes two of them."""
    nested: object = "x"
    for _ in range(depth):
        nested = [nested]
    task = polled(server)
    if accepted:
        server.complete(task, x=nested)
        assert server.task(task.task_id).output_data["x"] == value(nested)
    else:
        failure = error_of(lambda: server.complete(task, x=nested))
        assert failure == (grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)
        assert status(server.task(task.task_id)) == "IN_PROGRESS"


# -- OK, and ignored --


def test_a_second_result_is_ignored(server: ServerUnderTest) -> None:
    task = polled(server)
    server.complete(task, first=True)
    stored = server.task(task.task_id)
    server.update(task, "FAILED", {"second": True}, reason_for_incompletion="too late", worker_id="other")
    assert server.task(task.task_id) == stored
    assert workflow_status(server, task) == "COMPLETED"


def test_a_result_for_a_terminated_workflow_is_ignored(server: ServerUnderTest) -> None:
    task = polled(server)
    server.terminate(task.workflow_instance_id, "enough")
    stored = server.task(task.task_id)
    assert (status(stored), stored.reason_for_incompletion) == ("CANCELED", "")
    server.complete(task, a="b")
    assert server.task(task.task_id) == stored


def test_under_the_id_of_another_workflow_the_task_is_updated_but_its_workflow_does_not_move(
    server: ServerUnderTest,
) -> None:
    task, other = polled(server), polled(server)
    server.update(task, "COMPLETED", workflow_instance_id=other.workflow_instance_id)
    assert status(server.task(task.task_id)) == "COMPLETED"
    assert [workflow_status(server, each) for each in (task, other)] == ["RUNNING", "RUNNING"]
    server.decide(task.workflow_instance_id)
    assert [workflow_status(server, each) for each in (task, other)] == ["COMPLETED", "RUNNING"]
