"""Polls: how long they wait, what they take, and what becomes of a task that a worker gets.

The released server's part in this is ExecutionService.poll and, for the waiting, SqliteQueueDAO.pop. Waits are real
time, not the engine's clock.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from conductor_grpc.server.embedded.engine.failures import StoreFailure
from conductor_grpc.server.embedded.engine.queues import WaitingPoll
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord

T = TypeVar("T")

DEFAULT_WAIT_MS: Final = 100
"""What a wait of 0 means."""

POSTPONED_MS: Final = 60_000
"""For how long a task that must not run now is put back (`conductor.app.taskExecutionPostponeDuration`)."""

LOOK_EVERY_MS: Final = 100
"""How often the released server looks whether the batch is full."""


@dataclass(frozen=True)
class _Request(Generic[T]):
    """One poll, and how its tasks leave the engine."""

    queue_name: str
    worker_id: str
    count: int
    wait_ms: int
    render: Callable[[TaskRecord], T]
    is_active: Callable[[], bool]
    on_end: Callable[[Callable[[], None]], object]


def poll(
    engine: Engine,
    task_type: str,
    worker_id: str,
    domain: str,
    count: int,
    wait_ms: int,
    render: Callable[[TaskRecord], T],
    is_active: Callable[[], bool],
    on_end: Callable[[Callable[[], None]], object] = lambda _: None,
) -> list[T]:
    """The tasks of one type and domain for one worker.

    :param count: how many at most; 0: one; negative: all that are due, as on the released server's SQLite backend.
    :param wait_ms: for how long this blocks at most; 0: 100 ms; negative: one look, no waiting.
    :param render: makes the answer of a task, under the engine's lock, once all tasks of the poll are IN_PROGRESS.
    :param is_active: False once nobody waits for the answer.
    :param on_end: has its argument called, by any thread, when `is_active` becomes False (a gRPC context's
        `add_callback`).

    In strict mode this waits until the batch is full or the time is over, and takes tasks whether or not anybody
    is there to have them. Else it waits until there is at least one task, and takes nothing once `is_active` is
    False. A server that stops ends all waits, with empty answers.

    Raises what `render` raises (the tasks are IN_PROGRESS then), and StoreFailure (no task was handed out then).
    """
    queue_name = f"{domain}:{task_type}" if domain else task_type
    request = _Request(queue_name, worker_id, count or 1, wait_ms or DEFAULT_WAIT_MS, render, is_active, on_end)
    return _fill(engine, request) if engine.strict else _first_come(engine, request)


def released(engine: Engine, task: TaskRecord) -> None:
    """A task has ended: those that its definition's concurrency limit has held back may go, as many as it allows."""
    for each in engine.limits.ended(task):
        engine.queues.offer(each, engine.clock.now())


# -- waiting --


def _first_come(engine: Engine, request: _Request[T]) -> list[T]:
    deadline = time.monotonic() + request.wait_ms / 1000
    queue_name, place = request.queue_name, WaitingPoll()
    with engine.lock:
        engine.polls.began(queue_name)
    try:
        over = request.wait_ms < 0
        while True:
            with _handing_out(engine) as handed_out:
                engine.queues.leave(queue_name, place)
                answer = _take(engine, request, handed_out)
                over = over or time.monotonic() >= deadline or engine.queues.closed.is_set()
                if answer or over:
                    return answer
                engine.queues.enter(queue_name, place)
            if not place.waited:
                request.on_end(place.turn.set)
            if not request.is_active():
                return []
            place.wait(deadline - time.monotonic())
    finally:
        with engine.lock:
            now = engine.clock.now()
            engine.polls.ended(queue_name, now)
            engine.queues.leave(queue_name, place)
            engine.queues.wake(now)


def _fill(engine: Engine, request: _Request[T]) -> list[T]:
    began = time.monotonic()
    queues, queue_name, count = engine.queues, request.queue_name, request.count
    tasks: list[TaskRecord] = []
    while True:
        with engine.lock:
            # Off the queue, and SCHEDULED until the batch is complete.
            more = queues.take(queue_name, count - len(tasks) if count > 0 else count, engine.clock.now())
            queues.hold(queue_name, len(more))
        tasks += more
        if request.wait_ms < 0 or len(tasks) >= count or (time.monotonic() - began) * 1000 > request.wait_ms:
            break
        if queues.closed.wait(LOOK_EVERY_MS / 1000):
            break
    with _handing_out(engine) as handed_out:
        queues.hold(queue_name, -len(tasks))
        engine.polls.polled(queue_name, engine.clock.now())
        if not queues.closed.is_set():
            return _hand_out(engine, request, tasks, handed_out)
        for task in tasks:
            if task.is_open:
                queues.offer(task, task.deliver_at)
        return []


# -- handing out --


def _take(engine: Engine, request: _Request[T], handed_out: list[_HandedOut]) -> list[T]:
    if engine.queues.closed.is_set() or not request.is_active():
        return []
    tasks = engine.queues.take(request.queue_name, request.count, engine.clock.now())
    return _hand_out(engine, request, tasks, handed_out)


def _hand_out(engine: Engine, request: _Request[T], tasks: list[TaskRecord], handed_out: list[_HandedOut]) -> list[T]:
    now = engine.clock.now()
    given = []
    for task in tasks:
        if not task.is_open or engine.shelf.find_task(task.task_id) is None:
            continue
        # One that was held may have been offered again meanwhile.
        engine.queues.remove(task)
        if not engine.limits.allow(task):
            engine.queues.offer(task, now + POSTPONED_MS)
            engine.limits.held_back(task, now + POSTPONED_MS)
            continue
        if not engine.rates.allow(task, now):
            engine.queues.offer(task, now + POSTPONED_MS)
            continue
        handed_out.append(_HandedOut(task))
        task.status = TaskStatus.IN_PROGRESS
        task.start_time = task.start_time or now
        task.update_time = now
        task.callback_after_seconds = 0
        task.worker_id = request.worker_id
        task.poll_count += 1
        engine.limits.started(task)
        engine.touch(task)
        given.append(task)
    return [request.render(task) for task in given]


class _HandedOut:
    """A task as it was before a worker got it."""

    __slots__ = ("_before", "task")

    def __init__(self, task: TaskRecord) -> None:
        self.task = task
        self._before = (task.status, task.start_time, task.update_time, task.callback_after_seconds, task.worker_id)

    def take_back(self) -> None:
        task = self.task
        task.status, task.start_time, task.update_time, task.callback_after_seconds, task.worker_id = self._before
        task.poll_count -= 1


@contextlib.contextmanager
def _handing_out(engine: Engine) -> Iterator[list[_HandedOut]]:
    """A transaction; the tasks that are put into its list go back to the queue if it cannot be saved."""
    handed_out: list[_HandedOut] = []
    with engine.lock:
        try:
            with engine.transaction():
                yield handed_out
        except StoreFailure:
            for each in handed_out:
                each.take_back()
                engine.queues.offer(each.task, engine.clock.now() + POSTPONED_MS)
            raise
