"""`call_worker`: one worker, no server, and all that lies between the two on the wire."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import pytest

from conductor_grpc import (
    Cancellation,
    InputError,
    NonRetryableError,
    PayloadEncodeError,
    Task,
    TaskCancelledError,
    TaskResult,
    TaskResultStatus,
    WorkerDefinitionError,
    WorkerInterface,
    current_task,
    worker_task,
)
from conductor_grpc.testing import call_worker


@worker_task("seen")
def seen(**inputs: Any) -> dict[str, str]:
    return {name: f"{type(value).__name__} {value!r}" for name, value in inputs.items()}


@worker_task("task_as_it_came")
def task_as_it_came(task: Task) -> dict[str, object]:
    return {
        "type": task.task_type,
        "reference": task.reference_task_name,
        "ids": bool(task.task_id and task.workflow_instance_id),
        "retry": task.retry_count,
        "polled": task.poll_count,
        "before": task.output_data,
        "status": task.status,
    }


def test_inputs_arrive_as_over_the_wire() -> None:
    result = call_worker(seen, {"whole": 5.0, "part": 1.5, "day": datetime.date(2024, 2, 29), "pair": (1, None)})
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == {
        "whole": "int 5",
        "part": "float 1.5",
        "day": "str '2024-02-29'",
        "pair": "list [1, None]",
    }


def test_outputs_are_what_the_server_stores() -> None:
    @worker_task("t")
    def worker() -> dict[str, object]:
        return {"day": datetime.date(2024, 2, 29), "number": 3.0}

    result = call_worker(worker)
    assert result.output_data == {"day": "2024-02-29", "number": 3}
    assert isinstance(result.output_data["number"], int)


def test_a_task_is_made_up_around_the_input() -> None:
    assert call_worker(task_as_it_came).output_data == {
        "type": "task_as_it_came",
        "reference": "task_as_it_came",
        "ids": True,
        "retry": 0,
        "polled": 1,
        "before": {},
        "status": "IN_PROGRESS",
    }


def test_its_fields_can_be_given() -> None:
    result = call_worker(
        task_as_it_came, retry_count=2, poll_count=3, output_data={"done": 4.0}, workflow_instance_id="w"
    )
    assert result.output_data["retry"] == 2
    assert result.output_data["polled"] == 3
    assert result.output_data["before"] == {"done": 4}
    assert result.workflow_instance_id == "w"


def test_each_call_has_a_task_of_its_own() -> None:
    assert call_worker(seen).task_id != call_worker(seen).task_id


def test_a_class_is_called_too() -> None:
    class Worker(WorkerInterface):
        def execute(self, task: Task) -> TaskResult:
            result = self.get_task_result_from_task(task)
            result.log("halfway")
            result.status = TaskResultStatus.IN_PROGRESS
            result.callback_after_seconds = 60
            return result

    result = call_worker(Worker("t"))
    assert result.status is TaskResultStatus.IN_PROGRESS
    assert result.callback_after_seconds == 60
    assert [entry.log for entry in result.logs] == ["halfway"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), TaskResultStatus.FAILED),
        (SystemExit(3), TaskResultStatus.FAILED),
        (NonRetryableError("never"), TaskResultStatus.FAILED_WITH_TERMINAL_ERROR),
    ],
)
def test_what_it_raises_fails_the_task(error: BaseException, status: TaskResultStatus) -> None:
    @worker_task("t")
    def worker() -> None:
        raise error

    result = call_worker(worker)
    assert result.status is status
    assert result.reason_for_incompletion == f"{type(error).__name__}: {error}"
    assert result.logs[-1].log.splitlines()[-1].endswith(result.reason_for_incompletion)


def test_an_input_that_does_not_fit_fails_it_for_good() -> None:
    @worker_task("t")
    def worker(count: int) -> None:
        del count

    result = call_worker(worker, {"count": "three"})
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert result.reason_for_incompletion == f"{InputError.__name__}: count: expected int, got str 'three'"


def test_an_output_that_cannot_be_sent_fails_it_for_good() -> None:
    @worker_task("t")
    def worker() -> dict[str, object]:
        return {"big": 2**53 + 1}

    assert call_worker(worker).reason_for_incompletion.startswith("PayloadEncodeError: output.big: ")
    assert call_worker(worker, big_integers="string").output_data == {"big": str(2**53 + 1)}


def test_an_input_that_no_server_can_send_is_an_error_of_the_test() -> None:
    with pytest.raises(PayloadEncodeError, match=r"order\.item"):
        call_worker(seen, {"order": {"item": object()}})


def test_what_is_no_worker_is_an_error_of_the_test() -> None:
    def plain() -> None:
        """Not decorated."""

    with pytest.raises(WorkerDefinitionError, match=r"decorate the function with @worker_task"):
        call_worker(plain)  # type: ignore[arg-type]


def test_a_field_that_no_task_has_is_an_error_of_the_test() -> None:
    with pytest.raises(TypeError, match=r"a task has no field retries: expected .*retry_count"):
        call_worker(seen, retries=2)


def test_it_runs_where_a_poller_would_run_it() -> None:
    """In a thread without an event loop, though the test's own has one."""

    @worker_task("t")
    def worker() -> dict[str, object]:
        return {"answer": asyncio.run(answer()), "main": threading.current_thread() is threading.main_thread()}

    async def answer() -> int:
        return 42

    async def test() -> TaskResult:
        return call_worker(worker)

    assert asyncio.run(test()).output_data == {"answer": 42, "main": False}


