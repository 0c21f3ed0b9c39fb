"""Task: from the wire, from REST's JSON, and whether it still matches the server's message."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from google.protobuf import json_format

from conductor_grpc.errors import PayloadDecodeError
from conductor_grpc.pb.model import task_pb2, taskresult_pb2
from conductor_grpc.worker import Task, TaskResultStatus, TaskStatus
from conductor_grpc.worker.status import TASK_RESULT_STATUS_NUMBERS, TASK_STATUSES


def filled_message() -> task_pb2.Task:
    """A message with a distinct value in every field that is not a message."""
    message = task_pb2.Task()
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and field.name != "status":
            kinds = {field.CPPTYPE_STRING: f"text of {field.name}", field.CPPTYPE_BOOL: True}
            setattr(message, field.name, kinds.get(field.cpp_type, 1000 + field.number))
    message.status = task_pb2.Task.TIMED_OUT
    message.input_data["n"].number_value = 7
    message.output_data["s"].string_value = "x"
    message.workflow_task.name = "definition"
    message.input_message.type_url = "some/type"
    message.output_message.type_url = "other/type"
    message.execution_metadata.server_send_time = 5
    message.runtime_metadata["k"] = "v"
    return message


def test_every_field_of_the_message_has_its_attribute() -> None:
    wire = {field.metadata["wire"][0]: field.name for field in dataclasses.fields(Task) if field.metadata}
    wire[27] = "workflow_task"  # the attribute workflow_task_wire, and the property of this name
    assert wire == {field.number: field.name for field in task_pb2.Task.DESCRIPTOR.fields}


def test_statuses_have_the_numbers_of_the_wire() -> None:
    assert {status.value: number for number, status in enumerate(TASK_STATUSES)} == dict(task_pb2.Task.Status.items())
    assert {status.value: number for status, number in TASK_RESULT_STATUS_NUMBERS.items()} == dict(
        taskresult_pb2.TaskResult.Status.items()
    )


def test_only_scheduled_and_in_progress_are_not_terminal() -> None:
    assert {each for each in TaskStatus if not each.is_terminal} == {
        TaskStatus.IN_PROGRESS,
        TaskStatus.SCHEDULED,
    }
    assert TaskStatus.COMPLETED == "COMPLETED"
    assert f"{TaskStatus.COMPLETED} {TaskResultStatus.FAILED}" == "COMPLETED FAILED"
    assert TaskResultStatus("COMPLETED") is TaskResultStatus.COMPLETED


def test_from_wire_reads_every_field() -> None:
    message = filled_message()
    task = Task.from_wire(message.SerializeToString())
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and field.name != "status":
            assert getattr(task, field.name) == getattr(message, field.name), field.name
    assert task.status is TaskStatus.TIMED_OUT
    assert task.input_data == {"n": 7}
    assert task.output_data == {"s": "x"}
    assert task.workflow_task.name == "definition"
    assert task.workflow_task is task.workflow_task
    assert task.input_message == message.input_message.SerializeToString()
    assert task.output_message == message.output_message.SerializeToString()
    assert task.execution_metadata == message.execution_metadata.SerializeToString()
    assert task.runtime_metadata == {"k": "v"}


def test_from_wire_of_an_empty_message_is_a_default_task() -> None:
    assert Task.from_wire(b"") == Task()
    assert Task.from_wire(b"").workflow_task.name == ""


def test_an_unknown_status_and_garbage_are_errors() -> None:
    with pytest.raises(PayloadDecodeError, match=r"unknown status number 99") as caught:
        Task.from_wire(b"\x10\x63")
    assert caught.value.path == "status"
    with pytest.raises(PayloadDecodeError):
        Task.from_wire(b"\x0a\xff")


def test_a_definition_that_does_not_parse_is_an_error_when_it_is_asked_for() -> None:
    task = Task.from_wire(b"\xda\x01\x01\x0a")
    with pytest.raises(PayloadDecodeError, match="not a WorkflowTask"):
        _ = task.workflow_task


def test_from_json_reads_what_proto_json_calls_the_fields() -> None:
    message = filled_message()
    message.ClearField("input_message")
    message.ClearField("output_message")
    message.ClearField("execution_metadata")
    document = json_format.MessageToDict(message)
    for name, value in document.items():  # proto JSON writes 64-bit integers as strings, REST does not
        if isinstance(value, str) and value.isdigit():
            document[name] = int(value)
    document["workflowTask"] = {"name": "definition", "taskReferenceName": "ref", "type": "SIMPLE"}
    task = Task.from_json(document)
    expected = Task.from_wire(message.SerializeToString())
    assert dataclasses.replace(task, workflow_task_wire=expected.workflow_task_wire) == expected
    assert task.workflow_task.name == "definition"
    assert task.workflow_task.task_reference_name == "ref"


def test_from_json_keeps_integers_and_ignores_what_it_does_not_know() -> None:
    task = Task.from_json(
        {"taskId": "t", "inputData": {"big": 2**60, "one": 1, "half": 0.5}, "domain": None, "newInServer9": 1}
    )
    assert task == Task(task_id="t", input_data={"big": 2**60, "one": 1, "half": 0.5})
    assert type(task.input_data["one"]) is int


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"taskId": 7}, "taskId"),
        ({"pollCount": "7"}, "pollCount"),
        ({"pollCount": True}, "pollCount"),
        ({"retried": 1}, "retried"),
        ({"inputData": []}, "inputData"),
        ({"status": "SLEEPING"}, "status"),
        ({"workflowTask": "x"}, "workflowTask"),
    ],
)
def test_from_json_names_the_key_of_a_wrong_type(document: dict[str, object], path: str) -> None:
    with pytest.raises(PayloadDecodeError, match=path) as caught:
        Task.from_json(document)
    assert caught.value.path == path


def test_from_json_takes_objects_only() -> None:
    with pytest.raises(PayloadDecodeError, match="JSON object, not list"):
        Task.from_json([])  # type: ignore[arg-type]


def test_a_task_pickles_with_its_parsed_definition() -> None:
    task = Task.from_wire(filled_message().SerializeToString())
    assert task.workflow_task.name == "definition"
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task
    assert copy.workflow_task == task.workflow_task
