"""What the embedded server does outside strict mode, where it differs from the released server on purpose.

In strict mode the contract suite holds it to the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from conductor_grpc.clients import EventClient, MetadataClient, TaskClient, WorkflowClient
from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import ConflictError, ErrorKind, InvalidRequestError, NotFoundError
from conductor_grpc.pb.services import task_service_pb2, task_service_pb2_grpc
from conductor_grpc.server.embedded.server import EmbeddedServer
from conductor_grpc.transport.classify import classify
from conductor_grpc.worker import TaskResult, TaskResultStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SOON = 20.0
"""Seconds in which an answer must be there that would otherwise take a minute."""


class Clients:
    def __init__(self, target: str) -> None:
        configuration = Configuration(target=target, worker_id="w")
        self.task = TaskClient(configuration)
        self.workflow = WorkflowClient(configuration)
        self.metadata = MetadataClient(configuration)
        self.event = EventClient(configuration)
        self.channel = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        self.raw = task_service_pb2_grpc.TaskServiceStub(self.channel)

    def close(self) -> None:
        for each in (self.task, self.workflow, self.metadata, self.event, self.channel):
            each.close()

    def define(self, name: str, **inputs: object) -> None:
        """A workflow of one task, both with this name."""
        self.metadata.register_task({"name": name, "retryCount": 0})
        task = {"name": name, "taskReferenceName": name, "inputParameters": inputs}
        self.metadata.register_workflow({"name": name, "tasks": [task]})


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with EmbeddedServer() as server:
        clients = Clients(server.target)
        yield clients
        clients.close()


def test_a_poll_of_an_empty_queue_has_an_empty_answer(clients: Clients) -> None:
    answer = clients.raw.Poll(task_service_pb2.PollRequest(task_type="empty"))
    assert not answer.HasField("task")
    assert clients.task.poll("empty") is None


def test_a_batch_is_there_as_soon_as_there_is_one_task(clients: Clients) -> None:
    clients.define("one")
    clients.workflow.start("one")
    request = task_service_pb2.BatchPollRequest(task_type="one", count=10, timeout=60_000)
    (task,) = clients.raw.BatchPoll(request, timeout=SOON)
    assert task.task_type == "one"


def test_a_waiting_poll_gets_a_task_when_it_is_scheduled(clients: Clients) -> None:
    clients.define("later")
    poll = clients.raw.BatchPoll(
        task_service_pb2.BatchPollRequest(task_type="later", count=10, timeout=60_000), timeout=SOON
    )
    workflow_id = clients.workflow.start("later")
    assert [task.workflow_instance_id for task in poll] == [workflow_id]


def test_a_poll_that_was_given_up_takes_nothing(clients: Clients) -> None:
    clients.define("given_up")
    for _ in range(20):
        poll = clients.raw.BatchPoll(
            task_service_pb2.BatchPollRequest(task_type="given_up", count=1, timeout=60_000), timeout=SOON
        )
        poll.cancel()
        workflow_id = clients.workflow.start("given_up")
        (task,) = clients.task.batch_poll("given_up", 1, wait_ms=5000).tasks
        assert task.workflow_instance_id == workflow_id


def test_a_poll_may_wait_for_a_minute_and_no_longer(clients: Clients) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(clients.raw.BatchPoll(task_service_pb2.BatchPollRequest(task_type="t", timeout=60_001)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "longpoll timeout cannot be longer than 60000ms"


def test_integers_are_sent(clients: Clients) -> None:
    clients.define("version", number="${workflow.version}", text="v${workflow.version}")
    clients.workflow.start("version")
    (task,) = clients.task.batch_poll("version", 1, wait_ms=5000).tasks
    assert task.input_data == {"number": 1, "text": "v1"}


def test_a_request_of_more_than_4_mib_is_taken(clients: Clients) -> None:
    clients.define("large")
    workflow_id = clients.workflow.start("large")
    (task,) = clients.task.batch_poll("large", 1, wait_ms=5000).tasks
    result = TaskResult(workflow_id, task.task_id, TaskResultStatus.COMPLETED, {"large": "x" * (5 * MIB)})
    clients.task.update(result)
    assert clients.workflow.get(workflow_id).output["large"] == "x" * (5 * MIB)


def test_errors_have_the_code_that_says_what_is_wrong(clients: Clients) -> None:
    clients.define("known")
    for call, code in (
        (lambda: clients.workflow.get("unknown"), grpc.StatusCode.NOT_FOUND),
        (lambda: clients.workflow.pause("unknown"), grpc.StatusCode.NOT_FOUND),
        (lambda: clients.metadata.get_task("unknown"), grpc.StatusCode.NOT_FOUND),
        (lambda: clients.metadata.delete_task("unknown"), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.code is code
        assert "unknown" in caught.value.details


def test_an_operation_that_the_state_does_not_allow(clients: Clients) -> None:
    clients.define("ended")
    workflow_id = clients.workflow.start("ended")
    clients.workflow.terminate(workflow_id, "enough")
    with pytest.raises(ConflictError) as caught:
        clients.workflow.pause(workflow_id)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_second_event_handler_of_a_name(clients: Clients) -> None:
    action = {"action": "START_WORKFLOW", "startWorkflow": {"name": "w", "version": 1}}
    handler = {"name": "h", "event": "conductor:a:b", "actions": [action]}
    clients.event.add(handler)
    with pytest.raises(ConflictError) as caught:
        clients.event.add(handler)
    assert caught.value.code is grpc.StatusCode.ALREADY_EXISTS


def test_a_search_for_a_field_that_is_not_known_is_refused(clients: Clients) -> None:
    with pytest.raises(InvalidRequestError, match="no field 'type', it has taskId"):
        clients.task.search("task_type=x")


def test_a_search_that_finds_something(clients: Clients) -> None:
    clients.define("sought", text="${workflow.input.text}")
    workflow_id = clients.workflow.start("sought", {"text": "here"}, correlation_id="c")
    assert clients.task.search("taskType=sought").results == ()  # not before it was polled
    (task,) = clients.task.batch_poll("sought", 1, wait_ms=5000).tasks
    (summary,) = clients.task.search("taskType=sought AND status=IN_PROGRESS").results
    assert (summary.task_id, summary.input, summary.workflow_id) == (task.task_id, "{text=here}", workflow_id)
    (found,) = clients.task.search_v2("taskType=sought").results
    assert found.input_data == {"text": "here"}
    workflow = clients.workflow
    for page in (workflow.search("correlationId=c"), workflow.search_by_tasks("taskType=sought")):
        assert [each.workflow_id for each in page.results] == [workflow_id]
    for whole in (workflow.search_v2("correlationId=c"), workflow.search_by_tasks_v2("taskType=sought")):
        assert [each.input for each in whole.results] == [{"text": "here"}]


def test_an_unknown_status_number_is_refused(clients: Clients) -> None:
    request = task_service_pb2.UpdateTaskRequest()
    request.result.workflow_instance_id = request.result.task_id = "x"
    request.result.status = 99  # type: ignore[assignment]
    with pytest.raises(grpc.RpcError) as caught:
        clients.raw.UpdateTask(request)
    assert classify(caught.value) is ErrorKind.INVALID
    assert caught.value.details() == "Unexpected enum constant: UNRECOGNIZED"


def test_queues(clients: Clients) -> None:
    clients.define("queued")
    for _ in range(3):
        clients.workflow.start("queued")
    assert clients.task.queue_sizes(["queued", "unknown"]) == {"queued": 3, "unknown": 0}
    assert clients.task.queue_info()["queued"] == 3
    (shard,) = clients.task.queue_all_info()["queued"].values()
    assert (shard.size, shard.unacknowledged) == (3, 0)


def test_a_definition_that_only_the_real_server_can_run(clients: Clients) -> None:
    task = {"name": "h", "taskReferenceName": "h", "type": "HTTP", "inputParameters": {"uri": "http://x"}}
    with pytest.raises(InvalidRequestError, match=r"HTTP.*conductor-grpc server"):
        clients.metadata.register_workflow({"name": "http", "tasks": [task]})
