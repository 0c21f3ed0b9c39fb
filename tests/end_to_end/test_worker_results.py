"""What becomes of a worker's result on the real server."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import Configuration, MetadataClient, TaskClient, TaskResultStatus, WorkflowClient
from conductor_grpc.transport.rest import RestClient
from conductor_grpc.worker import Task, TaskResult, run_worker, worker_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Bench:
    """A task type of its own, and the clients to run one task of it."""

    def __init__(self, configuration: Configuration) -> None:
        self.type = f"worker_results_{uuid.uuid4().hex[:8]}"
        self.tasks = TaskClient(configuration)
        self.workflows = WorkflowClient(configuration)
        self.rest = RestClient(str(configuration.base_url), timeout=10)
        with MetadataClient(configuration) as metadata:
            metadata.register_task({"name": self.type, "retryCount": 0, "ownerEmail": "a@example.com"})
            step = {"name": self.type, "taskReferenceName": "step", "type": "SIMPLE"}
            step["inputParameters"] = {"x": "${workflow.input.x}"}  # type: ignore[assignment]
            metadata.register_workflow(
                {"name": self.type, "version": 1, "tasks": [step], "ownerEmail": "a@example.com"}
            )

    def poll(self, **inputs: Any) -> Task:
        self.workflows.start(self.type, inputs)
        (task,) = self.tasks.batch_poll(self.type, count=1, wait_ms=5000, worker_id="me").tasks
        return task

    def run(self, function: Callable[..., object], **inputs: Any) -> Task:
        """Runs the function on one task, and returns the task as the server has it then."""
        task = self.poll(**inputs)
        self.tasks.update(run_worker(worker_task(self.type)(function), task, "me"))
        return self.tasks.get(task.task_id)


@pytest.fixture
def bench(real_server: Any) -> Iterator[Bench]:
    bench = Bench(Configuration(real_server.base_url, target=real_server.target))
    with bench.tasks, bench.workflows, contextlib.closing(bench.rest):
        yield bench


def test_no_log_is_lost_and_their_order_is_kept(bench: Bench) -> None:
    def function() -> TaskResult:
        result = TaskResult(status=TaskResultStatus.COMPLETED)
        for number in range(25):
            result.log(f"line {number}")
        return result

    task = bench.run(function)
    logs = bench.tasks.logs(task.task_id)
    lines = "\n".join(entry.log for entry in logs).split("\n")
    # The server orders logs of the same millisecond as it likes, so the order is that of the times.
    assert sorted(line[line.index("line") :] for line in lines) == sorted(f"line {n}" for n in range(25))
    assert len(logs) == 10
    assert all(entry.created_time >= task.start_time for entry in logs)


def test_an_output_key_named_sub_workflow_id_survives(bench: Bench) -> None:
    assert bench.run(lambda: {"subWorkflowId": "mine", "other": 1}).output_data == {"subWorkflowId": "mine", "other": 1}


def test_an_exception_is_seen_by_the_users_of_the_ui(bench: Bench) -> None:
    def function() -> None:
        raise ValueError("no such thing")

    task = bench.run(function)
    assert task.status == "FAILED"
    assert task.reason_for_incompletion == "ValueError: no such thing"
    (log,) = bench.tasks.logs(task.task_id)
    assert 'raise ValueError("no such thing")' in log.log
    workflow = bench.workflows.get(task.workflow_instance_id)
    assert "ValueError: no such thing" in workflow.reason_for_incompletion


def test_a_reference_that_leads_nowhere_arrives_as_null(bench: Bench) -> None:
    def function(x: str = "default") -> str:
        return x

    assert bench.run(function).output_data == {"result": "default"}
    assert bench.run(function, x="given").output_data == {"result": "given"}


def test_an_ill_typed_input_fails_for_good(bench: Bench) -> None:
    def function(x: int) -> int:
        return x

    task = bench.run(function, x="seven")
    assert task.status == "FAILED_WITH_TERMINAL_ERROR"
    assert task.reason_for_incompletion == "InputError: x: expected int, got str 'seven'"


def test_an_input_in_external_storage_fails_and_does_not_run(bench: Bench) -> None:
    calls: list[object] = []
    task = bench.run(lambda x=None: calls.append(x), x="y" * 3_300_000)
    assert task.status == "FAILED_WITH_TERMINAL_ERROR"
    assert "external storage" in task.reason_for_incompletion
    assert calls == []


@pytest.mark.feature("conductor-python: yield and come back")
def test_in_progress_comes_back_with_its_output(bench: Bench) -> None:
    def function(task: Task) -> TaskResult:
        if task.poll_count == 1:
            return TaskResult(
                status=TaskResultStatus.IN_PROGRESS, callback_after_seconds=1, output_data={"position": 5}
            )
        return TaskResult(status=TaskResultStatus.COMPLETED, output_data=dict(task.output_data, done=True))

    first = bench.run(function)
    assert first.status == "SCHEDULED"
    (second,) = bench.tasks.batch_poll(bench.type, count=1, wait_ms=5000, worker_id="me").tasks
    assert second.task_id == first.task_id
    bench.tasks.update(run_worker(worker_task(bench.type)(function), second, "me"))
    assert bench.tasks.get(second.task_id).output_data == {"position": 5, "done": True}


def test_a_task_reads_the_same_by_rest_and_by_grpc(bench: Bench) -> None:
    task = bench.run(lambda x: {"x": x}, x="text")
    document = bench.rest.get_task(task.task_id)
    assert document is not None
    by_rest = Task.from_json(document)
    for field in ("task_id", "workflow_instance_id", "status", "input_data", "output_data", "task_def_name"):
        assert getattr(by_rest, field) == getattr(task, field), field
    assert by_rest.workflow_task == task.workflow_task
