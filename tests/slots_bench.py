"""Slots over workers whose tasks end when the test lets them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from waiting import wait_for

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface
from conductor_grpc.poller.slots import SlotsHooks, ThreadSlots
from conductor_grpc.worker.runner import run_to_wire

if TYPE_CHECKING:
    from conductor_grpc.poller.slots import Outcome, Run
    from conductor_grpc.poller.slots.shared_limit import SharedLimit


class Gates:
    """A gate for each task, closed at first; and which tasks have come to theirs, in that order."""

    def __init__(self, pause: float = 0.0) -> None:
        """`pause`: seconds that each task takes beside its gate."""
        self._pause = pause
        self._changed = threading.Condition()
        self._open: set[str] = set()
        self._all = False
        self.begun: list[str] = []
        self.most: dict[str, int] = defaultdict(int)
        """The most tasks that ran at once, by type and, under "", of all types."""
        self._now: dict[str, int] = defaultdict(int)

    def pass_through(self, task_type: str, task_id: str) -> None:
        with self._changed:
            self.begun.append(task_id)
            for each in ("", task_type):
                self._now[each] += 1
                self.most[each] = max(self.most[each], self._now[each])
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._all or task_id in self._open, 60)
        time.sleep(self._pause)
        with self._changed:
            for each in ("", task_type):
                self._now[each] -= 1

    def open(self, *task_ids: str) -> None:
        with self._changed:
            self._open.update(task_ids)
            self._changed.notify_all()

    def open_all(self) -> None:
        with self._changed:
            self._all = True
            self._changed.notify_all()

    def wait_begun(self, *task_ids: str) -> None:
        with self._changed:
            reached = self._changed.wait_for(lambda: set(task_ids) <= set(self.begun), 20)
            assert reached, f"only {self.begun} have begun"


class Worker(WorkerInterface):
    def __init__(self, name: str, gates: Gates, **options: Any) -> None:
        super().__init__(name, **options)
        self._gates = gates

    def execute(self, task: Task) -> TaskResult:
        self._gates.pass_through(self.task_definition_name, task.task_id)
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result


class Bench:
    """The slots of one worker."""

    def __init__(self, name: str, gates: Gates, shared: SharedLimit | None = None, **options: Any) -> None:
        worker = Worker(name, gates, **options)
        self.delivered: list[str] = []
        self.deaths: list[BaseException] = []
        hooks = SlotsHooks(
            lambda task, _result, _wire: self.delivered.append(task.task_id),
            lambda _run: None,
            lambda _, error: self.deaths.append(error),
        )

        def run(run: Run) -> Outcome | None:
            return run_to_wire(worker, run.task, "me", context=run.context)

        self.slots = ThreadSlots(worker, run, hooks, None, shared)
        self._reserved = 0

    def poll(self, *ids: str, asked: int | None = None, scout: bool = False) -> None:
        """A poll, from the permit to the last task. `asked`: for how many; all of them must be granted."""
        asked = len(ids) if asked is None else asked
        reserved = self.slots.reserve(asked, 20, scout=scout)
        assert reserved == asked
        self.arrive(*ids)
        self.slots.settle(reserved, len(ids))

    def arrive(self, *ids: str) -> None:
        for task_id in ids:
            self.slots.submit(Task(task_id=task_id, workflow_instance_id="w"))

    def reserving(self, most: int = 1, *, scout: bool = False) -> Reserving:
        return Reserving(self, most, scout)

    def wait_delivered(self, *ids: str) -> None:
        wait_for(lambda: set(ids) <= set(self.delivered))


class Reserving(threading.Thread):
    """A call of `reserve` that is expected to block; begun when this is made."""

    def __init__(self, bench: Bench, most: int, scout: bool) -> None:
        super().__init__(daemon=True)
        self._bench, self._most, self._scout = bench, most, scout
        self.got: int | None = None
        before = bench.slots.full_house
        self.start()
        wait_for(lambda: bench.slots.full_house > before or self.got is not None)

    def run(self) -> None:
        self.got = self._bench.slots.reserve(self._most, scout=self._scout)

    def result(self) -> int:
        self.join(20)
        assert self.got is not None, "it still waits"
        return self.got
