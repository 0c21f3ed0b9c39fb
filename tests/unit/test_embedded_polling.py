"""What polls of the embedded server take, how long they wait, and what holds tasks back."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from embedded_records import a_plan, a_task, a_workflow

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.clock import Clock
from conductor_grpc.server.embedded.engine.engine import Engine
from conductor_grpc.server.embedded.engine.failures import StoreFailure
from conductor_grpc.server.embedded.engine.memory_store import MemoryStore
from conductor_grpc.server.embedded.engine.polling import poll, released
from conductor_grpc.server.embedded.engine.polls import PollHistory
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.server.embedded.engine.plan import WorkflowPlan
    from conductor_grpc.server.embedded.engine.records import TaskRecord

PLAN = a_plan()
LONG = 30_000
"""Milliseconds that no test really waits."""


class FullDisk(MemoryStore):
    """A store whose disk is full when told so."""

    full = False

    def commit(self) -> None:
        if self.full:
            raise StoreFailure("disk is full")


class Caller:
    """Somebody at the other end who may go away."""

    def __init__(self) -> None:
        self.gone = False
        self._callbacks: list[Callable[[], None]] = []
        self.waits = threading.Event()

    def is_active(self) -> bool:
        return not self.gone

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self._callbacks.append(callback)
        self.waits.set()
        return True

    def go(self) -> None:
        self.gone = True
        for callback in self._callbacks:
            callback()


class BackgroundPoll:
    """A poll by a thread of its own."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.caller = Caller()
        self.answer: list[str] | None = None
        self.error: StoreFailure | None = None
        self._thread = threading.Thread(target=self._run, args=(engine, options))
        self._thread.start()

    def _run(self, engine: Engine, options: dict[str, Any]) -> None:
        try:
            self.answer = polled(engine, caller=self.caller, **options)
        except StoreFailure as error:
            self.error = error

    def waits(self) -> BackgroundPoll:
        assert self.caller.waits.wait(10)
        return self

    def join(self) -> list[str] | None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.answer


def make_engine(strict: bool) -> Engine:
    return Engine(Clock(), FullDisk(), strict=strict)


@pytest.fixture
def engine() -> Engine:
    return make_engine(strict=False)


@pytest.fixture
def strict() -> Engine:
    return make_engine(strict=True)


@pytest.fixture(params=[False, True], ids=["plain", "strict"])
def either(request: pytest.FixtureRequest) -> Engine:
    return make_engine(request.param)


def scheduled(engine: Engine, plan: WorkflowPlan = PLAN, delay_ms: int = 0, **fields: Any) -> TaskRecord:
    with engine.transaction():
        task = a_task(a_workflow(plan), **fields)
        engine.shelf.add(task.workflow)
        engine.limits.scheduled(task)
        engine.queues.offer(task, engine.clock.now() + delay_ms)
    return task


def polled(
    engine: Engine, *, count: int = 1, wait_ms: int = -1, domain: str = "", caller: Caller | None = None
) -> list[str]:
    """The ids of the tasks that a poll returns."""
    caller = caller or Caller()
    return poll(
        engine,
        "job",
        "worker",
        domain,
        count,
        wait_ms,
        lambda task: task.task_id,
        caller.is_active,
        caller.add_callback,
    )


def ids(*tasks: TaskRecord) -> list[str]:
    return [task.task_id for task in tasks]


def end(engine: Engine, task: TaskRecord) -> None:
    with engine.transaction():
        task.status = TaskStatus.COMPLETED
        released(engine, task)


