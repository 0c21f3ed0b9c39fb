from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface
from conductor_grpc.errors import TaskCancelledError
from conductor_grpc.poller.slots import SlotsHooks, ThreadSlots
from conductor_grpc.worker.context import current_task
from conductor_grpc.worker.runner import run_to_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.slots import Outcome, Run, Runner


def _runner(worker: WorkerInterface) -> Runner:
    def run(run: Run) -> Outcome | None:
        try:
            return run_to_wire(worker, run.task, "me", context=run.context)
        except TaskCancelledError:
            return None

    return run


class Bench:
    """Slots over a worker whose tasks wait until the test lets them go."""

    def __init__(self, concurrency: int, work: Callable[[Task], None] | None = None) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.delivered: list[str] = []
        self._changed = threading.Condition()
        self.deaths: list[BaseException] = []
        bench = self

        class Worker(WorkerInterface):
            def execute(self, task: Task) -> TaskResult:
                if work is not None:
                    work(task)
                else:
                    bench.begun.release()
                    bench.go.acquire()
                result = self.get_task_result_from_task(task)
                result.status = TaskResultStatus.COMPLETED
                return result

        self.given_up: list[str] = []
        worker = Worker("work", concurrency=concurrency)
        hooks = SlotsHooks(
            self._deliver,
            lambda run: self.given_up.append(run.held.task_id),
            lambda _, error: self.deaths.append(error),
        )
        self.slots = ThreadSlots(worker, _runner(worker), hooks)

    def _deliver(self, task: Task, _result: TaskResult, wire: bytes) -> None:
        assert wire
        assert not task.input_data, "thousands of results may wait, and an input may have three megabytes"
        with self._changed:
            self.delivered.append(task.task_id)
            self._changed.notify_all()

    def poll(self, *ids: str, asked: int | None = None) -> None:
        reserved = self.slots.reserve(len(ids) if asked is None else asked)
        for task_id in ids:
            self.slots.submit(Task(task_id=task_id, workflow_instance_id="w", input_data={"x": "y"}))
        self.slots.settle(reserved, len(ids))

    def wait_delivered(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.delivered) >= count, 20)


def test_permits_are_what_is_free() -> None:
    bench = Bench(3)
    assert bench.slots.reserve(100) == 3
    bench.slots.settle(3, 1)
    assert bench.slots.reserve(100) == 2
    bench.slots.settle(2, 0)
    assert bench.slots.free == 2


@pytest.mark.feature("conductor-python: waiting for a slot")
def test_reserve_waits_for_a_slot_and_gets_it() -> None:
    bench = Bench(1)
    bench.poll("a")
    assert bench.begun.acquire(timeout=20)
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.append(bench.slots.reserve(5)))
    waiting.start()
    assert waiting.is_alive()
    bench.go.release()
    waiting.join(20)
    assert got == [1]


@pytest.mark.feature("Flow control: tasks")
@pytest.mark.bug("python-sdk#97")
def test_tasks_run_at_once_up_to_the_concurrency() -> None:
    bench = Bench(4)
    bench.poll(*"abcd")
    for _ in range(4):
        assert bench.begun.acquire(timeout=20), "four threads run four tasks that all wait"
    assert bench.slots.running == 4
    for _ in range(4):
        bench.go.release()
    assert bench.slots.wait_idle(20)
    assert sorted(bench.delivered) == [*"abcd"]
    assert bench.slots.free == 4


@pytest.mark.feature("Flow control: tasks")
@pytest.mark.bug("pyzeebe: unbounded queue")
def test_more_tasks_than_asked_for_wait_and_hold_back_the_next_poll() -> None:
    bench = Bench(2)
    bench.poll(*"abcde", asked=2)
    assert bench.begun.acquire(timeout=20)
    assert bench.begun.acquire(timeout=20)
    assert bench.slots.running == 2
    assert bench.slots.free == 0
    for _ in range(3):
        bench.go.release()
    bench.wait_delivered(3)
    assert bench.slots.free == 0, "two are still owed"
    for _ in range(2):
        bench.go.release()
    bench.wait_delivered(5)
    assert bench.slots.reserve(9) >= 1


@pytest.mark.bug("Java: rejected task")
def test_close_gives_back_what_nobody_has_begun() -> None:
    bench = Bench(1)
    bench.poll(*"abc", asked=1)
    assert bench.begun.acquire(timeout=20)
    bench.slots.close()
    assert [task.task_id for task in bench.slots.take_back()] == ["b", "c"]
    assert bench.slots.reserve(1) == 0
    bench.slots.submit(Task(task_id="late", workflow_instance_id="w"))
    bench.go.release()
    assert bench.slots.join(20), "the thread ends although a task waits"
    assert bench.delivered == ["a"]
    assert [task.task_id for task in bench.slots.take_back()] == ["late"]


def test_close_ends_a_wait_for_permits() -> None:
    bench = Bench(1)
    bench.poll("a")
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.append(bench.slots.reserve(1)))
    waiting.start()
    bench.slots.close()
    waiting.join(20)
    assert got == [0]
    bench.go.release()


def test_the_result_of_an_abandoned_task_is_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(1)
    bench.poll("a")
    assert bench.begun.acquire(timeout=20)
    bench.slots.close()
    assert not bench.slots.wait_idle(0)
    assert [run.held.task_id for run in bench.slots.abandon()] == ["a"]
    bench.go.release()
    assert bench.slots.join(20)
    assert bench.delivered == []
    assert "so that is dropped" in caplog.text


def test_ten_thousand_short_tasks_are_each_delivered_once() -> None:
    bench = Bench(50, work=lambda _: None)
    sent = 0
    while sent < 10_000:
        free = bench.slots.reserve(100)
        for _ in range(free):
            bench.slots.submit(Task(task_id=str(sent), workflow_instance_id="w"))
            sent += 1
        bench.slots.settle(free, free)
    assert bench.slots.wait_idle(60)
    bench.wait_delivered(sent)
    assert sorted(bench.delivered, key=int) == [str(index) for index in range(sent)]
    assert bench.slots.free == 50
    assert bench.deaths == []


def test_ids_that_a_worker_changes_stay_as_the_server_gave_them() -> None:
    def spoil(task: Task) -> None:
        task.task_id = task.workflow_instance_id = None  # type: ignore[assignment]
        task.poll_count = "many"  # type: ignore[assignment]

    bench = Bench(1, spoil)
    bench.poll("a")
    bench.wait_delivered(1)
    assert bench.delivered == ["a"]
    assert bench.slots.free == 1 or bench.slots.reserve(1) == 1
    assert not bench.deaths


def test_a_worker_that_lets_its_cancellation_pass_gives_the_task_up() -> None:
    begun = threading.Event()

    def wait(_task: Task) -> None:
        begun.set()
        current_task().cancelled.wait(20)
        current_task().cancelled.raise_if_set()

    bench = Bench(1, wait)
    bench.poll("a")
    assert begun.wait(20)
    (run,) = bench.slots.long_running(0)
    assert run.cancelled.set("its workflow was terminated")
    assert bench.slots.reserve(1, 20) == 1
    assert (bench.given_up, bench.delivered) == (["a"], [])


def test_a_task_that_is_not_cancelled_and_says_so_has_failed() -> None:
    def lie(_task: Task) -> None:
        raise TaskCancelledError

    bench = Bench(1, lie)
    bench.poll("a")
    bench.wait_delivered(1)
    assert bench.given_up == []
