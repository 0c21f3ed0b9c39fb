"""What the clients read from the wire and from REST, and how definitions are compared."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2

from conductor_grpc.clients import TaskSummary, Workflow, WorkflowStatus, WorkflowSummary
from conductor_grpc.clients.differences import differing_paths
from conductor_grpc.clients.requests import start_request
from conductor_grpc.clients.search import search_request, search_result
from conductor_grpc.definitions import workflow_definition_to_json, workflow_definition_to_proto
from conductor_grpc.errors import DefinitionError, PayloadDecodeError
from conductor_grpc.pb.model import task_pb2, tasksummary_pb2, workflow_pb2, workflowsummary_pb2
from conductor_grpc.pb.services import workflow_service_pb2
from conductor_grpc.worker import TaskStatus

DEFINITION = {"name": "w", "version": 3, "tasks": [{"name": "t", "taskReferenceName": "r"}]}


def value(content: object) -> struct_pb2.Value:
    holder = struct_pb2.Struct()
    holder.update({"x": content})
    return holder.fields["x"]


def every_field(message):
    """The message with a value in every singular scalar field: its number, or the text of it."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and not field.is_repeated and field.enum_type is None:
            kind = type(getattr(message, field.name))
            setattr(message, field.name, kind(field.number))
    return message


def test_a_workflow_from_the_wire() -> None:
    message = every_field(workflow_pb2.Workflow())
    message.status = workflow_pb2.Workflow.PAUSED
    message.input["n"].CopyFrom(value(3))
    message.output["m"].CopyFrom(value({"a": [1.5, None]}))
    message.variables["v"].CopyFrom(value(True))
    message.task_to_domain["t"] = "d"
    message.failed_task_names.append("f")
    message.failed_reference_task_names.append("fr")
    message.workflow_definition.CopyFrom(workflow_definition_to_proto(DEFINITION))
    message.history.add(workflow_id="older")
    for task_id in ("1", "2"):
        message.tasks.add(task_id=task_id, reference_task_name="r", status=task_pb2.Task.FAILED)

    workflow = Workflow.from_wire(message.SerializeToString())

    assert (workflow.name, workflow.version, workflow.status) == ("w", 3, WorkflowStatus.PAUSED)
    assert (workflow.input, workflow.output) == ({"n": 3}, {"m": {"a": [1.5, None]}})
    assert (workflow.variables, workflow.task_to_domain) == ({"v": True}, {"t": "d"})
    assert (workflow.failed_task_names, workflow.failed_reference_task_names) == (("f",), ("fr",))
    assert workflow.task("r").task_id == "2"
    assert workflow.tasks[0].status is TaskStatus.FAILED
    assert [each.workflow_id for each in workflow.history] == ["older"]
    assert workflow.definition == workflow_definition_to_json(message.workflow_definition)
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and not field.is_repeated and field.enum_type is None:
            assert getattr(workflow, field.name) == getattr(message, field.name), field.name


def test_a_task_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="no task 'r'; it has: none were read"):
        Workflow.from_wire(b"").task("r")


def test_a_workflow_from_rest() -> None:
    workflow = Workflow.from_json(
        {
            "workflowId": "1",
            "status": "TIMED_OUT",
            "workflowName": "w",
            "workflowVersion": 3,
            "input": {"n": 2**60},
            "output": None,
            "failedTaskNames": ["f"],
            "tasks": [{"taskId": "2", "status": "SCHEDULED", "referenceTaskName": "r"}],
            "workflowDefinition": {"name": "w"},
            "newerThanThisClient": 1,
        }
    )
    assert (workflow.status, workflow.input, workflow.output) == (WorkflowStatus.TIMED_OUT, {"n": 2**60}, {})
    assert (workflow.name, workflow.version, workflow.failed_task_names) == ("w", 3, ("f",))
    assert workflow.task("r").status is TaskStatus.SCHEDULED
    assert workflow.definition == {"name": "w"}


def test_a_status_of_a_newer_server() -> None:
    with pytest.raises(PayloadDecodeError, match="unknown workflow status number 77"):
        Workflow.from_wire(b"\x08\x4d")
    with pytest.raises(PayloadDecodeError, match="newer than this client"):
        Workflow.from_json({"status": "ASLEEP"})


def test_which_states_are_the_end() -> None:
    assert {each for each in WorkflowStatus if not each.is_terminal} == {
        WorkflowStatus.RUNNING,
        WorkflowStatus.PAUSED,
    }


def test_the_names_of_the_states_are_in_the_order_of_the_wire() -> None:
    enum = workflow_pb2.Workflow.WorkflowStatus
    assert [each.value for each in WorkflowStatus] == [enum.Name(number) for number in range(len(enum.values()))]


@pytest.mark.parametrize(
    ("message", "read", "status"),
    [
        (workflowsummary_pb2.WorkflowSummary(status=3), WorkflowSummary, WorkflowStatus.TIMED_OUT),
        (tasksummary_pb2.TaskSummary(status=6), TaskSummary, TaskStatus.SCHEDULED),
    ],
)
def test_a_summary_has_every_field(message, read, status) -> None:
    every_field(message)
    summary = read.from_wire(message.SerializeToString())
    assert summary.status is status
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None and not field.is_repeated and field.enum_type is None:
            assert getattr(summary, field.name) == getattr(message, field.name), field.name


