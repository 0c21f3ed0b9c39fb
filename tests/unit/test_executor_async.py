"""Async workers: one event loop for all of them, thousands of tasks, and nothing that ends the loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from executor_bench import Bench
from waiting import wait_for

from conductor_grpc import PollerError, Task, TaskResult, TaskResultStatus, WorkerInterface, worker_task
from conductor_grpc.payload.external.filesystem import FilesystemPayloadStorage
from conductor_grpc.poller.slots import AsyncSlots, EventLoop, Executors, SlotsHooks, event_loop
from conductor_grpc.worker.context import current_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOP_THREAD = "conductor-asyncio"


@pytest.fixture(autouse=True)
def no_loop_is_left() -> Iterator[None]:
    yield
    wait_for(lambda: not any(each.name.startswith(LOOP_THREAD) for each in threading.enumerate()), 10)


@worker_task("double", concurrency=10)
async def double(value: int) -> int:
    await asyncio.sleep(0)
    assert threading.current_thread().name == LOOP_THREAD
    return value * 2


class ById(WorkerInterface):
    async def execute(self, task: Task) -> TaskResult:
        await asyncio.sleep(0)
        result = self.get_task_result_from_task(task)
        result.add_output_data("result", task.task_id)
        result.status = TaskResultStatus.COMPLETED
        return result


@pytest.mark.feature("Executors: threads, asyncio, processes")
@pytest.mark.bug("D5")
def test_functions_and_classes_run_on_one_loop() -> None:
    by_id = ById("by_id")
    with Bench(double, by_id) as bench:
        assert bench.output(double, 21) == 42
        run = bench.start(by_id)
        assert run.assert_completed().output["it"] == run.task("it").now().task_id
        assert [each.name for each in threading.enumerate()].count(LOOP_THREAD) == 1
        assert "InputError: value" in bench.reason(double, "x")


@pytest.mark.feature("conductor-python: async workers")
@pytest.mark.bug("python-sdk#167")
def test_two_thousand_tasks_at_once_start_no_thread() -> None:
    go, most = threading.Event(), 2000
    waiting: list[asyncio.Event] = []

    @worker_task("wait", concurrency=10_000)
    async def wait(value: int) -> int:
        waiting.append(event := asyncio.Event())
        if len(waiting) == most:
            go.set()
            for each in waiting:
                each.set()
        await event.wait()
        return value

    with Bench(wait) as bench:
        before = _threads_of_the_worker()
        runs = [bench.start(wait, number) for number in range(most)]
        assert go.wait(60), f"only {len(waiting)} of {most} run at once"
        assert _threads_of_the_worker() <= before + 4
        assert [run.assert_completed(timeout=60).output["it"] for run in runs] == list(range(most))


def _threads_of_the_worker() -> int:
    # Without the embedded server's: since Python 3.12 its pool grows with the queue, however short the calls are.
    return sum(not thread.name.startswith("embedded-server") for thread in threading.enumerate())


def test_what_a_worker_raises_fails_its_task_and_not_the_loop() -> None:
    kinds: dict[str, Callable[[], BaseException]] = {
        "value": lambda: ValueError("no"),
        "cancelled": asyncio.CancelledError,
        "exit": lambda: SystemExit(3),
        "interrupt": KeyboardInterrupt,
    }

    @worker_task("raise")
    async def raising(value: str) -> None:
        await asyncio.sleep(0)
        if value == "itself":
            this = asyncio.current_task()
            assert this is not None
            this.cancel()
            await asyncio.sleep(60)
        raise kinds[value]()

    with Bench(raising, double) as bench:
        assert bench.reason(raising, "value") == "ValueError: no"
        assert bench.reason(raising, "cancelled") == "CancelledError"
        assert bench.reason(raising, "itself") == "CancelledError"
        assert bench.reason(raising, "exit") == "SystemExit: 3"
        assert bench.reason(raising, "interrupt") == "KeyboardInterrupt"
        assert bench.output(double, 1) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_worker_starts_and_does_not_await_cannot_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    @worker_task("start")
    async def start(value: str) -> None:
        if value == "stop":
            asyncio.get_running_loop().stop()
        else:
            task = asyncio.create_task(leave())
            with contextlib.suppress(SystemExit):
                await task

    with Bench(start, double) as bench:
        bench.output(start, "exit")
        bench.output(start, "stop")
        assert bench.output(double, 1) == 2
        assert bench.poller.health().healthy
    assert "tried to end the program" in caplog.text


def test_a_cancelled_task_gets_a_cancelled_error_and_has_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned, delivered = threading.Event(), []

    @worker_task("hang")
    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.set()

    given_up: list[str] = []
    with Bench(hang, double) as bench:
        slots = bench.slots(hang)
        hooks = SlotsHooks(
            lambda *outcome: delivered.append(outcome), lambda run: given_up.append(run.held.task_id), lambda *_: None
        )
        monkeypatch.setattr(slots, "_hooks", hooks)
        bench.start(hang)
        (run,) = bench.running(hang)
        run.cancelled.set("the test says so")
        assert cleaned.wait(20)
        assert slots.wait_idle(20)
        assert (given_up, delivered) == ([run.held.task_id], [])
        assert bench.output(double, 1) == 2


def test_a_worker_that_ends_well_in_spite_of_its_cancellation_has_a_result() -> None:
    @worker_task("stubborn")
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return str(current_task().cancelled.reason)

    with Bench(stubborn) as bench:
        started = bench.start(stubborn)
        (run,) = bench.running(stubborn)
        run.cancelled.set("the test says so")
        assert started.assert_completed().output["it"] == "the test says so"


def test_the_context_reaches_what_a_worker_starts() -> None:
    async def inner() -> str:
        return current_task().task.task_id

    @worker_task("ids", concurrency=20)
    async def ids(task: Task) -> bool:
        await asyncio.sleep(0.01)
        found = {
            await asyncio.create_task(inner()),
            await asyncio.to_thread(lambda: current_task().task.task_id),
            current_task().task.task_id,
        }
        return found == {task.task_id}

    with Bench(ids) as bench:
        runs = [bench.start(ids) for _ in range(20)]
        assert all(run.assert_completed().output["it"] is True for run in runs)


def test_a_drain_waits_for_running_tasks_and_hands_back_those_that_do_not_end() -> None:
    begun, go = threading.Semaphore(0), threading.Event()
    ended = threading.Event()

    @worker_task("slow", concurrency=2)
    async def slow(value: str) -> str:
        begun.release()
        try:
            while value == "hang" or not go.is_set():  # noqa: ASYNC110 - the test lets go from another thread
                await asyncio.sleep(0.01)
        finally:
            if value == "hang":
                ended.set()
        return value

    with Bench(slow, drain_timeout=1.0) as bench:
        ends, _ = bench.start(slow, "end"), bench.start(slow, "hang")
        for _ in range(2):
            assert begun.acquire(timeout=20)
        threading.Timer(0.2, go.set).start()
        report = bench.poller.stop()
        assert (report.done, report.cancelled, report.unsent) == (1, 1, 0)
        assert ends.assert_completed().output["it"] == "end"
        assert ended.wait(5), "the abandoned one was cancelled"


def test_stop_on_the_loop_is_refused() -> None:
    pollers: list[Any] = []

    @worker_task("stop")
    async def stop() -> str:
        try:
            pollers[0].stop()
        except PollerError as error:
            return str(error)
        return "stopped"

    with Bench(stop) as bench:
        pollers.append(bench.poller)
        assert "would wait for that task to end" in str(bench.output(stop))


def test_a_worker_that_blocks_the_loop_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_loop, "LOOK", 0.05)
    monkeypatch.setattr(event_loop, "BLOCKED", 0.05)
    told = threading.Event()
    messages: list[tuple[Any, ...]] = []

    def log(*arguments: Any) -> None:
        messages.append(arguments)
        if arguments[-1].startswith("blocking "):  # and not a machine that is busy
            told.set()

    monkeypatch.setattr(event_loop.logger, "log", log)

    @worker_task("blocking")
    async def blocking() -> None:
        told.wait(20)

    with Bench(blocking) as bench:
        bench.output(blocking)
    assert told.is_set()
    assert messages[0][0] == logging.WARNING
    _, text, _, place = messages[-1]
    assert "has been blocked for" in text
    assert f", in blocking ({__file__}:" in place
    assert not caplog.records or all(each.levelno < logging.CRITICAL for each in caplog.records)


def test_the_external_storage_does_not_block_the_loop(tmp_path: Path) -> None:
    threads: list[str] = []

    class Slow(FilesystemPayloadStorage):
        def upload(self, *arguments: Any) -> str:
            threads.append(threading.current_thread().name)
            return super().upload(*arguments)

    @worker_task("large")
    async def large() -> str:
        return "x" * 5_000_000

    with Bench(large, external_payload_storage=Slow(tmp_path)) as bench:
        bench.start(large).wait(timeout=30)
    assert threads
    assert LOOP_THREAD not in threads


def test_a_worker_that_takes_no_notice_of_its_cancellation_is_no_death(caplog: pytest.LogCaptureFixture) -> None:
    """What is left of it is thrown away some time after the end."""
    begun = threading.Event()

    @worker_task("stubborn")
    async def stubborn() -> None:
        begun.set()
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    deaths: list[BaseException] = []
    executors = Executors(hooks(deaths), Mock())
    slots = executors.slots(stubborn, "me")
    slots.submit(Task(task_id="a", workflow_instance_id="w"))
    assert begun.wait(20)
    slots.close()
    assert len(slots.abandon()) == 1
    executors.close()
    del slots, executors
    gc.collect()
    assert not deaths
    assert not [each for each in caplog.records if each.name.startswith("conductor_grpc")]


def hooks(deaths: list[BaseException]) -> SlotsHooks:
    return SlotsHooks(lambda *_: None, lambda _: None, lambda _, error: deaths.append(error))


def test_start_and_stop_of_the_loop_in_any_order() -> None:
    def die(_: str, error: BaseException) -> None:
        deaths.append(error)

    deaths: list[BaseException] = []
    never = EventLoop(die)
    assert never.close()
    never.start()
    assert not never.alive
    assert not never.call(print)
    for _ in range(20):
        loop = EventLoop(die)
        threads = [threading.Thread(target=each) for each in (loop.start, loop.start, loop.stop, loop.stop)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert loop.close()
        assert loop.close()
    assert deaths == []


def test_a_loop_that_dies_says_so() -> None:
    deaths: list[BaseException] = []
    died = threading.Event()

    def die(_: str, error: BaseException) -> None:
        deaths.append(error)
        died.set()

    loop = EventLoop(die)
    loop.start()
    broken = OSError("the selector is gone")

    def fail(*_: object) -> None:
        raise broken

    loop._loop._selector.select = fail  # type: ignore[attr-defined]
    loop.call(lambda: None)
    assert died.wait(10)
    assert deaths == [broken]
    loop.close()


def test_one_wake_of_the_loop_for_many_tasks() -> None:
    deaths: list[BaseException] = []
    loop = EventLoop(lambda _, error: deaths.append(error))
    wakes: list[object] = []
    real = loop.call

    def call(callback: Callable[..., object], *arguments: object) -> bool:
        wakes.append(callback)
        return real(callback, *arguments)

    loop.call = call  # type: ignore[method-assign]
    ran: list[str] = []

    async def run(run: Any) -> None:
        ran.append(run.held.task_id)

    slots = AsyncSlots(ById("x", concurrency=1000), run, hooks(deaths), loop)
    reserved = slots.reserve(50)
    for number in range(50):
        slots.submit(Task(task_id=str(number), workflow_instance_id="w"))
    slots.settle(reserved, 50)
    assert len(wakes) == 1
    loop.start()
    wait_for(lambda: len(ran) == 50)
    assert slots.wait_idle(10)
    slots.close()
    assert slots.join(10)
    loop.stop()
    assert loop.close()
    assert deaths == []


def test_tasks_beyond_the_concurrency_wait() -> None:
    """As many as a server likes to send; 500 are more than one turn of the loop begins."""
    deaths: list[BaseException] = []
    loop = EventLoop(lambda _, error: deaths.append(error))
    loop.start()
    running = most = 0

    async def run(_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    slots = AsyncSlots(ById("x", concurrency=250), run, hooks(deaths), loop)
    reserved = slots.reserve(3)
    for number in range(500):
        slots.submit(Task(task_id=str(number), workflow_instance_id="w"))
    slots.settle(reserved, 500)
    wait_for(lambda: slots.free == 250)
    assert 0 < most <= 250
    slots.close()
    assert slots.join(10)
    assert loop.close()
    assert deaths == []
