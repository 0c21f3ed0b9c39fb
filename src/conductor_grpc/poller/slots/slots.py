"""Permits, and the tasks that wait or run; how they are run is up to the subclasses."""

from __future__ import annotations

import abc
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.slots.run import Run
from conductor_grpc.worker.context import TaskContext
from conductor_grpc.worker.task import without_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.slots.run import Outcome
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

LINGER: Final = 0.005
"""Seconds a poll waits for more slots when all were taken: one poll for several tasks costs server and client
much less than one each. It ends as soon as half of the slots are free, so a single slot never waits."""

DELIVERY: Final = 1.0
"""Seconds that a result on its way to `deliver` gets when its task is about to be abandoned."""

ABANDONED: Final = "its poller has stopped and handed the task back"
"""Why a task is cancelled that does not end before the drain does."""


@dataclass(frozen=True)
class SlotsHooks:
    """Whom slots tell what becomes of their tasks. Calls come on any thread and must not block.

    The tasks that `deliver` is given are those of `Run.held`.
    """

    deliver: Callable[[Task, TaskResult, bytes], None]
    """Takes a task, its result and that result's serialised UpdateTaskRequest."""
    give_up: Callable[[Run], None]
    """Takes a task that was cancelled and whose worker has ended without a result."""
    on_death: DeathHandler


