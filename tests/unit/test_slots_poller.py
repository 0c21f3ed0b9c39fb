"""A limit on all workers of a poller, and slot suppliers, against the embedded server."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from executor_bench import Bench
from waiting import wait_for

from conductor_grpc import Configuration, Load, ResourceBasedSlots, TaskPoller, TaskStatus, WorkflowStatus, worker_task
from conductor_grpc.observe.probes import ready
from conductor_grpc.observe.reading import read
from conductor_grpc.poller.measures import Measures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc import SlotUse, WorkerInterface


class Count:
    """How many tasks run, of all workers whose tasks are counted here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self.most = self.all = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.all += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.mark.feature("Flow control: tasks")
def test_the_limit_is_never_exceeded_and_no_worker_starves() -> None:
    """Six busy workers of two kinds, more than there are slots, and one with tasks now and then."""
    count = Count()

    def thread_worker(number: int) -> WorkerInterface:
        @worker_task(f"thread_{number}", concurrency=5)
        def work() -> None:
            with count:
                threading.Event().wait(0.005)

        return work

    def async_worker(number: int) -> WorkerInterface:
        @worker_task(f"async_{number}", concurrency=20)
        async def work() -> None:
            with count:
                await asyncio.sleep(0.005)

        return work

    busy = [thread_worker(number) for number in range(3)] + [async_worker(number) for number in range(3)]

    @worker_task("seldom")
    def seldom() -> None:
        with count:
            pass

    with Bench(*busy, seldom, task_limit=4) as bench:
        runs = [bench.start(worker) for _ in range(60) for worker in busy]
        rare = []
        for _ in range(5):
            rare.append(bench.start(seldom))
            rare[-1].assert_completed(timeout=30)
        assert sum(run.status is WorkflowStatus.RUNNING for run in runs) > 30, "it had to wait for all the others"
        for run in runs:
            run.assert_completed(timeout=60)
        health = bench.poller.health()
    assert count.most == 4
    assert count.all == 60 * 6 + 5, "none ran twice"
    assert [worker.begun for worker in health.workers] == [60] * 6 + [5]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_task_that_finds_no_slot_is_run_by_another_process(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor_grpc.poller.slots.slots.PATIENCE", 0.5)

    @worker_task("long", concurrency=3)
    def long() -> None:
        gate.wait(60)

    @worker_task("short", concurrency=3)
    def short() -> str:
        return threading.current_thread().name

    with Bench(long, short, task_limit=1, poll_wait_ms=3000) as bench:
        wait_for(lambda: bench.poller.health().workers[1].seconds_trying is not None)
        first = bench.start(long)
        bench.running(long)
        stranded = bench.start(short)
        slots = bench.slots(short)
        wait_for(lambda: bool(slots._waiting))
        assert stranded.task("it").now().status is TaskStatus.IN_PROGRESS
        assert bench.poller.health().workers[1].running == 0
        wait_for(lambda: stranded.task("it").now().status is TaskStatus.SCHEDULED)
        assert stranded.task("it").now().retry_count == 0
        with TaskPoller([short], Configuration("", target=bench._server.target, poll_wait_ms=50)):
            stranded.assert_completed(timeout=30)
        assert not gate.is_set()
        gate.set()
        first.assert_completed()
        assert bench.output(short), "and the first one goes on"


def test_health_metrics_and_probes_know_what_a_worker_has_now(gate: threading.Event) -> None:
    granted = 2

    class Supplier:
        def slots(self, use: SlotUse) -> int:
            assert use.task_definition_name == "some"
            return granted

    @worker_task("some", concurrency=10, slots=Supplier())
    def some() -> None:
        gate.wait(60)

    @worker_task("other", concurrency=10)
    def other() -> None:
        gate.wait(60)

    def numbers() -> dict[str, tuple[object, ...]]:
        health = bench.poller.health()
        gauges = read(health, Measures()).by_name
        return {
            worker.task_definition_name: (
                worker.concurrency,
                worker.slots,
                gauges["conductor_worker_slots_used"][(worker.task_definition_name,)],
                gauges["conductor_worker_slots_free"][(worker.task_definition_name,)],
            )
            for worker in health.workers
        }

    with Bench(some, other, task_limit=5) as bench:
        wait_for(lambda: numbers() == {"some": (10, 2, 0, 2), "other": (10, 5, 0, 5)})
        runs = [bench.start(some)]
        bench.running(some)
        runs += [bench.start(other) for _ in range(3)]
        bench.running(other, 3)
        wait_for(lambda: numbers() == {"some": (10, 2, 1, 1), "other": (10, 4, 3, 1)})
        runs.append(bench.start(other))
        bench.running(other, 4)
        wait_for(lambda: numbers() == {"some": (10, 1, 1, 0), "other": (10, 4, 4, 0)})
        assert ready(bench.poller.health(), -1.0, 60.0).good, "no poll is late where there is no slot for one"
        gate.set()
        for run in runs:
            run.assert_completed()


@pytest.mark.feature("Slot suppliers, tuning by resources")
def test_slots_by_load_on_a_poller(gate: threading.Event) -> None:
    load = Load(0.1, 0.1)

    @worker_task("heavy", concurrency=8, slots=ResourceBasedSlots(2, ramp=0.01, load=lambda: load))
    def heavy() -> None:
        gate.wait(60)

    with Bench(heavy) as bench:
        runs = [bench.start(heavy) for _ in range(12)]
        bench.running(heavy, 8)
        load = Load(0.1, 0.95)
        gate.set()
        for run in runs:
            run.assert_completed(timeout=60)
        wait_for(lambda: bench.poller.health().workers[0].slots == 2)
        assert bench.output(heavy) is None