class TestHandingOut:
    def test_what_becomes_of_a_task(self, either: Engine) -> None:
        task = scheduled(either, callback_after_seconds=7)
        before = either.clock.now()
        assert polled(either) == ids(task)
        assert task.status is TaskStatus.IN_PROGRESS
        assert before <= task.start_time == task.update_time <= either.clock.now()
        assert (task.poll_count, task.worker_id, task.callback_after_seconds) == (1, "worker", 0)
        assert task.first_start_time == 0, "as on the released server"
        assert not task.queued
        assert polled(either) == []

    def test_the_second_time_its_start_stays(self, either: Engine) -> None:
        task = scheduled(either, start_time=5, poll_count=1)
        polled(either)
        assert (task.start_time, task.poll_count) == (5, 2)

    def test_its_workflow_is_looked_at_when_its_response_is_due(self, either: Engine) -> None:
        task = scheduled(either, response_timeout_seconds=600)
        polled(either)
        due = either.alarms.at(task.workflow.workflow_id)
        assert due is not None
        assert 599_000 <= due - either.clock.now() <= 601_000

    def test_count_zero_is_one_and_negative_is_all(self, either: Engine) -> None:
        tasks = [scheduled(either) for _ in range(4)]
        assert polled(either, count=0) == ids(tasks[0])
        assert polled(either, count=-1) == ids(*tasks[1:])

    def test_a_domain(self, either: Engine) -> None:
        task = scheduled(either, domain="east")
        assert polled(either) == []
        assert polled(either, domain="east") == ids(task)

    def test_what_cannot_be_rendered_is_in_progress_with_all_of_its_batch(self, either: Engine) -> None:
        tasks = [scheduled(either) for _ in range(3)]

        def render(task: TaskRecord) -> str:
            raise ValueError(task.task_id)

        with pytest.raises(ValueError, match=tasks[0].task_id):
            poll(either, "job", "worker", "", 3, -1, render, lambda: True)
        assert {task.status for task in tasks} == {TaskStatus.IN_PROGRESS}

    def test_nothing_is_handed_out_that_is_not_on_disk(self, either: Engine) -> None:
        task = scheduled(either)
        assert isinstance(either.store, FullDisk)
        either.store.full = True
        with pytest.raises(StoreFailure):
            polled(either)
        assert (task.status, task.poll_count, task.worker_id, task.start_time) == (TaskStatus.SCHEDULED, 0, "", 0)
        either.store.full = False
        assert polled(either) == []
        either.clock.advance(60)
        assert polled(either) == ids(task)


class TestWaiting:
    def test_the_first_task_ends_the_wait(self, engine: Engine) -> None:
        waiting = BackgroundPoll(engine, count=10, wait_ms=LONG).waits()
        task = scheduled(engine)
        assert waiting.join() == ids(task)

    def test_what_is_there_is_not_waited_for(self, engine: Engine) -> None:
        task = scheduled(engine)
        began = time.monotonic()
        assert polled(engine, count=10, wait_ms=LONG) == ids(task)
        assert time.monotonic() - began < 5

    def test_a_task_wakes_the_poll_that_came_first(self, engine: Engine) -> None:
        polls = [BackgroundPoll(engine, wait_ms=LONG).waits() for _ in range(3)]
        tasks = []
        for waiting in polls:
            tasks.append(scheduled(engine))
            assert waiting.join() == ids(tasks[-1])

    def test_a_wait_ends(self, engine: Engine) -> None:
        began = time.monotonic()
        assert polled(engine, wait_ms=60) == []
        assert 0.06 <= time.monotonic() - began < 5

    def test_no_wait_is_the_default_wait(self, either: Engine) -> None:
        began = time.monotonic()
        assert polled(either, wait_ms=0) == []
        assert 0.1 <= time.monotonic() - began < 5

    def test_the_clock_brings_a_delayed_task(self, engine: Engine) -> None:
        task = scheduled(engine, delay_ms=3_600_000)
        waiting = BackgroundPoll(engine, wait_ms=LONG).waits()
        engine.clock.advance(3_600)
        assert waiting.join() == ids(task)

    def test_each_delayed_task_wakes_one_poll(self, engine: Engine) -> None:
        tasks = [scheduled(engine, delay_ms=1_000 * number) for number in (1, 2)]
        polls = [BackgroundPoll(engine, wait_ms=LONG).waits() for _ in range(2)]
        engine.clock.advance(1)
        assert polls[0].join() == ids(tasks[0])
        engine.clock.advance(1)
        assert polls[1].join() == ids(tasks[1])

    def test_a_stop_ends_it_empty(self, either: Engine) -> None:
        waiting = BackgroundPoll(either, count=2, wait_ms=LONG)
        if not either.strict:
            waiting.waits()
        task = scheduled(either, delay_ms=1)
        with either.lock:
            either.queues.close()
        assert waiting.join() == []
        assert task.status is TaskStatus.SCHEDULED
        assert task.queued
        assert polled(either, wait_ms=LONG) == []

    def test_a_caller_that_goes_away_takes_nothing(self, engine: Engine) -> None:
        waiting = BackgroundPoll(engine, wait_ms=LONG).waits()
        waiting.caller.go()
        assert waiting.join() == []
        task = scheduled(engine)
        assert polled(engine) == ids(task)

    def test_one_that_went_away_unnoticed_does_not_either(self, engine: Engine) -> None:
        gone = BackgroundPoll(engine, wait_ms=LONG).waits()
        next_one = BackgroundPoll(engine, wait_ms=LONG).waits()
        gone.caller.gone = True
        task = scheduled(engine)
        assert gone.join() == []
        assert next_one.join() == ids(task)

    def test_a_caller_that_is_gone_before_it_asks(self, engine: Engine) -> None:
        task = scheduled(engine)
        caller = Caller()
        caller.go()
        assert polled(engine, wait_ms=LONG, caller=caller) == []
        assert task.status is TaskStatus.SCHEDULED

    def test_a_poll_that_fails_leaves_no_place_behind(self, engine: Engine) -> None:
        assert isinstance(engine.store, FullDisk)
        waiting = BackgroundPoll(engine, wait_ms=LONG).waits()
        engine.store.full = True
        with pytest.raises(StoreFailure):
            scheduled(engine)
        with engine.lock:
            engine.queues.wake(engine.clock.now())
        waiting.join()
        assert isinstance(waiting.error, StoreFailure)
        engine.store.full = False
        task = scheduled(engine)
        assert polled(engine) == ids(task)

    def test_many_polls_and_tasks(self, engine: Engine) -> None:
        """Every task is handed out exactly once, whatever polls come, wait and go meanwhile."""
        handed_out: SimpleQueue[str] = SimpleQueue()

        def work() -> None:
            while answer := polled(engine, count=3, wait_ms=LONG):
                for task_id in answer:
                    handed_out.put(task_id)

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        tasks = []
        for number in range(300):
            tasks.append(scheduled(engine, delay_ms=number % 3 * 1_000))
            leaving = BackgroundPoll(engine, wait_ms=LONG)
            leaving.caller.go()
            engine.clock.advance(0.1)
            for task_id in leaving.join() or []:
                handed_out.put(task_id)
        engine.clock.advance(2)
        received = [handed_out.get(timeout=10) for _ in tasks]
        with engine.lock:
            engine.queues.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert sorted(received) == sorted(ids(*tasks))
        assert handed_out.empty()