class Slots(abc.ABC):
    """`concurrency` slots for the tasks of one worker, fed by the intake.

    A permit is reserved before the poll and settled after it; a task keeps its permit until its result has been
    handed to `deliver`. Tasks beyond the permits (a server may send more than asked for) wait for a slot, and no
    permit is given out until they are done. Thread-safe.
    """

    def __init__(self, worker: WorkerInterface, hooks: SlotsHooks, leases: LeaseKeeper | None = None) -> None:
        self._worker = worker
        self._hooks = hooks
        self._leases = leases
        self._concurrency = worker.concurrency
        self._lock = threading.Lock()
        self._permits = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._free = self._concurrency
        self._waiting: deque[Run] = deque()
        self._running: dict[int, Run] = {}
        self._delivering = 0
        self._closed = False
        self.begun = 0
        """How many tasks a worker has begun."""
        self.full_house = 0
        """How often a poll had to wait for a slot."""
        self.measure: Callable[[Run, Outcome | None], None] | None = None
        """Called, on any thread, when a worker is done with a task; set before the first one comes."""

    @property
    def free(self) -> int:
        return max(0, self._free)

    @property
    def running(self) -> int:
        return len(self._running)

    def reserve(self, most: int, timeout: float | None = None) -> int:
        """Permits for a poll, at least 1 and at most `most`. Blocks until there are any, at most `timeout` seconds
        (None: for ever); 0 if there are none by then, or once closed."""
        with self._permits:
            self.full_house += self._free <= 0
            if self._free <= 0 and self._permits.wait_for(lambda: self._free > 0 or self._closed, timeout):
                enough = (self._concurrency + 1) // 2
                self._permits.wait_for(lambda: self._free >= enough or self._closed, LINGER)
            if self._closed or self._free <= 0:
                return 0
            reserved = min(self._free, most)
            self._free -= reserved
            return reserved

    def settle(self, reserved: int, received: int) -> None:
        """Say how many tasks came for the permits reserved; more than reserved are a debt to be worked off."""
        with self._permits:
            self._free += reserved - received
            if self._free > 0:
                self._permits.notify()

    def submit(self, task: Task, *, late: bool = False) -> None:
        """Queue a task for a slot. Never blocks. After `close` it joins those that `take_back` gives back.

        `late`: the server has handed it out a while ago. Its lease is kept from now on, while it waits too.
        """
        run = Run(TaskContext(task), without_payload(task))
        if self._leases is not None:
            self._leases.running(run.held, run.cancelled, extend=self._worker.lease, late=late)
        with self._lock:
            self._waiting.append(run)
            self._begin()

    def close(self) -> None:
        """No more permits, and no more tasks are begun; running ones go on. Never blocks."""
        with self._lock:
            self._closed = True
            self._permits.notify_all()
            self._wake_all()

    def take_back(self) -> list[Task]:
        """The tasks that have not been begun, which the caller answers for from now on."""
        with self._lock:
            unstarted = list(self._waiting)
            self._waiting.clear()
        for run in unstarted:
            self._end_lease(run)
        return [run.task for run in unstarted]

    def long_running(self, seconds: float) -> list[Run]:
        """Those begun at least so many seconds ago and not cancelled."""
        latest = time.monotonic() - seconds
        with self._lock:
            return [run for run in self._running.values() if run.begun <= latest and not run.cancelled.is_set()]

    def runs(self, run: Run) -> bool:
        """Whether this task is still running here."""
        with self._lock:
            return id(run) in self._running

    def cancel(self, run: Run, reason: str) -> bool:
        """Cancel a running task that the server has done with, so that its lease is not kept any more. Its worker goes
        on until it notices. False if it was cancelled before."""
        self._end_lease(run)
        return run.cancelled.set(reason)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs, at most `timeout` seconds; True if none does."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running and not self._delivering, timeout)

    def abandon(self) -> list[Run]:
        """Those still running, which are cancelled. Their results, should they come yet, are dropped with a warning.

        Results that are just being delivered are waited for, since `deliver` does not block.
        """
        with self._idle:
            abandoned = list(self._running.values())
            self._running.clear()
            self._idle.wait_for(lambda: not self._delivering, DELIVERY)
        for run in abandoned:
            self._end_lease(run)
            run.cancelled.set(ABANDONED)
        return abandoned

    @abc.abstractmethod
    def runs_on_this_thread(self) -> bool:
        """Whether the caller is a task."""

    @abc.abstractmethod
    def join(self, timeout: float) -> bool:
        """After `close`: wait at most `timeout` seconds for the end of each thread, or whatever runs the tasks;
        True if all have ended."""

    @abc.abstractmethod
    def _begin(self) -> None:
        """Get a waiting task begun where there is a free slot; the lock is held. Must not block."""

    @abc.abstractmethod
    def _wake_all(self) -> None:
        """The slots are closed: end all waits for tasks; the lock is held."""

    def _take(self) -> Run:
        """The next waiting task, which runs from now on; the lock is held."""
        run = self._waiting.popleft()
        run.begun = time.monotonic()
        self._running[id(run)] = run
        self.begun += 1
        return run

    def _finish(self, run: Run, outcome: Outcome | None) -> None:
        """Pass on what became of a task and free its slot."""
        if self.measure is not None:
            self.measure(run, outcome)
        with self._lock:
            abandoned = self._running.pop(id(run), None) is None
            self._delivering += 1
        try:
            self._pass_on(run, outcome, abandoned)
        finally:
            with self._lock:
                self._delivering -= 1
                self._free += 1
                if self._free in (1, (self._concurrency + 1) // 2):
                    self._permits.notify()
                if not self._running and not self._delivering:
                    self._idle.notify_all()

    def _pass_on(self, run: Run, outcome: Outcome | None, abandoned: bool) -> None:
        task_id = run.held.task_id
        if abandoned:
            ended = "given up" if outcome is None else str(outcome[0].status)
            logger.warning("task %s ended as %s after it had been handed back, so that is dropped", task_id, ended)
            return
        self._end_lease(run)
        if outcome is None:
            logger.info("task %s was given up by its worker: %s", task_id, run.cancelled.reason)
            self._hooks.give_up(run)
        else:
            self._hooks.deliver(run.held, *outcome)

    def _end_lease(self, run: Run) -> None:
        # Before the outcome is passed on, or else the two might overlap.
        if self._leases is not None:
            self._leases.ended(run.held)