@worker_task("patient")
def patient() -> dict[str, str | None]:
    current_task().cancelled.wait(30)
    return {"reason": current_task().cancelled.reason}


@worker_task("obedient")
def obedient() -> dict[str, str]:
    current_task().cancelled.raise_if_set()
    return {"ended": "normally"}


@worker_task("on_a_loop")
async def on_a_loop() -> dict[str, str]:
    await asyncio.sleep(30)
    return {"ended": "normally"}


def test_a_task_can_be_cancelled_from_the_start() -> None:
    assert call_worker(patient, cancelled="enough").output_data == {"reason": "enough"}
    assert call_worker(obedient).output_data == {"ended": "normally"}


@pytest.mark.parametrize("worker", [obedient, on_a_loop])
def test_a_worker_that_gives_up_has_no_result(worker: Any) -> None:
    with pytest.raises(TaskCancelledError, match="the task was cancelled while it ran: enough"):
        call_worker(worker, cancelled="enough")


@pytest.mark.parametrize("kind", ["thread", "async"])
def test_a_task_can_be_cancelled_while_it_runs(kind: str) -> None:
    cancellation = Cancellation()

    @worker_task("t")
    def waits() -> None:
        threading.Thread(target=cancellation.set, args=("enough",)).start()
        assert current_task().cancelled.wait(30)
        current_task().cancelled.raise_if_set()

    @worker_task("t")
    async def sleeps() -> None:
        threading.Thread(target=cancellation.set, args=("enough",)).start()
        await asyncio.sleep(30)

    with pytest.raises(TaskCancelledError, match="enough"):
        call_worker(waits if kind == "thread" else sleeps, cancelled=cancellation)


def test_a_cancellation_after_the_end_is_harmless() -> None:
    cancellation = Cancellation()

    @worker_task("t")
    async def quick() -> None:
        await asyncio.sleep(0)

    call_worker(quick, cancelled=cancellation)
    assert cancellation.set("too late")


def test_a_cancellation_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="cancelled is True, expected the reason as text, a Cancellation, or None"):
        call_worker(obedient, cancelled=True)  # type: ignore[arg-type]


@worker_task("speaks")
def speaks(fail: bool = False) -> TaskResult:
    context = current_task()
    context.add_log("first")
    result = TaskResult(status=TaskResultStatus.COMPLETED)
    result.log("second")
    context.add_log("third")
    if fail:
        raise RuntimeError("no")
    return result


@pytest.mark.feature("conductor-python: task context")
def test_logs_of_the_context_are_sent_with_the_result() -> None:
    assert {each.log for each in call_worker(speaks).logs} == {"first", "second", "third"}
    failed = call_worker(speaks, {"fail": True})
    assert [each.log for each in failed.logs[:2]] == ["first", "third"]
    assert failed.logs[2].log.startswith("Traceback")


@pytest.mark.feature("Help with idempotency")
@pytest.mark.feature("Context of the task")
def test_what_the_context_knows() -> None:
    @worker_task("t")
    def work() -> dict[str, object]:
        context = current_task()
        return {"attempt": context.attempt, "key": context.idempotency_key, "task": context.task.task_id}

    fields = {"workflow_instance_id": "w", "reference_task_name": "charge__2", "iteration": 2}
    first = call_worker(work, task_id="a", **fields).output_data
    again = call_worker(work, task_id="b", retry_count=1, poll_count=3, retried_task_id="a", **fields).output_data
    assert first == {"attempt": 1, "key": "w/charge__2/2", "task": "a"}
    assert again == {"attempt": 2, "key": "w/charge__2/2", "task": "b"}
