"""The part that looks at long-running tasks, by itself: what it makes of what it finds, and how often it looks."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_for

from conductor_grpc import Task, TaskStatus
from conductor_grpc.poller import cancellation as cancellation_module
from conductor_grpc.poller.cancellation import CancellationWatch, Cause, verdict
from conductor_grpc.poller.slots import Run
from conductor_grpc.worker.context import TaskContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECK = 0.1


def held(**fields: Any) -> Task:
    return Task(**{"task_id": "a", "worker_id": "me", "poll_count": 2, **fields})


@pytest.mark.parametrize(
    ("found", "cause", "words"),
    [
        (None, Cause.GONE, "the server knows no such task any more"),
        (held(worker_id="you"), Cause.REASSIGNED, "it was given to another worker, 'you'"),
        (held(poll_count=3), Cause.REASSIGNED, "it was handed out once more"),
        (held(status=TaskStatus.SCHEDULED), Cause.REASSIGNED, "it was put back on its queue"),
        (held(status=TaskStatus.TIMED_OUT), Cause.TIMED_OUT, "it has timed out (task status TIMED_OUT)"),
        (held(status=TaskStatus.SKIPPED), Cause.ENDED, "it was skipped (task status SKIPPED)"),
        (
            held(status=TaskStatus.COMPLETED, worker_id="you"),
            Cause.ENDED,
            "it was ended by somebody else (task status COMPLETED)",
        ),
        (
            held(status=TaskStatus.CANCELED, reason_for_incompletion="enough"),
            Cause.TERMINATED,
            "its workflow was terminated or has failed (task status CANCELED: enough)",
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Cause) else "",
)
def test_what_a_look_may_find(found: Task | None, cause: Cause, words: str) -> None:
    seen = verdict(held(), found)
    assert seen is not None
    assert seen[0] is cause
    assert seen[1].startswith(words)


def test_a_task_that_is_as_it_was_is_wanted() -> None:
    assert verdict(held(), held()) is None


class Lane:
    """In place of slots: tasks that run until they are taken out."""

    def __init__(self, *runs: Run) -> None:
        self.all = list(runs)
        self.cancelled: list[str] = []

    def long_running(self, seconds: float) -> list[Run]:
        latest = time.monotonic() - seconds
        return [run for run in self.all if run.begun <= latest and not run.cancelled.is_set()]

    def runs(self, run: Run) -> bool:
        return run in self.all

    def cancel(self, run: Run, reason: str) -> bool:
        self.cancelled.append(run.held.task_id)
        return run.cancelled.set(reason)


def a_run(task_id: str, age: float = 0.0) -> Run:
    task = Task(task_id=task_id, worker_id="me", poll_count=1)
    return Run(TaskContext(task), task, time.monotonic() - age)


@contextmanager
def watching(
    *lanes: Lane, find: Callable[[str], Task | None], interval: float = CHECK
) -> Iterator[tuple[CancellationWatch, list[str]]]:
    looked_after: list[str] = []
    watch = CancellationWatch(
        lanes,  # type: ignore[arg-type]
        find,
        looked_after.append,
        interval,
        lambda _, error: pytest.fail(f"the watch died: {error}"),
    )
    watch.start()
    try:
        yield watch, looked_after
    finally:
        watch.stop()
        assert watch.join(20)


def test_those_unlooked_for_longest_come_first_and_each_gets_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation_module, "GAP", 0.001)
    monkeypatch.setattr(cancellation_module, "LOOKS_PER_SECOND", 3)
    looks: list[str] = []
    enough = threading.Event()

    def find(task_id: str) -> Task:
        looks.append(task_id)
        if len(looks) == 60:
            enough.set()
        return Task(task_id=task_id, worker_id="me", poll_count=1)

    lanes = [Lane(*(a_run(f"{lane}{n}", 100 - n) for n in range(10))) for lane in "ab"]
    with watching(*lanes, find=find, interval=0.01):
        assert enough.wait(30)
    first = looks[:20]
    assert len(set(first)) == 20
    assert [int(each[1]) for each in first] == [n for n in range(10) for _ in "ab"]
    assert looks[20:40] == first
    assert looks[40:60] == first


def test_looks_are_at_a_bounded_rate() -> None:
    looks: list[float] = []

    def find(task_id: str) -> Task:
        looks.append(time.monotonic())
        return Task(task_id=task_id, worker_id="me", poll_count=1)

    with watching(Lane(*(a_run(str(n), 100) for n in range(1000))), find=find):
        wait_for(lambda: len(looks) >= 30)
    pauses = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert min(pauses) >= cancellation_module.GAP * 0.9


def test_a_short_task_is_never_looked_at() -> None:
    looks: list[str] = []

    def find(task_id: str) -> None:
        looks.append(task_id)

    lane = Lane(a_run("old", 100), a_run("young", -100))
    with watching(lane, find=find) as (watch, looked_after):
        wait_for(lambda: watch.cancelled[Cause.GONE] == 1)
    assert looks == lane.cancelled == looked_after == ["old"]


def test_a_task_that_ends_here_during_the_look_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "conductor_grpc")
    lane = Lane(a_run("a", 100))
    looked = threading.Semaphore(0)

    def find(task_id: str) -> Task:
        looked.release()
        if lane.all[0].held.task_id == task_id == "a":
            lane.all[0] = a_run("b", 100)
        return Task(
            task_id=task_id,
            status=TaskStatus.COMPLETED if task_id == "a" else TaskStatus.IN_PROGRESS,
            worker_id="me",
            poll_count=1,
        )

    with watching(lane, find=find) as (watch, looked_after):
        for _ in range(3):
            assert looked.acquire(timeout=20)
    assert (watch.cancelled, lane.cancelled, looked_after) == ({}, [], [])
    assert not caplog.records
