"""Tasks that are not done yet and come back later."""

from __future__ import annotations

import dataclasses
import pickle
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_workers import Polling, on_every_executor
from executor_bench import Bench
from google.protobuf import struct_pb2
from scripted_server import ScriptedServer, a_task

from conductor_grpc import (
    Configuration,
    TaskInProgress,
    TaskPoller,
    TaskResultStatus,
    WorkerDefinitionError,
    WorkerInterface,
    current_task,
    worker_task,
)
from conductor_grpc.payload.external.filesystem import FilesystemPayloadStorage
from conductor_grpc.pb.model import task_pb2, taskresult_pb2
from conductor_grpc.testing import call_worker
from conductor_grpc.worker import Task, TaskContext, run_to_wire, run_worker
from conductor_grpc.worker.external_payload import ExternalPayloads

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass
class Job:
    number: int


class Returning(WorkerInterface):
    def __init__(self, value: object) -> None:
        super().__init__("work")
        self.value = value

    def execute(self, task: Task) -> Any:  # noqa: ARG002
        return self.value


def returning(value: object) -> WorkerInterface:
    return Returning(value)


@pytest.mark.parametrize("seconds", [0, -1, 1.5, True, "5", None, 2**31])
def test_the_delay_is_a_whole_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=f"callback_after_seconds={seconds!r}, expected a whole number"):
        TaskInProgress(seconds)


@pytest.mark.parametrize("output", ["half", 5, [1], 0])
def test_the_output_is_a_mapping(output: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match="expected a dict or a dataclass"):
        TaskInProgress(1, output)


def test_a_wrong_one_fails_the_task_with_what_was_expected_and_is_not_retried() -> None:
    @worker_task("work")
    def work() -> TaskInProgress:
        return TaskInProgress(0.5)  # type: ignore[arg-type]

    result = call_worker(work)
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert (
        "callback_after_seconds=0.5, expected a whole number of seconds of at least 1" in result.reason_for_incompletion
    )


def test_it_is_frozen_and_pickles() -> None:
    one = TaskInProgress(5, {"a": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.callback_after_seconds = 6  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("output", "left"),
    [
        (None, {"earlier": 1}),
        ({}, {}),
        ({"job": 7}, {"job": 7}),
        (Job(7), {"number": 7}),
    ],
    ids=["kept", "cleared", "replaced", "of a dataclass"],
)
def test_the_output_replaces_the_earlier_one_as_a_whole(output: Any, left: dict[str, Any]) -> None:
    result = call_worker(returning(TaskInProgress(5, output)), output_data={"earlier": 1})
    assert (result.status, result.callback_after_seconds) == (TaskResultStatus.IN_PROGRESS, 5)
    assert result.output_data == left


def test_an_output_without_json_form_fails_the_task() -> None:
    result = call_worker(returning(TaskInProgress(5, {"a": object()})))
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert result.reason_for_incompletion.startswith("PayloadEncodeError: output.a")


def test_a_large_output_that_is_kept_stays_where_it_is(tmp_path: Path) -> None:
    """In the external storage, and is not sent or stored again."""
    (tmp_path / "there.json").write_text('{"large": "x"}')
    external = ExternalPayloads(FilesystemPayloadStorage(tmp_path), 1_000, 2_000, 4_000)
    task = Task(task_id="t", workflow_instance_id="w", external_output_payload_storage_path="there.json")
    seen = []

    class Looking(Returning):
        def execute(self, task: Task) -> Any:
            assert current_task().task is task
            seen.append(task.output_data)
            return self.value

    result, _ = run_to_wire(Looking(TaskInProgress(5)), task, "me", external=external, context=TaskContext(task))
    assert seen == [{"large": "x"}]
    assert (result.output_data, result.external_output_payload_storage_path) == ({}, "there.json")


@pytest.mark.feature("conductor-python: yield and come back")
def test_a_task_comes_back_with_what_it_left_whatever_runs_it() -> None:
    workers = on_every_executor(Polling)
    with Bench(*workers) as bench:
        runs = [bench.start(worker) for worker in workers]
        for run in runs:
            turns, keys = run.assert_completed(timeout=60).output["it"]  # type: ignore[misc]
            assert [turn[0] for turn in turns] == [1, 2, 3], "poll counts"
            assert {turn[1] for turn in turns} == {1}, "it is the same attempt"
            assert {turn[2] for turn in turns} == {f"{run.workflow_id}/it/0"}
            assert keys == ["turn 2", "turns"], "what the first turn left is replaced"


def poller_at(server: ScriptedServer, worker: WorkerInterface) -> TaskPoller:
    return TaskPoller([worker], Configuration("", target=server.target, poll_wait_ms=100, cancellation_check=None))


@pytest.mark.parametrize("with_whom", ["another worker", "nobody", "us"])
def test_one_whose_answer_is_lost_is_repeated_only_while_the_task_is_ours(with_whom: str) -> None:
    """Or it would take the task from the worker that has it by then."""
    looked = threading.Event()
    calls = 0

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone, and perhaps it was applied")

    with ScriptedServer() as server:
        server.update = update
        output = {"job": struct_pb2.Value(number_value=7)}

        def get(task_id: str) -> task_pb2.Task:
            looked.set()
            task = a_task(task_id, output_data=output, worker_id=server.polls[0].worker_id)
            task.status = task_pb2.Task.SCHEDULED if with_whom == "nobody" else task_pb2.Task.IN_PROGRESS
            if with_whom == "another worker":
                task.worker_id, task.poll_count = "another", 2
            return task

        server.get = get
        with poller_at(server, returning(TaskInProgress(5, {"job": 7}))) as poller:
            server.add(a_task("a"))
            assert looked.wait(20)
            if with_whom == "us":
                (sent,) = server.wait_for_updates(1)
                assert (sent.callback_after_seconds, sent.status) == (5, taskresult_pb2.TaskResult.IN_PROGRESS)
            poller.stop()
    assert calls == (2 if with_whom == "us" else 1)


@worker_task("work")
def function(output: dict[str, Any] | None = None) -> TaskInProgress:
    return TaskInProgress(5, output)


@worker_task("work")
async def coroutine(output: dict[str, Any] | None = None) -> TaskInProgress:
    return TaskInProgress(5, output)


@worker_task("work", executor="native")
def native(output: dict[str, Any] | None = None) -> TaskInProgress:
    return TaskInProgress(5, output)


@pytest.mark.parametrize("worker", [function, coroutine, native], ids=["function", "coroutine", "native"])
def test_a_decorated_function_may_return_one(worker: WorkerInterface) -> None:
    for inputs, left in (({}, {"earlier": 1}), ({"output": {"job": 7}}, {"job": 7})):
        result = call_worker(worker, inputs, output_data={"earlier": 1})
        assert (result.status, result.callback_after_seconds) == (TaskResultStatus.IN_PROGRESS, 5)
        assert result.output_data == left


def test_run_worker_makes_one_of_it() -> None:
    task = Task(task_id="t", workflow_instance_id="w", output_data={"kept": 1})
    result = run_worker(returning(TaskInProgress(7)), task, "me")
    assert (result.task_id, result.worker_id, result.callback_after_seconds) == ("t", "me", 7)
    assert result.output_data == {"kept": 1}
