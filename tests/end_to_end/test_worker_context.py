"""What a worker can do with its context, on the real server."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from context_workers import Polling, Telling
from rest_user import RestUser
from waiting import wait_for

from conductor_grpc import (
    Configuration,
    TaskClient,
    TaskPoller,
    TaskStatus,
    WorkerInterface,
    WorkflowClient,
    current_task,
)
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.poller import lease as lease_module
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.methods import UPDATE_TASK, raw_unary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import ServerAddress

    from conductor_grpc import Task

pytestmark = pytest.mark.real_server


class Bench:
    """One task type of its own, the workflow around it, and clients."""

    def __init__(self, server: ServerAddress) -> None:
        self.configuration = Configuration(server.base_url, target=server.target, poll_wait_ms=500)
        self.user, self.name = RestUser(server.base_url), f"context_{uuid.uuid4().hex[:8]}"
        self.user.register(self.name, self.name, {"value": "${workflow.input.value}"}, responseTimeoutSeconds=20)
        self.tasks, self.workflows = TaskClient(self.configuration), WorkflowClient(self.configuration)

    def task(self, workflow_id: str) -> Task:
        return self.workflows.get(workflow_id).tasks[-1]

    def logs(self, workflow_id: str) -> list[str]:
        return [each.log for each in self.tasks.logs(self.task(workflow_id).task_id)]


@pytest.fixture
def bench(real_server: ServerAddress) -> Iterator[Bench]:
    bench = Bench(real_server)
    with bench.tasks, bench.workflows:
        yield bench


@pytest.mark.feature("conductor-python: yield and come back")
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_worker_that_polls_something_three_times(bench: Bench, executor: Any) -> None:
    with TaskPoller([Polling(bench.name, executor=executor)], bench.configuration):
        began = time.monotonic()
        workflow = bench.user.wait_until_closed(bench.user.start(bench.name), 40)
    assert time.monotonic() - began >= 2, "it was asked for a second each time"
    (task,) = workflow["tasks"]
    assert (workflow["status"], task["status"], task["pollCount"], task["retryCount"]) == (
        "COMPLETED",
        "COMPLETED",
        3,
        0,
    )
    turns, keys = task["outputData"]["result"]
    assert [turn[:2] for turn in turns] == [[1, 1], [2, 1], [3, 1]]
    assert len({turn[2] for turn in turns}) == 1, "the idempotency key stays"
    assert keys == ["turn 2", "turns"], "the server replaces the output, it merges nothing"


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.feature("conductor-python: task context")
def test_progress_shows_while_the_task_runs_and_leaves_it_alone(bench: Bench, executor: Any, tmp_path: Path) -> None:
    with TaskPoller([Telling(bench.name, executor=executor)], bench.configuration):
        workflow_id = bench.user.start(bench.name, {"value": [str(tmp_path), "raise"]})
        wait_for(lambda: bool(bench.workflows.get(workflow_id).tasks), 20)
        wait_for(lambda: "two of three pages" in bench.logs(workflow_id))
        task = bench.task(workflow_id)
        assert (task.status, task.poll_count, task.output_data) == (TaskStatus.IN_PROGRESS, 1, {})
        (tmp_path / "go").touch()
        failed = bench.user.wait_until_closed(workflow_id, 40)["tasks"][0]
    assert (failed["status"], failed["outputData"]) == ("FAILED", {"pages": 2, "of": 3})


def test_a_task_that_is_handed_back_comes_again_with_its_progress(bench: Bench, tmp_path: Path) -> None:
    with TaskPoller([Telling(bench.name)], bench.configuration.with_changes(drain_timeout=0.0)) as poller:
        workflow_id = bench.user.start(bench.name, {"value": [str(tmp_path), ""]})
        wait_for((tmp_path / f"told-{bench.name}").exists)
        assert poller.stop().cancelled == 1
    (again,) = bench.tasks.batch_poll(bench.name, count=1, wait_ms=5000).tasks
    assert (again.workflow_instance_id, again.poll_count) == (workflow_id, 2)
    assert again.output_data == {"pages": 2, "of": 3}


def test_an_extension_carries_no_output_and_no_log(bench: Bench) -> None:
    """Which is why progress goes by AddLog: should this fail, there is a better way."""
    workflow_id = bench.workflows.start(bench.name, {})
    (task,) = bench.tasks.batch_poll(bench.name, count=1, wait_ms=5000, worker_id="me").tasks
    extension = taskresult_pb2.TaskResult(
        workflow_instance_id=workflow_id, task_id=task.task_id, worker_id="me", extend_lease=True
    )
    extension.output_data["pages"].number_value = 5
    extension.logs.add(log="in an extension", task_id=task.task_id, created_time=int(time.time() * 1000))
    with open_channel(bench.configuration) as channel:
        raw_unary(channel, UPDATE_TASK)(UpdateTaskRequest(result=extension).SerializeToString(), 10)
    assert (bench.task(workflow_id).output_data, bench.logs(workflow_id)) == ({}, [])


def test_the_lease_goes_up_again_when_it_was_extended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "SHARE", (0.02, 0.02))
    seen: list[float] = []
    risen = threading.Event()

    class Leased(WorkerInterface):
        def execute(self, task: Task) -> Any:
            end = time.monotonic() + 30
            while time.monotonic() < end and not risen.is_set():
                seen.append(current_task().lease_remaining or 0.0)
                if len(seen) > 1 and seen[-1] > seen[-2]:
                    risen.set()
                time.sleep(0.01)
            result = self.get_task_result_from_task(task)
            result.status = "COMPLETED"  # type: ignore[assignment]
            return result

    with TaskPoller([Leased(bench.name)], bench.configuration):
        bench.user.start(bench.name)
        assert risen.wait(30)
    assert max(seen) <= 20
