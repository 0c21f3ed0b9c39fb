"""Context variables: what the program sets reaches its workers, and what a task sets stays in it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from context_workers import EXECUTORS, VARIABLE, Variables, on_every_executor
from executor_bench import Bench

from conductor_grpc import WorkerDefinitionError, current_task, worker_task
from conductor_grpc.testing import call_worker

if TYPE_CHECKING:
    from conductor_grpc.worker.executor import Executor

IN_THIS_PROCESS: tuple[Executor, ...] = ("thread", "async", "native")


@worker_task("coroutine", concurrency=1)
async def coroutine(value: str) -> str:
    """Not as the others, which are in a thread: what an asyncio task sets is set in its own context."""
    found = VARIABLE.get()
    VARIABLE.set(value)
    await asyncio.sleep(0)
    assert VARIABLE.get() == value
    return found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_task_sets_is_not_there_for_the_next_one(executor: Executor) -> None:
    (worker,) = on_every_executor(Variables, [executor])
    with Bench(worker) as bench:
        assert [bench.output(worker, each) for each in "abc"] == ["unset"] * 3


def test_nor_what_a_coroutine_sets() -> None:
    with Bench(coroutine) as bench:
        runs = [bench.start(coroutine, each) for each in "abcde"]  # some begin where another one has ended
        assert [run.assert_completed().output["it"] for run in runs] == ["unset"] * 5


def test_what_is_set_before_the_start_is_seen_by_every_task() -> None:
    workers = on_every_executor(Variables, IN_THIS_PROCESS)

    def program() -> None:
        VARIABLE.set("of the program")
        with Bench(*workers, coroutine) as bench:
            VARIABLE.set("too late")
            for worker in (*workers, coroutine):
                assert [bench.output(worker, each) for each in "ab"] == ["of the program"] * 2

    contextvars.Context().run(program)


def test_a_process_has_variables_of_its_own() -> None:
    (worker,) = on_every_executor(Variables, ["process"])

    def program() -> None:
        VARIABLE.set("of the program")
        with Bench(worker) as bench:
            assert bench.output(worker, "a") == "unset"

    contextvars.Context().run(program)


def here() -> str:
    return current_task().task.task_id


@worker_task("threads")
def threads() -> list[str]:
    found = [here()]
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(contextvars.copy_context().run, here) for _ in range(2)]
        found += [job.result() for job in jobs]
        with pytest.raises(WorkerDefinitionError, match=r"start threads of your own with contextvars\.copy_context"):
            pool.submit(contextvars.Context().run, here).result()
    thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: found.append(here()),))
    thread.start()
    thread.join()
    return found


@worker_task("loops")
async def loops() -> list[str]:
    async def inside() -> str:
        return here()

    return [
        here(),
        await asyncio.to_thread(here),
        await asyncio.create_task(inside()),
        *await asyncio.gather(*(asyncio.to_thread(here) for _ in range(3))),
    ]


@pytest.mark.feature("Context of the task")
def test_current_task_works_in_a_tasks_own_threads_and_asyncio_tasks() -> None:
    for worker in (threads, loops):
        (seen,) = {*call_worker(worker, task_id="t").output_data["result"]}  # type: ignore[misc]
        assert seen == "t"


def test_threads_of_many_tasks_at_once_see_their_own() -> None:
    @worker_task("many", concurrency=20)
    async def many() -> bool:
        mine = here()
        seen = [await asyncio.to_thread(here) for _ in range(5)]
        return {*seen} == {mine}

    with Bench(many) as bench:
        runs = [bench.start(many) for _ in range(20)]
        assert all(run.assert_completed().output["it"] is True for run in runs)