class TestStrictWaiting:
    def test_waits_for_a_full_batch(self, strict: Engine) -> None:
        tasks = [scheduled(strict) for _ in range(2)]
        began = time.monotonic()
        assert polled(strict, count=3, wait_ms=250) == ids(*tasks)
        assert 0.3 <= time.monotonic() - began < 5, "it looks every 100 ms"

    def test_a_full_batch_ends_the_wait(self, strict: Engine) -> None:
        first = scheduled(strict)
        waiting = BackgroundPoll(strict, count=2, wait_ms=LONG)
        second = scheduled(strict)
        assert waiting.join() == ids(first, second)

    def test_a_batch_in_the_making_is_held(self, strict: Engine) -> None:
        task = scheduled(strict)
        waiting = BackgroundPoll(strict, count=2, wait_ms=LONG)
        deadline = time.monotonic() + 10
        while not strict.queues.held("job") and time.monotonic() < deadline:
            time.sleep(0.001)
        assert task.status is TaskStatus.SCHEDULED
        assert strict.queues.size("job") == 1
        assert polled(strict) == []
        scheduled(strict)
        assert len(waiting.join() or []) == 2
        assert strict.queues.size("job") == 0

    def test_what_has_ended_meanwhile_is_not_handed_out(self, strict: Engine) -> None:
        task = scheduled(strict)
        waiting = BackgroundPoll(strict, count=2, wait_ms=LONG)
        deadline = time.monotonic() + 10
        while not strict.queues.held("job") and time.monotonic() < deadline:
            time.sleep(0.001)
        with strict.transaction():
            task.status = TaskStatus.CANCELED
            task.workflow.status = WorkflowStatus.TERMINATED
        other = scheduled(strict)
        assert waiting.join() == ids(other)

    def test_goes_on_for_a_caller_that_is_gone(self, strict: Engine) -> None:
        task = scheduled(strict)
        caller = Caller()
        caller.go()
        assert polled(strict, wait_ms=100, caller=caller) == ids(task)


