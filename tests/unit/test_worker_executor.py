"""Which executor a worker gets, and which it is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerDefinitionError, WorkerInterface, worker_task
from conductor_grpc.worker import check_worker, run_worker
from conductor_grpc.worker.executor import EXECUTORS, executor_of


async def coroutine_function(value: int) -> int:
    return value + 1


def plain_function(value: int) -> int:
    return value + 1


class Async(WorkerInterface):
    async def execute(self, task: Task) -> TaskResult:
        return TaskResult(status=TaskResultStatus.COMPLETED, output_data={"of": task.task_id})


class Plain(WorkerInterface):
    def execute(self, task: Task) -> TaskResult:
        return TaskResult(status=TaskResultStatus.COMPLETED, output_data={"of": task.task_id})


@pytest.mark.feature("Executors: threads, asyncio, processes")
def test_the_kind_of_the_function_decides_where_nobody_does() -> None:
    assert executor_of(worker_task("t")(plain_function)) == "thread"
    assert executor_of(worker_task("t")(coroutine_function)) == "async"
    assert executor_of(Plain("t")) == "thread"
    assert executor_of(Async("t")) == "async"


def test_the_constructor_wins_over_the_class() -> None:
    class Busy(Plain):
        executor = "process"
        cancellation_grace = 3

    assert executor_of(Busy("t")) == "process"
    assert executor_of(Busy("t", executor="native")) == "native"
    assert (Busy("t").cancellation_grace, Busy("t", cancellation_grace=0).cancellation_grace) == (3, 0)


@pytest.mark.parametrize("executor", ["processes", "", 1, True])
def test_an_unknown_executor_is_refused(executor: Any) -> None:
    for make in (lambda: Plain("t", executor=executor), lambda: worker_task("t", executor=executor)(plain_function)):
        with pytest.raises(WorkerDefinitionError, match=r"worker 't' has executor .*expected one of 'thread', 'async'"):
            make()


@pytest.mark.parametrize("executor", [each for each in EXECUTORS if each != "async"])
def test_async_code_runs_on_the_loop_only(executor: Any) -> None:
    for make in (
        lambda: Async("t", executor=executor),
        lambda: worker_task("t", executor=executor)(coroutine_function),
    ):
        with pytest.raises(WorkerDefinitionError, match=f"has executor '{executor}' and is async"):
            make()


def test_plain_code_does_not_run_on_the_loop() -> None:
    for make in (lambda: Plain("t", executor="async"), lambda: worker_task("t", executor="async")(plain_function)):
        with pytest.raises(WorkerDefinitionError, match="is a plain function, which would block all the others"):
            make()


@pytest.mark.parametrize("grace", [-1, float("inf"), float("nan"), True, "1"])
def test_a_grace_is_a_number_of_seconds(grace: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"has cancellation_grace .*expected a number of seconds"):
        Plain("t", cancellation_grace=grace)


def test_attributes_set_later_are_checked_when_polling_begins() -> None:
    worker = Plain("t")
    worker.executor = "asyncio"  # type: ignore[assignment]
    with pytest.raises(WorkerDefinitionError, match="has executor 'asyncio'"):
        check_worker(worker)


@pytest.mark.parametrize("kind", [Plain, Async])
def test_one_task_can_be_run_without_a_poller_whatever_the_kind(kind: Any) -> None:
    result = run_worker(kind("t"), Task(task_id="a", workflow_instance_id="w"), "me")
    assert (result.status, result.output_data) == (TaskResultStatus.COMPLETED, {"of": "a"})


def test_an_async_function_stays_one() -> None:
    assert asyncio.run(worker_task("t")(coroutine_function)(1)) == 2
    task = Task(task_id="a", workflow_instance_id="w", input_data={"value": 1})
    assert run_worker(worker_task("t")(coroutine_function), task, "me").output_data == {"result": 2}


def test_a_plain_execute_that_returns_a_coroutine_is_told_what_to_do() -> None:
    class Forgotten(WorkerInterface):
        def execute(self, task: Task) -> Any:
            return Async("t").execute(task)

    result = run_worker(Forgotten("t"), Task(task_id="a", workflow_instance_id="w"), "me")
    assert result.reason_for_incompletion.endswith("make it `async def execute`")
