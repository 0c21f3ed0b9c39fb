"""Every one of the 42 RPCs of the four services, called through the clients against the real server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import urllib.request
import uuid
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.clients import (
    EventClient,
    MetadataClient,
    Registered,
    TaskClient,
    WorkflowClient,
    WorkflowStatus,
)
from conductor_grpc.configuration import Configuration
from conductor_grpc.definitions import load_definitions
from conductor_grpc.errors import (
    ClosedChannelError,
    ConflictError,
    DefinitionError,
    InvalidRequestError,
    NotFoundError,
    ServerError,
    UnknownServerError,
    UnmappablePayloadError,
    WaitTimeoutError,
)
from conductor_grpc.pb.services import (
    event_service_pb2,
    metadata_service_pb2,
    task_service_pb2,
    workflow_service_pb2,
)
from conductor_grpc.transport.channel import Channel, open_channel
from conductor_grpc.worker import TaskResult, TaskResultStatus, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.real_server

SERVICES = [
    each.services_by_name[name]
    for each, name in (
        (task_service_pb2.DESCRIPTOR, "TaskService"),
        (workflow_service_pb2.DESCRIPTOR, "WorkflowService"),
        (metadata_service_pb2.DESCRIPTOR, "MetadataService"),
        (event_service_pb2.DESCRIPTOR, "EventService"),
    )
]


class Recorded:
    """Multicallables of a channel that note the path of every call which the server answered."""

    def __init__(self, channel: Channel, answered: set[str]) -> None:
        self._channel = channel
        self._answered = answered

    def unary_unary(self, path: str) -> Callable[..., bytes]:
        call = self._channel.unary_unary(path)

        def recorded(request: bytes, timeout: float | None = None) -> bytes:
            answer = call(request, timeout)
            self._answered.add(path)
            return answer

        return recorded

    def unary_stream(self, path: str) -> Callable[..., Iterator[bytes]]:
        call = self._channel.unary_stream(path)

        def recorded(request: bytes, timeout: float | None = None) -> Iterator[bytes]:
            yield from call(request, timeout)
            self._answered.add(path)

        return recorded


@dataclasses.dataclass
class Clients:
    metadata: MetadataClient
    workflow: WorkflowClient
    task: TaskClient
    event: EventClient
    answered: set[str]
    base_url: str

    def start_by_rest(self, name: str, payload: dict[str, object]) -> str:
        request = urllib.request.Request(
            f"{self.base_url}/workflow/{name}",
            data=json.dumps(payload).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def complete(self, task_type: str, **output: object) -> str:
        """Polls one task, completes it and returns its id."""
        task = self.take(task_type)
        self.task.update(TaskResult(task.workflow_instance_id, task.task_id, TaskResultStatus.COMPLETED, dict(output)))
        return task.task_id

    def take(self, task_type: str):
        (task,) = self.task.batch_poll(task_type, 1, wait_ms=5000).tasks
        return task

    def fail(self, task_type: str, status: TaskResultStatus) -> None:
        task = self.take(task_type)
        self.task.update(TaskResult(task.workflow_instance_id, task.task_id, status))


@pytest.fixture(scope="module")
def clients(real_server) -> Iterator[Clients]:
    configuration = Configuration(real_server.base_url, target=real_server.target, worker_id="clients-test")
    answered: set[str] = set()
    with contextlib.ExitStack() as stack:
        recorded = Recorded(stack.enter_context(open_channel(configuration)), answered)
        made = [
            stack.enter_context(each(configuration, channel=recorded))
            for each in (MetadataClient, WorkflowClient, TaskClient, EventClient)
        ]
        yield Clients(*made, answered, real_server.base_url)


@pytest.fixture
def name() -> str:
    return f"clients_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def two_steps(clients: Clients, name: str) -> str:
    """A workflow of two tasks, `NAME_a` then `NAME_b`, registered."""
    clients.metadata.register_tasks([{"name": f"{name}_{step}", "retryCount": 0} for step in "ab"])
    clients.metadata.register_workflow(
        {
            "name": name,
            "tasks": [
                {
                    "name": f"{name}_{step}",
                    "taskReferenceName": step,
                    "inputParameters": {"x": "${workflow.input.x}"},
                }
                for step in "ab"
            ],
            "outputParameters": {"sum": "${b.output.sum}"},
        }
    )
    return name


def test_a_workflow_from_start_to_end(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(
        two_steps, {"x": 1, "y": [None, "é", {"z": 0.5}]}, version=1, correlation_id="c1", priority=7
    )
    assert clients.workflow.running(two_steps) == [workflow_id]
    first_id = clients.complete(f"{two_steps}_a")
    clients.complete(f"{two_steps}_b", sum=3)
    ended = clients.workflow.wait(workflow_id, timeout=20)
    assert (ended.name, ended.version, ended.status) == (two_steps, 1, WorkflowStatus.COMPLETED)
    assert (ended.correlation_id, ended.priority, ended.output) == ("c1", 7, {"sum": 3})
    assert ended.input == {"x": 1, "y": [None, "é", {"z": 0.5}]}
    assert [task.reference_task_name for task in ended.tasks] == ["a", "b"]
    assert ended.task("a").task_id == first_id
    assert ended.definition["tasks"][0]["inputParameters"] == {"x": "${workflow.input.x}"}
    assert clients.workflow.status(workflow_id) is WorkflowStatus.COMPLETED
    assert clients.workflow.get(workflow_id, include_tasks=False).tasks == ()
    assert clients.task.get(first_id).status is TaskStatus.COMPLETED


def test_running_by_time(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    assert clients.workflow.running(two_steps, start_time=1, end_time=2**41) == [workflow_id]
    assert clients.workflow.running(two_steps, start_time=1, end_time=2) == []


def test_start_and_wait_gives_up_and_says_how_it_stands(clients: Clients, two_steps: str) -> None:
    with pytest.raises(WaitTimeoutError, match="RUNNING after") as caught:
        clients.workflow.start_and_wait(two_steps, {"x": 1}, timeout=0.2)
    assert clients.workflow.status(caught.value.workflow_id) is WorkflowStatus.RUNNING


def test_a_workflow_that_is_not_registered_can_run(clients: Clients, name: str) -> None:
    definition = {
        "name": name,
        "tasks": [
            {
                "name": "inline",
                "taskReferenceName": "inline",
                "type": "INLINE",
                "inputParameters": {"evaluatorType": "javascript", "expression": "7", "keep": "${workflow.input.k}"},
            }
        ],
    }
    # INLINE makes a JSON integer of its result, so this also reads a workflow that gRPC cannot carry.
    ended = clients.workflow.start_and_wait(name, {"k": 1}, workflow_definition=definition, timeout=20)
    assert ended.output == {"result": 7}
    assert ended.name == name


def test_correlation_ids(clients: Clients, two_steps: str) -> None:
    one = clients.workflow.start(two_steps, {"x": 1}, correlation_id="one")
    two = clients.workflow.start(two_steps, {"x": 1}, correlation_id="two")
    clients.workflow.terminate(two)
    found = clients.workflow.get_by_correlation_ids(two_steps, ["one", "two", "none"], include_tasks=True)
    assert [each.workflow_id for each in found["one"]] == [one]
    assert [task.reference_task_name for task in found["one"][0].tasks] == ["a"]
    assert not found.get("two")
    assert not found.get("none")
    closed = clients.workflow.get_by_correlation_ids(two_steps, ["two"], include_closed=True)
    assert [each.status for each in closed["two"]] == [WorkflowStatus.TERMINATED]


def test_correlation_ids_of_workflows_with_integers(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.start_by_rest(f"{two_steps}?correlationId=int", {"x": 7})
    found = clients.workflow.get_by_correlation_ids(two_steps, ["int"])
    assert [(each.workflow_id, each.input) for each in found["int"]] == [(workflow_id, {"x": 7})]


def test_pause_resume_skip_and_decide(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    clients.workflow.pause(workflow_id)
    assert clients.workflow.status(workflow_id) is WorkflowStatus.PAUSED
    clients.workflow.resume(workflow_id)
    with pytest.raises(ConflictError):
        clients.workflow.resume(workflow_id)
    clients.workflow.skip_task(workflow_id, "b", task_input={"x": 2}, task_output={"sum": 5})
    clients.complete(f"{two_steps}_a")
    clients.workflow.decide(workflow_id)
    ended = clients.workflow.wait(workflow_id, timeout=20)
    assert ended.task("b").status is TaskStatus.SKIPPED
    assert ended.output == {"sum": 5}


def test_reset_callbacks_brings_a_postponed_task_back(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    task = clients.take(f"{two_steps}_a")
    postponed = TaskResult(workflow_id, task.task_id, TaskResultStatus.IN_PROGRESS, callback_after_seconds=600)
    clients.task.update(postponed)
    assert clients.task.batch_poll(f"{two_steps}_a", 1, wait_ms=-1).tasks == ()
    clients.workflow.reset_callbacks(workflow_id)
    assert clients.take(f"{two_steps}_a").task_id == task.task_id


def test_retry_restart_and_rerun(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1}, correlation_id="keep me")
    clients.fail(f"{two_steps}_a", TaskResultStatus.FAILED)
    assert clients.workflow.status(workflow_id) is WorkflowStatus.FAILED
    clients.workflow.retry(workflow_id)
    with pytest.raises(ServerError, match="running"):
        clients.workflow.retry(workflow_id)
    clients.complete(f"{two_steps}_a")
    clients.complete(f"{two_steps}_b", sum=1)
    clients.workflow.restart(workflow_id, use_latest_definitions=True)
    clients.complete(f"{two_steps}_a")
    second = clients.complete(f"{two_steps}_b", sum=2)
    assert clients.workflow.wait(workflow_id, timeout=20).output == {"sum": 2}

    assert clients.workflow.rerun(workflow_id, second) == workflow_id
    again = clients.take(f"{two_steps}_b")
    assert again.input_data == {"x": 1}
    rerun = clients.workflow.get(workflow_id)
    assert (rerun.status, rerun.input, rerun.correlation_id) == (WorkflowStatus.RUNNING, {"x": 1}, "keep me")


def test_rerun_takes_what_is_given(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    clients.complete(f"{two_steps}_a")
    second = clients.complete(f"{two_steps}_b", sum=1)
    clients.workflow.rerun(workflow_id, second, task_input={"x": 9}, workflow_input={"x": 8}, correlation_id="new")
    assert clients.take(f"{two_steps}_b").input_data == {"x": 9}
    rerun = clients.workflow.get(workflow_id)
    assert (rerun.input, rerun.correlation_id) == ({"x": 8}, "new")


def test_a_rerun_needs_a_task_of_the_workflow(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    with pytest.raises(ValueError, match="has no task with the id 'other'"):
        clients.workflow.rerun(workflow_id, "other")
    with pytest.raises(ValueError, match="from_task_id is empty"):
        clients.workflow.rerun(workflow_id, "")


def test_terminate_and_remove(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    clients.workflow.terminate(workflow_id, "not wanted")
    ended = clients.workflow.get(workflow_id)
    assert (ended.status, ended.reason_for_incompletion) == (WorkflowStatus.TERMINATED, "not wanted")
    assert ended.task("a").status is TaskStatus.CANCELED
    clients.workflow.remove(workflow_id, archive=False)
    with pytest.raises(NotFoundError):
        clients.workflow.get(workflow_id)


def test_an_unknown_workflow(clients: Clients, name: str) -> None:
    with pytest.raises(NotFoundError, match=name):
        clients.workflow.start(name)
    with pytest.raises(NotFoundError):
        clients.workflow.wait(name, timeout=5)


def test_a_workflow_with_integers_is_read_by_rest(clients: Clients, two_steps: str, real_server) -> None:
    workflow_id = clients.start_by_rest(two_steps, {"x": 7, "big": 2**60})
    workflow = clients.workflow.get(workflow_id)
    assert workflow.input == {"x": 7, "big": 2**60}
    assert (workflow.name, workflow.version, workflow.status) == (two_steps, 1, WorkflowStatus.RUNNING)
    task = clients.task.get(workflow.task("a").task_id)
    assert (task.input_data, task.status) == ({"x": 7}, TaskStatus.SCHEDULED)
    assert workflow.definition["name"] == two_steps
    with (
        WorkflowClient(Configuration("", target=real_server.target)) as without_rest,
        pytest.raises(UnmappablePayloadError, match="base_url"),
    ):
        without_rest.get(workflow_id)


def test_workflow_searches(clients: Clients, two_steps: str) -> None:
    started = {clients.workflow.start(two_steps, {"x": 1}) for _ in range(3)}
    query = f"workflowType={two_steps} AND status IN (RUNNING)"
    page = clients.workflow.search(query, sort=["startTime:ASC"], size=2)
    assert (page.total_hits, len(page.results)) == (3, 2)
    rest = clients.workflow.search(query, sort="startTime:ASC", start=2, size=2)
    assert {each.workflow_id for each in page.results + rest.results} == started
    assert {(each.workflow_type, each.status) for each in page.results} == {(two_steps, WorkflowStatus.RUNNING)}
    assert {each.workflow_id for each in clients.workflow.search_v2(query).results} == started
    for _ in started:
        clients.complete(f"{two_steps}_a")  # a task is in the index after its first update
    by_tasks = f"taskType={two_steps}_a AND status=COMPLETED"
    assert {each.workflow_id for each in clients.workflow.search_by_tasks(by_tasks).results} == started
    whole = clients.workflow.search_by_tasks_v2(by_tasks)
    assert whole.total_hits == 3
    assert {each.input["x"] for each in whole.results} == {1}
    with pytest.raises(ValueError, match="size >= 1"):
        clients.workflow.search(size=0)
    with pytest.raises(InvalidRequestError, match="5000"):
        clients.workflow.search(size=5001)


def test_task_searches(clients: Clients, two_steps: str) -> None:
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    clients.complete(f"{two_steps}_a", done=True)  # a task is in the index after its first update
    query = f"taskType={two_steps}_a"
    (summary,) = clients.task.search(query).results
    assert (summary.workflow_id, summary.status) == (workflow_id, TaskStatus.COMPLETED)
    (task,) = clients.task.search_v2(query).results
    assert (task.task_id, task.output_data) == (summary.task_id, {"done": True})


def test_polling_one_by_one(clients: Clients, two_steps: str) -> None:
    assert clients.task.poll(f"{two_steps}_a") is None
    workflow_id = clients.workflow.start(two_steps, {"x": 1})
    task = clients.task.poll(f"{two_steps}_a")
    assert task is not None
    assert (task.workflow_instance_id, task.worker_id) == (workflow_id, "clients-test")


@pytest.mark.feature("Domains")
def test_polling_of_a_domain(clients: Clients, two_steps: str) -> None:
    clients.workflow.start(two_steps, {"x": 1}, task_to_domain={"*": "east"})
    assert clients.task.batch_poll(f"{two_steps}_a", 1, wait_ms=-1).tasks == ()
    (task,) = clients.task.batch_poll(f"{two_steps}_a", 1, domain="east").tasks
    assert task.domain == "east"


def test_a_batch_that_an_integer_ends(clients: Clients, two_steps: str) -> None:
    clients.workflow.start(two_steps, {"x": 1}, priority=1)
    clients.start_by_rest(two_steps, {"x": 7})
    polled = clients.task.batch_poll(f"{two_steps}_a", 2, wait_ms=5000)
    assert [task.input_data for task in polled.tasks] == [{"x": 1}]
    assert isinstance(polled.error, UnmappablePayloadError)
    clients.start_by_rest(two_steps, {"x": 7})
    with pytest.raises(UnmappablePayloadError):
        clients.task.batch_poll(f"{two_steps}_a", 1, wait_ms=5000)


def test_logs(clients: Clients, two_steps: str) -> None:
    clients.workflow.start(two_steps, {"x": 1})
    task = clients.take(f"{two_steps}_a")
    clients.task.add_log(task.task_id, "half way")
    (entry,) = clients.task.logs(task.task_id)
    assert entry.log == "half way"
    assert entry.created_time > 1_700_000_000_000
    assert clients.task.logs("unknown") == []


def test_queues(clients: Clients, two_steps: str) -> None:
    clients.workflow.start(two_steps, {"x": 1})
    queue = f"{two_steps}_a"
    assert clients.task.queue_sizes([queue, "unknown"]) == {queue: 1, "unknown": 0}
    assert clients.task.queue_info()[queue] == 1
    (shard,) = clients.task.queue_all_info()[queue].values()
    assert (shard.size, shard.unacknowledged) == (1, 0)


def test_task_definitions(clients: Clients, name: str) -> None:
    clients.metadata.register_task({"name": name, "retryCount": 1, "inputTemplate": {"n": 3}})
    clients.metadata.register_task({"name": name, "retryCount": 2, "inputTemplate": {"n": 3}})
    stored = clients.metadata.get_task(name)
    assert (stored["retryCount"], stored["responseTimeoutSeconds"], stored["inputTemplate"]) == (2, 3600, {"n": 3})
    clients.metadata.update_task({**stored, "retryCount": 4})
    assert clients.metadata.get_task(name)["retryCount"] == 4
    clients.metadata.delete_task(name)
    with pytest.raises(NotFoundError):
        clients.metadata.get_task(name)
    with pytest.raises(UnknownServerError):
        clients.metadata.update_task({"name": name})


def test_registering_a_workflow_is_idempotent(clients: Clients, name: str) -> None:
    definition = {
        "name": name,
        "tasks": [{"name": "t", "taskReferenceName": "t", "inputParameters": {"n": 3, "s": "", "none": None}}],
        "inputTemplate": {"x": {}},
    }
    assert clients.metadata.register_workflow(definition) is Registered.CREATED
    assert clients.metadata.register_workflow(definition) is Registered.UNCHANGED
    changed = {**definition, "description": "new", "timeoutSeconds": 5}
    with pytest.raises(ConflictError, match=r"\$\.description, \$\.timeoutSeconds"):
        clients.metadata.register_workflow(changed)
    assert "description" not in clients.metadata.get_workflow(name, 1)
    assert clients.metadata.register_workflow(changed, overwrite=True) is Registered.UPDATED
    assert clients.metadata.register_workflow(changed) is Registered.UNCHANGED
    assert clients.metadata.get_workflow(name)["description"] == "new"


def test_a_workflow_registered_by_rest_is_the_same(clients: Clients, name: str) -> None:
    """Also one that gRPC cannot read back: it holds an integer."""
    definition = {"name": name, "tasks": [{"name": "t", "taskReferenceName": "t", "inputParameters": {"n": 3}}]}
    request = urllib.request.Request(
        f"{clients.base_url}/metadata/workflow",
        data=json.dumps(definition).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()
    assert clients.metadata.register_workflow(definition) is Registered.UNCHANGED
    assert clients.metadata.get_workflow(name, 1)["createTime"] > 0


def test_what_the_server_alone_can_refuse(clients: Clients, name: str) -> None:
    bad = {
        "name": name,
        "tasks": [{"name": "w", "taskReferenceName": "w", "type": "WAIT", "inputParameters": {"duration": "soon"}}],
    }
    for call in (
        clients.metadata.validate_workflow,
        clients.metadata.register_workflow,
    ):
        with pytest.raises(InvalidRequestError, match="refuses workflow"):
            call(bad)
    with pytest.raises(NotFoundError):
        clients.metadata.get_workflow(name)


def test_what_is_refused_before_it_is_sent(clients: Clients, name: str) -> None:
    with pytest.raises(DefinitionError, match=r"\$\[1\]\.name"):
        clients.metadata.register_tasks([{"name": name}, {"name": ""}])
    with pytest.raises(NotFoundError):
        clients.metadata.get_task(name)


def test_validating_stores_nothing(clients: Clients, name: str) -> None:
    clients.metadata.validate_workflow({"name": name, "tasks": [{"name": "t", "taskReferenceName": "t"}]})
    with pytest.raises(NotFoundError):
        clients.metadata.get_workflow(name)


def test_registering_a_folder(clients: Clients, name: str, tmp_path) -> None:
    task = {"name": f"{name}_t"}
    workflow = {"name": name, "tasks": [{"name": f"{name}_t", "taskReferenceName": "t"}]}
    (tmp_path / "all.json").write_text(json.dumps([workflow, task]))
    done = clients.metadata.register(load_definitions(tmp_path))
    assert done == {f"{name}_t": "registered", f"{name}:1": "created"}
    assert clients.metadata.get_task(f"{name}_t")["retryCount"] == 3


def test_event_handlers(clients: Clients, name: str) -> None:
    event = f"conductor:{name}:t"
    handler = {
        "name": name,
        "event": event,
        "active": False,
        "condition": "true",
        "actions": [
            {"action": "START_WORKFLOW", "startWorkflow": {"name": "w", "version": 2, "input": {"n": 1, "m": {}}}},
            {"action": "COMPLETE_TASK", "completeTask": {"workflowId": "${workflowId}", "taskRefName": "t"}},
        ],
    }
    clients.event.add(handler)
    with pytest.raises(UnknownServerError):
        clients.event.add(handler)
    assert clients.event.for_event(event) == []
    (stored,) = clients.event.for_event(event, active_only=False)
    assert stored["actions"][0]["startWorkflow"]["input"] == {"n": 1, "m": {}}
    assert stored["actions"][1]["completeTask"]["taskRefName"] == "t"
    clients.event.update({**stored, "condition": "false"})
    (stored,) = [each for each in clients.event.all() if each["name"] == name]
    assert stored["condition"] == "false"
    clients.event.remove(name)
    assert clients.event.for_event(event, active_only=False) == []


def test_a_client_closes_its_own_channel_only(real_server) -> None:
    configuration = Configuration(real_server.base_url, target=real_server.target)
    own = TaskClient(configuration)
    own.close()
    own.close()
    with pytest.raises(ClosedChannelError):
        own.queue_info()
    with open_channel(configuration) as channel:
        TaskClient(configuration, channel=channel).close()
        assert TaskClient(configuration, channel=channel).queue_sizes(["x"]) == {"x": 0}


@pytest.mark.feature("conductor-python: clients")
def test_every_rpc_was_called(clients: Clients) -> None:
    """Must stay the last test of this file: it judges what the others have called."""
    declared = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
    assert len(declared) == 42
    assert declared - clients.answered == set()
