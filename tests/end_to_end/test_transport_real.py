"""The errors of a real server, as the classifier has to know them, and the REST calls beside gRPC."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
import uuid
from typing import TYPE_CHECKING, Protocol

import grpc
import pytest

from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import (
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    ServerError,
    TransientError,
    UnavailableError,
    UnknownServerError,
    UnmappablePayloadError,
)
from conductor_grpc.pb.services import (
    metadata_service_pb2,
    metadata_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)
from conductor_grpc.transport import methods
from conductor_grpc.transport.channel import Channel, open_aio_channel, open_channel
from conductor_grpc.transport.methods import raw_aio_unary, raw_stream, raw_unary
from conductor_grpc.transport.rest import RestClient

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = grpc.StatusCode


class Address(Protocol):
    """What the fixture `real_server` gives."""

    target: str
    base_url: str


@pytest.fixture
def configuration(real_server: Address) -> Configuration:
    return Configuration(real_server.base_url, target=real_server.target)


@pytest.fixture
def channel(configuration: Configuration) -> Iterator[Channel]:
    with open_channel(configuration) as opened:
        yield opened


@pytest.fixture
def rest(configuration: Configuration) -> Iterator[RestClient]:
    assert configuration.base_url is not None
    with RestClient(configuration.base_url) as opened:
        yield opened


@pytest.fixture
def tasks(channel: Channel) -> task_service_pb2_grpc.TaskServiceStub:
    return task_service_pb2_grpc.TaskServiceStub(channel)


def start_workflow(base_url: str, task_type: str, task_input: dict[str, object]) -> str:
    """Start a workflow of one task by REST, as a user of the UI would: integers stay integers. Its id."""
    template = {name: f"${{workflow.input.{name}}}" for name in task_input}
    definition = {
        "name": task_type,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "t@example.com",
        "timeoutSeconds": 0,
        "tasks": [{"name": task_type, "taskReferenceName": "t", "type": "SIMPLE", "inputParameters": template}],
    }
    body = {"name": task_type, "version": 1, "input": task_input, "workflowDef": definition}
    request = urllib.request.Request(
        f"{base_url}/workflow", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


def test_an_unknown_task(tasks: task_service_pb2_grpc.TaskServiceStub, real_server: Address) -> None:
    with pytest.raises(NotFoundError) as caught:
        tasks.GetTask(task_service_pb2.GetTaskRequest(task_id="nope"))
    assert caught.value.code is CODE.NOT_FOUND
    assert str(caught.value).startswith(
        f"TaskService/GetTask at {real_server.target}: No such task found by id=nope [NOT_FOUND]. Check "
    )


def test_an_unknown_workflow_is_told_by_the_trailer(channel: Channel) -> None:
    stub = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
    with pytest.raises(NotFoundError) as caught:
        stub.GetWorkflowStatus(workflow_service_pb2.GetWorkflowStatusRequest(workflow_id="nope"))
    assert caught.value.code is CODE.INTERNAL
    assert caught.value.exception_class == "NotFoundException"
    assert caught.value.details == "No such workflow found by id: nope"


def test_an_update_without_ids(tasks: task_service_pb2_grpc.TaskServiceStub) -> None:
    with pytest.raises(InvalidRequestError, match="Task ID cannot be null or empty") as caught:
        tasks.UpdateTask(task_service_pb2.UpdateTaskRequest())
    assert caught.value.exception_class == "ConstraintViolationException"


def test_an_invalid_definition_fails_without_a_reason(channel: Channel) -> None:
    stub = metadata_service_pb2_grpc.MetadataServiceStub(channel)
    with pytest.raises(UnknownServerError, match="mostly the request is not valid") as caught:
        stub.CreateTasks(metadata_service_pb2.CreateTasksRequest(defs=[{"name": ""}]))
    assert (caught.value.code, caught.value.details) == (CODE.UNKNOWN, "Application error processing RPC")


def test_a_poll_longer_than_the_server_allows(channel: Channel) -> None:
    request = task_service_pb2.BatchPollRequest(task_type="none", count=1, timeout=5001)
    with pytest.raises(InvalidRequestError, match="longpoll timeout cannot be longer than 5000ms") as caught:
        list(raw_stream(channel, methods.BATCH_POLL)(request.SerializeToString()))
    assert caught.value.code is CODE.INVALID_ARGUMENT


def test_a_unary_poll_of_an_empty_queue(tasks: task_service_pb2_grpc.TaskServiceStub) -> None:
    with pytest.raises(TransientError, match="unary Poll of an empty queue") as caught:
        tasks.Poll(task_service_pb2.PollRequest(task_type=f"empty-{uuid.uuid4()}"))
    assert caught.value.code is CODE.CANCELLED


def test_a_request_over_four_mebibytes(channel: Channel) -> None:
    with pytest.raises(MessageTooLargeError, match="gRPC message exceeds maximum size 4194304") as caught:
        raw_unary(channel, methods.UPDATE_TASK)(bytes(4_194_305))
    assert caught.value.code is CODE.RESOURCE_EXHAUSTED


def test_asyncio_calls_get_the_same_errors(configuration: Configuration) -> None:
    async def use() -> None:
        async with open_aio_channel(configuration) as channel:
            update = raw_aio_unary(channel, methods.UPDATE_TASK)
            request = task_service_pb2.UpdateTaskRequest(
                result={"task_id": "nope", "workflow_instance_id": "nope", "status": "COMPLETED"}
            )
            with pytest.raises(NotFoundError) as caught:
                await update(request.SerializeToString())
            assert caught.value.exception_class == "NotFoundException"
            with pytest.raises(MessageTooLargeError):
                await update(bytes(4_194_305))

    asyncio.run(use())


def test_nobody_at_the_port() -> None:
    with (
        open_channel(Configuration("", target="localhost:1")) as channel,
        pytest.raises(UnavailableError, match="and that localhost:1 is its gRPC port"),
    ):
        raw_unary(channel, methods.GET_TASK)(b"")


def test_the_rest_port_taken_for_the_grpc_port(real_server: Address) -> None:
    rest_port = real_server.base_url.removesuffix("/api").rpartition(":")[2]
    with (
        open_channel(Configuration("", target=f"localhost:{rest_port}")) as channel,
        pytest.raises(UnavailableError, match="mostly it is the server's REST port"),
    ):
        raw_unary(channel, methods.GET_TASK)(b"")


def test_the_grpc_port_taken_for_the_rest_port(real_server: Address) -> None:
    with RestClient(real_server.target) as rest, pytest.raises(UnavailableError, match="not speak HTTP/1"):
        rest.version()


def test_a_task_with_an_integer_comes_by_rest_only(
    rest: RestClient, tasks: task_service_pb2_grpc.TaskServiceStub
) -> None:
    task_type = f"integers-{uuid.uuid4()}"
    workflow_id = start_workflow(rest.base_url, task_type, {"x": 7, "y": 1.5})

    (pending,) = rest.pending_tasks(task_type)
    assert (pending["workflowInstanceId"], pending["status"]) == (workflow_id, "SCHEDULED")
    assert rest.get_task(pending["taskId"]) == pending
    request = task_service_pb2.BatchPollRequest(task_type=task_type, count=1, timeout=1000, worker_id="grpc-worker")
    with pytest.raises(UnmappablePayloadError, match="JSON integer"):
        list(tasks.BatchPoll(request))
    with pytest.raises(UnmappablePayloadError) as caught:
        tasks.GetTask(task_service_pb2.GetTaskRequest(task_id=pending["taskId"]))
    assert caught.value.exception_class == "ClassCastException"

    # The failed poll has taken the task off the queue; REST finds it, and its integer is still one.
    assert rest.poll_batch(task_type, "rest-worker", None, 1, 100) == []
    (stranded,) = rest.pending_tasks(task_type)
    assert (stranded["status"], stranded["workerId"]) == ("IN_PROGRESS", "grpc-worker")
    assert stranded["inputData"] == {"x": 7, "y": 1.5}
    assert type(stranded["inputData"]["x"]) is int


def test_polling_by_rest(rest: RestClient) -> None:
    task_type = f"rest poll é {uuid.uuid4()}"
    start_workflow(rest.base_url, task_type, {"big": 9007199254740993})
    (task,) = rest.poll_batch(task_type, "worker", None, 1, 1000)
    assert (task["inputData"], task["workerId"]) == ({"big": 9007199254740993}, "worker")
    assert rest.poll_batch(task_type, "worker", None, 1, -1) == []


def test_what_rest_refuses(rest: RestClient) -> None:
    with pytest.raises(InvalidRequestError, match="more than 5 seconds"):
        rest.poll_batch("none", "worker", None, 1, 5001)
    with pytest.raises(InvalidRequestError, match="names that contain a slash"):
        rest.pending_tasks("a/b")
    assert rest.get_task("nope") is None
    with RestClient(f"{rest.base_url}/wrong") as wrong, pytest.raises(ServerError, match="leads to the server's"):
        wrong.get_task("nope")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", rest.version())