class TestConcurrencyLimit:
    PLAN = a_plan(concurrent_exec_limit=2)

    def test_as_many_as_allowed_in_the_order_of_their_creation(self, either: Engine) -> None:
        tasks = [scheduled(either, self.PLAN) for _ in range(5)]
        assert polled(either, count=5) == ids(*tasks[:2])
        assert polled(either, count=5) == []
        assert either.queues.size("job") == 3

    def test_one_that_ends_lets_the_next_go_at_once(self, either: Engine) -> None:
        tasks = [scheduled(either, self.PLAN) for _ in range(5)]
        polled(either, count=5)
        end(either, tasks[1])
        assert polled(either, count=5) == ids(tasks[2])
        end(either, tasks[0])
        end(either, tasks[2])
        assert polled(either, count=5) == ids(*tasks[3:])

    def test_one_that_ends_wakes_a_poll(self, engine: Engine) -> None:
        tasks = [scheduled(engine, self.PLAN) for _ in range(3)]
        polled(engine, count=3)
        waiting = BackgroundPoll(engine, wait_ms=LONG).waits()
        end(engine, tasks[0])
        assert waiting.join() == ids(tasks[2])

    def test_those_put_back_come_again_after_a_minute(self, either: Engine) -> None:
        tasks = [scheduled(either, self.PLAN) for _ in range(3)]
        polled(either, count=3)
        assert tasks[2].deliver_at - either.clock.now() > 59_000
        either.clock.advance(60)
        assert polled(either, count=3) == []
        assert tasks[2].deliver_at - either.clock.now() > 59_000

    def test_one_that_waits_for_its_callback_holds_its_place(self, either: Engine) -> None:
        plan = a_plan(concurrent_exec_limit=1)
        first, second = scheduled(either, plan), scheduled(either, plan)
        polled(either)
        with either.transaction():
            first.status = TaskStatus.SCHEDULED
            either.queues.offer(first, either.clock.now() + 30_000)
        assert polled(either, count=2) == []
        either.clock.advance(60)
        assert polled(either, count=2) == ids(first)
        end(either, first)
        assert polled(either, count=2) == ids(second)

    def test_a_delay_of_its_own_is_kept(self, either: Engine) -> None:
        first = scheduled(either, self.PLAN)
        delayed = scheduled(either, self.PLAN, delay_ms=10_000)
        polled(either)
        end(either, first)
        assert polled(either) == []
        either.clock.advance(10)
        assert polled(either) == ids(delayed)

    def test_it_does_not_remember_what_has_ended(self, engine: Engine) -> None:
        blocked = scheduled(engine, self.PLAN, delay_ms=10**9)
        for _ in range(1_000):
            task = scheduled(engine, self.PLAN)
            assert polled(engine) == ids(task)
            end(engine, task)
        kept = vars(engine.limits).values()
        assert sum(len(tasks) for each in kept for tasks in each.values()) == 1
        end(engine, blocked)
        assert not any(kept)


class TestRateLimit:
    def test_a_sliding_window(self, either: Engine) -> None:
        plan = a_plan(rate_limit_per_frequency=2, rate_limit_frequency_in_seconds=90)
        tasks = [scheduled(either, plan) for _ in range(4)]
        assert polled(either) == ids(tasks[0])
        either.clock.advance(40)
        assert polled(either, count=9) == ids(tasks[1])
        assert tasks[2].deliver_at - either.clock.now() > 59_000
        either.clock.advance(60)
        assert polled(either, count=9) == ids(tasks[2]), "40 + 60 s: the first is out of the window"
        either.clock.advance(60)
        assert polled(either, count=9) == ids(tasks[3])

    def test_a_limit_without_a_window_is_none(self, either: Engine) -> None:
        plan = a_plan(rate_limit_per_frequency=1)
        tasks = [scheduled(either, plan) for _ in range(3)]
        assert polled(either, count=3) == ids(*tasks)


class TestWhoPolls:
    def test_a_queue_is_active_for_ten_seconds(self, either: Engine) -> None:
        history = either.polls
        assert not history.active("east:job", either.clock.now())
        polled(either, domain="east")
        assert history.active("east:job", either.clock.now() + 9_900)
        assert not history.active("east:job", either.clock.now() + 10_001)
        assert not history.active("job", either.clock.now())

    def test_and_while_a_poll_waits(self, engine: Engine) -> None:
        waiting = BackgroundPoll(engine, domain="east", wait_ms=LONG).waits()
        assert engine.polls.active("east:job", engine.clock.now() + 20_000)
        waiting.caller.go()
        waiting.join()
        assert not engine.polls.active("east:job", engine.clock.now() + 20_000)

    def test_queues_polled_long_ago_are_forgotten(self) -> None:
        history = PollHistory()
        for number in range(25_000):
            history.polled(f"queue {number}", number)
        assert len(history._last) == 10_000
        assert history.active("queue 24999", 25_000)
