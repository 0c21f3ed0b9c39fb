"""Middleware around workers of all executors, with a poller and the embedded server."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from executor_bench import Bench
from surrounded_workers import LEDGER, Marking, Told, coroutine, limited_process, note, paced, plain, process
from waiting import wait_for

from conductor_grpc import TaskResultStatus, _core, current_task, rate_limit, timing, worker_task
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.middleware import RateLimit

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc import TaskContext, TaskResult
    from conductor_grpc.worker.middleware import CallNext


def _two(context: TaskContext, call_next: CallNext) -> TaskResult:
    value = context.task.input_data["value"]
    context.task = dataclasses.replace(context.task, input_data={"a": value, "b": 1})
    return call_next(context)


native = worker_task("native", middleware=[_two])(_core.get_sum)


def test_a_native_function_has_middleware_too() -> None:
    with Bench(native, middleware=[Marking()]) as bench:
        assert bench.output(native, 5) == [6, os.getpid()]


def test_the_pollers_middleware_is_around_the_workers_own_and_in_its_process() -> None:
    with Bench(plain, process, coroutine, middleware=[Marking()]) as bench:
        assert bench.output(plain, 5) == [5, "own", os.getpid()]
        assert bench.output(coroutine, 5) == [5, os.getpid()]
        output: Any = bench.output(process, 5)
        assert output[:2] == [5, "own"]
        assert output[2] != os.getpid()
        for worker in (plain, process, coroutine):
            assert bench.reason(worker, "fail") == "middleware 'marking' failed: ValueError: asked to"


@pytest.mark.feature("conductor-python: events and listeners")
def test_timing_reports_each_task_also_one_that_fails() -> None:
    told: list[tuple[str, float]] = []

    def report(context: TaskContext, seconds: float) -> None:
        told.append((context.task.task_def_name, seconds))

    @worker_task("wait")
    def wait(value: float) -> None:
        time.sleep(0.02)
        if value < 0:
            raise ValueError

    for value in (1, -1):
        call_worker(wait, {"value": value}, middleware=[timing(report)])
    assert [name for name, _ in told] == ["wait", "wait"]
    assert all(0.02 <= seconds < 10 for _, seconds in told)


def test_timing_warns_of_slow_tasks_only(caplog: pytest.LogCaptureFixture) -> None:
    @worker_task("wait")
    def wait(value: float) -> None:
        time.sleep(value)

    caplog.set_level(logging.INFO, "conductor_grpc")
    for value in (0, 0.02):
        call_worker(wait, {"value": value}, middleware=[timing(slow=0.02)], task_id=f"t{value}")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()[:15]) == ("WARNING", "task t0.02 (wai")
    caplog.clear()
    call_worker(wait, {"value": 0}, middleware=[timing()], task_id="t1")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()[:19]) == ("INFO", "task t1 (wait) took")


def test_a_report_of_timing_that_fails_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    def report(_: TaskContext, __: float) -> None:
        raise ValueError("the statistics are down")

    result = call_worker(plain, {"value": 1}, middleware=[timing(report)])
    assert result.status is TaskResultStatus.COMPLETED
    assert "the report of timing() failed" in caplog.text
    assert "the statistics are down" in caplog.text


def test_a_rate_limit_lets_a_burst_go_and_then_one_after_the_other() -> None:
    begun: list[float] = []

    @worker_task("begin", concurrency=8)
    def begin() -> None:
        begun.append(time.monotonic())

    @worker_task("begin_async", concurrency=8)
    async def begin_async() -> None:
        begun.append(time.monotonic())

    limit = rate_limit(20, burst=3)
    with Bench(begin, begin_async, middleware=[limit]) as bench:
        runs = [bench.start(worker) for worker in (begin, begin_async) for _ in range(5)]
        for run in runs:
            run.assert_completed()
    begun.sort()
    # 3 at once, the other 7 each 50 ms after the one before; the bucket may have filled while the first came in.
    assert begun[-1] - begun[0] >= 6 * 0.05 - 0.01
    for index in range(len(begun) - 4):
        assert begun[index + 4] - begun[index] >= 0.05 - 0.01, begun


@pytest.mark.feature("Rate limiting by the client")
def test_no_more_than_the_rate_even_where_threads_meet() -> None:
    limit = RateLimit(1000.0, 1)
    times: list[float] = []

    def reserve() -> None:
        times.extend(limit._reserve().at for _ in range(200))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    assert all(later - earlier > 0.00099 for earlier, later in itertools.pairwise(times))


def test_a_share_of_a_rate_limit_is_what_each_process_gets() -> None:
    assert repr(rate_limit(10, burst=5).share(4)) == "rate_limit(2.5, burst=1)"


@pytest.mark.feature("Rate limiting by the client")
def test_the_processes_of_a_worker_share_its_limit_and_the_pollers() -> None:
    with Bench(paced, middleware=[Told(8, 1)]) as bench:
        assert bench.output(paced, "own, poller's:") == ["own, poller's:", 10, 2]


@pytest.mark.parametrize("kind", ["plain", "async", "process"])
def test_a_task_that_waits_for_the_rate_is_handed_back_when_the_poller_stops(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER, str(ledger))

    @worker_task("limited")
    def limited(value: str) -> None:
        note(value)

    @worker_task("limited")
    async def limited_async(value: str) -> None:
        note(value)

    worker: Any = {"plain": limited, "async": limited_async, "process": limited_process}[kind]
    with Bench(worker, middleware=[rate_limit(0.001)]) as bench:
        bench.start(worker, "first").assert_completed()
        waiting = bench.start(worker, "second")
        bench.running(worker)
        began = time.monotonic()
        report = bench.poller.stop()
        assert time.monotonic() - began < 10  # and not the 1000 s, or the 20 s of the drain
        wait_for(lambda: waiting.task("it").status == "SCHEDULED")
        assert ledger.read_text() == "first\n"
        assert (report.cancelled, report.unsent) == (0, 0)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_wait_for_the_rate_ends_with_the_cancellation(kind: str) -> None:
    ran: list[str] = []

    @worker_task("limited")
    def limited() -> None:
        ran.append(current_task().task.task_id)

    @worker_task("limited")
    async def limited_async() -> None:
        ran.append(current_task().task.task_id)

    worker: Any = limited if kind == "plain" else limited_async
    with Bench(worker, middleware=[rate_limit(0.001)]) as bench:
        bench.start(worker).assert_completed()
        bench.start(worker)
        (run,) = bench.running(worker)
        bench.slots(worker).cancel(run, "no longer wanted")
        assert bench.slots(worker).wait_idle(20)
        assert len(ran) == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_those_behind_a_task_that_is_cancelled_while_it_waits_move_up(kind: str) -> None:
    """Or a worker would idle for as long as the tasks of workflows that were terminated would have taken."""

    @worker_task("limited", concurrency=5)
    def limited(value: str) -> str:
        return value

    @worker_task("limited", concurrency=5)
    async def limited_async(value: str) -> str:
        return value

    worker: Any = limited if kind == "plain" else limited_async
    with Bench(worker, middleware=[rate_limit(0.5)]) as bench:
        began = time.monotonic()
        bench.start(worker, "first").assert_completed()
        runs = []
        for number in range(3):
            bench.start(worker, f"not wanted {number}")
            runs = bench.running(worker, number + 1)
        last = bench.start(worker, "last")
        bench.running(worker, 4)
        for run in runs:
            bench.slots(worker).cancel(run, "no longer wanted")
        last.assert_completed(timeout=60)
        assert 2 - 0.01 <= time.monotonic() - began < 6


def test_no_event_loop_waits_for_a_rate() -> None:
    @worker_task("limited", middleware=[rate_limit(0.001)])
    async def limited() -> None:
        """Nothing."""

    with Bench(limited, coroutine) as bench:
        bench.start(limited).assert_completed()
        bench.start(limited)
        (run,) = bench.running(limited)
        assert bench.output(coroutine, 5) == 5
        assert bench.slots(limited).runs(run)


@pytest.mark.parametrize("given", [{"per_second": 0}, {"per_second": "fast"}, {"per_second": 1, "burst": 0}])
def test_a_rate_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="rate_limit got "):
        rate_limit(**given)


@pytest.mark.parametrize("given", [{"report": 3}, {"slow": -1}, {"slow": "long"}])
def test_timing_refuses_what_it_cannot_use(given: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="timing got "):
        timing(**given)
