"""The threads that run a worker's tasks, and the permits that keep the poller from taking more than they can run."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from conductor_grpc.worker.runner import run_to_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.runner import BigIntegers
    from conductor_grpc.worker.task import Task

    Deliver = Callable[[Task, TaskResult, bytes], None]
    """Takes a task, its result and that result's serialised UpdateTaskRequest; must not block."""

logger = logging.getLogger(__name__)

LINGER: Final = 0.005
"""Seconds a poll waits for more slots when all were taken: one poll for several tasks costs server and client
much less than one each. It ends as soon as half of the slots are free, so a single slot never waits."""

DELIVERY: Final = 1.0
"""Seconds that a result on its way to `deliver` gets when its task is about to be abandoned."""


class Slots:
    """`concurrency` threads running one worker, fed by the intake, with results passed to `deliver`.

    A permit is reserved before the poll and settled after it; a task keeps its permit until its result has been
    handed to `deliver`. Tasks beyond the permits (a server may send more than asked for) wait for a thread, and
    no permit is given out until they are done. Thread-safe.
    """

    def __init__(
        self,
        worker: WorkerInterface,
        worker_id: str,
        deliver: Deliver,
        on_death: DeathHandler,
        big_integers: BigIntegers = "error",
        external: ExternalPayloads | None = None,
        leases: LeaseKeeper | None = None,
    ) -> None:
        self._worker = worker
        self._worker_id = worker_id
        self._big_integers = big_integers
        self._external = external
        self._leases = leases
        self._deliver = deliver
        self._on_death = on_death
        self._concurrency = worker.concurrency
        self._lock = threading.Lock()
        self._permits = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._free = self._concurrency
        self._waiting: deque[Task] = deque()
        self._running: dict[int, Task] = {}
        self._delivering = 0
        self._threads: list[threading.Thread] = []
        self._idle_threads = 0
        self._waking = False
        self._closed = False

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
        """Queue a task for a thread. Never blocks. After `close` it joins those that `take_back` gives back.

        `late`: the server has handed it out a while ago. Its lease is kept from now on, while it waits too.
        """
        if self._leases is not None:
            self._leases.running(task, extend=self._worker.lease, late=late)
        with self._lock:
            self._waiting.append(task)
            self._wake_one()

    def close(self) -> None:
        """No more permits, and no more tasks are begun; running ones go on. Never blocks."""
        with self._lock:
            self._closed = True
            self._permits.notify_all()
            self._work.notify_all()

    def take_back(self) -> list[Task]:
        """The tasks that no thread has begun, which the caller answers for from now on."""
        with self._lock:
            unstarted = list(self._waiting)
            self._waiting.clear()
        for task in unstarted:
            self._end_lease(task)
        return unstarted

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no task runs, at most `timeout` seconds; True if none does."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running and not self._delivering, timeout)

    def abandon(self) -> list[Task]:
        """The tasks still running. Their results, should they come yet, are dropped with a warning.

        Results that are just being delivered are waited for, since `deliver` does not block.
        """
        with self._idle:
            abandoned = list(self._running.values())
            self._running.clear()
            self._idle.wait_for(lambda: not self._delivering, DELIVERY)
        for task in abandoned:
            self._end_lease(task)
        return abandoned

    def runs_on_this_thread(self) -> bool:
        """Whether the caller is a task."""
        return threading.current_thread() in self._threads

    def join(self, timeout: float) -> bool:
        """After `close`: wait at most `timeout` seconds for each thread's end; True if all have ended."""
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    def _wake_one(self) -> None:
        """Get one more thread to work, if there is work; the lock is held.

        Only one at a time is on its way, and it wakes the next when it takes its task. With tasks that take no
        time a single thread then does them all, instead of dozens that wake up to fight over the interpreter.
        """
        if not self._waiting or self._waking or self._closed:
            return
        if self._idle_threads:
            self._waking = True
            self._work.notify()
        elif len(self._threads) < self._concurrency:
            name = f"{self._worker.task_definition_name}-{len(self._threads)}"
            thread = threading.Thread(target=self._main, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no more threads
                if not self._threads:
                    raise
                logger.warning("worker %r goes on with %d threads: %s", name, len(self._threads), error)
                return
            self._threads.append(thread)
            self._waking = True

    def _main(self) -> None:
        try:
            woken = True  # by whoever started this thread
            while (task := self._next(woken)) is not None:
                woken = False
                self._run(task)
        except BaseException as error:
            logger.critical("a thread of worker %r died", self._worker.task_definition_name, exc_info=True)
            self._on_death(threading.current_thread().name, error)

    def _next(self, woken: bool) -> Task | None:
        with self._work:
            while not self._waiting or self._closed:
                if woken:
                    self._waking = False
                if self._closed:
                    return None
                self._idle_threads += 1
                self._work.wait()
                self._idle_threads -= 1
                woken = True
            if woken:
                self._waking = False
            task = self._waiting.popleft()
            self._running[id(task)] = task
            self._wake_one()
            return task

    def _run(self, task: Task) -> None:
        result, wire = run_to_wire(
            self._worker, task, self._worker_id, big_integers=self._big_integers, external=self._external
        )
        with self._lock:
            abandoned = self._running.pop(id(task), None) is None
            self._delivering += 1
        if abandoned:
            logger.warning(
                "task %s ended as %s after it had been handed back, so that result is dropped",
                task.task_id,
                result.status,
            )
        else:
            self._end_lease(task)
            self._deliver(task, result, wire)
        with self._lock:
            self._delivering -= 1
            self._free += 1
            if self._free in (1, (self._concurrency + 1) // 2):
                self._permits.notify()
            if not self._running and not self._delivering:
                self._idle.notify_all()

    def _end_lease(self, task: Task) -> None:
        # Before the outcome is passed on, or else the two might overlap.
        if self._leases is not None:
            self._leases.ended(task)