def test_a_summary_has_the_lists_and_maps() -> None:
    message = workflowsummary_pb2.WorkflowSummary(failed_task_names=["a"], task_to_domain={"b": "c"})
    summary = WorkflowSummary.from_wire(message.SerializeToString())
    assert (summary.failed_task_names, summary.task_to_domain) == (("a",), {"b": "c"})


def test_a_page_of_a_search() -> None:
    message = workflow_service_pb2.WorkflowSummarySearchResult(total_hits=9)
    message.results.add(workflow_id="1")
    page = search_result(message.SerializeToString(), WorkflowSummary.from_wire)
    assert (page.total_hits, [each.workflow_id for each in page.results]) == (9, ["1"])


def test_search_requests() -> None:
    request = search_request("q", free_text="f", sort=["a:ASC", "b:DESC"], start=5, size=6)
    assert (request.query, request.free_text, request.sort, request.start, request.size) == (
        "q",
        "f",
        "a:ASC|b:DESC",
        5,
        6,
    )
    with pytest.raises(ValueError, match="start -1"):
        search_request("", start=-1)
    with pytest.raises(TypeError, match="unknown sise: expected free_text, sort, start, size, timeout"):
        search_request("", sise=1)  # type: ignore[call-arg]


def start(**more: object):
    settings: dict[str, object] = {
        "name": "w",
        "version": None,
        "correlation_id": "",
        "priority": 0,
        "task_to_domain": None,
        "workflow_definition": None,
        "external_input_payload_storage_path": "",
        "created_by": "",
    }
    return start_request(**{**settings, **more})


def test_start_requests() -> None:
    request = start(version=2, priority=99, task_to_domain={"*": "d"}, workflow_definition=DEFINITION)
    assert (request.version, request.priority, request.task_to_domain["*"]) == (2, 99, "d")
    assert request.workflow_def.schema_version == 2
    assert not start().HasField("workflow_def")
    for bad in ({"priority": 100}, {"priority": -1}, {"version": 0}):
        with pytest.raises(ValueError, match="expected"):
            start(**bad)
    with pytest.raises(ValueError, match="'other' is not the name of the given definition, 'w'"):
        start(name="other", workflow_definition=DEFINITION)
    with pytest.raises(DefinitionError):
        start(workflow_definition={"name": "w"})


@pytest.mark.parametrize(
    ("stored", "paths"),
    [
        ({}, []),
        ({"createTime": 5, "ownerApp": "x"}, []),
        ({"description": None, "timeoutSeconds": 0, "maskedFields": []}, []),
        ({"description": "d"}, ["$.description"]),
        ({"variables": {"a": 3.0}}, []),
        ({"variables": {"a": True}}, ["$.variables"]),
        ({"variables": {"a": 3, "b": None}}, ["$.variables"]),
        ({"variables": None}, ["$.variables"]),
        ({"tasks": [{"name": "t"}, {"name": "u"}]}, ["$.tasks"]),
        ({"tasks": [{"name": "u"}]}, ["$.tasks[0].name"]),
        ({"tasks": [{"name": "t", "joinMode": "SYNC"}]}, ["$.tasks[0].joinMode"]),
        ({"tasks": [{"name": "t", "joinMode": None, "retryCount": None}]}, []),
        ({"tasks": [{"name": "t", "retryCount": 0}]}, ["$.tasks[0].retryCount"]),
        ({"tasks": [{"name": "t", "onStateChange": {"a": []}}]}, ["$.tasks[0].onStateChange"]),
        ({"tasks": [{"name": "t", "onStateChange": {}}]}, []),
    ],
)
def test_where_definitions_differ(stored: dict[str, object], paths: list[str]) -> None:
    wanted = {"name": "w", "tasks": [{"name": "t", "joinMode": "ASYNC"}], "variables": {"a": 3}}
    before = {"name": "w", "tasks": [{"name": "t"}], "variables": {"a": 3}}
    assert differing_paths({**before, **stored}, wanted) == paths


@pytest.mark.parametrize(("kind", "paths"), [("SIMPLE", []), ("JOIN", ["$.joinMode"])])
def test_only_a_join_minds_its_mode(kind: str, paths: list[str]) -> None:
    """REST's null is SYNC where it is read over gRPC."""
    assert differing_paths({"type": kind, "joinMode": "SYNC"}, {"type": kind, "joinMode": "ASYNC"}) == paths


def test_a_schema_without_a_type_is_json() -> None:
    assert differing_paths({"outputSchema": {"name": "s"}}, {"outputSchema": {"name": "s", "type": "JSON"}}) == []


def test_many_differences_are_counted() -> None:
    stored = {f"k{index}": 1 for index in range(5)}
    assert differing_paths(stored, {}, most=3) == ["$.k0", "$.k1", "$.k2", "2 more"]
