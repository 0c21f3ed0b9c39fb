"""Permits, and the tasks that wait or run; how they are run is up to the subclasses."""

from __future__ import annotations

import abc
import contextvars
import functools
import logging
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.slots.allowance import Allowance
from conductor_grpc.poller.slots.run import Run
from conductor_grpc.worker.context import Cancellation, TaskContext
from conductor_grpc.worker.task import without_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.slots.run import Outcome
    from conductor_grpc.poller.slots.shared_limit import SharedLimit
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

LINGER: Final = 0.005
"""Seconds a poll waits for more slots when all were taken: one poll for several tasks costs server and client
much less than one each. It ends as soon as half of the slots are free, so a single slot never waits."""

ASK_AGAIN: Final = 0.1
"""Seconds after which a supplier whose answer may change is asked again, while there is no slot for a poll."""

PATIENCE: Final = 5.0
"""Seconds that a task waits for a slot of a limit shared with other workers. It may be hours until one of them has
done, and meanwhile the task could run in another process."""

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
    progress: Callable[[str, str], None] | None = None
    """Takes the id of a task that runs, and a line that says how far it is."""


class Slots(abc.ABC):
    """Slots for the tasks of one worker, as many as its supplier grants, fed by the intake.

    A permit is reserved before the poll and settled after it; a task keeps its permit until its result has been
    handed to `deliver`. Tasks beyond the permits (a server may send more than asked for) wait for a slot, and no
    permit is given out until they are done. Under a limit that is shared with other workers a task waits for a slot
    of that as well. Thread-safe, but `reserve` and `settle` are called in turn, by one thread.
    """

    def __init__(
        self,
        worker: WorkerInterface,
        hooks: SlotsHooks,
        leases: LeaseKeeper | None = None,
        shared: SharedLimit | None = None,
    ) -> None:
        self._worker = worker
        self._hooks = hooks
        self._leases = leases
        self._variables = contextvars.copy_context()
        """Those of the thread that starts the poller, which tasks find as it has set them."""
        self._allowance = Allowance(worker)
        self.maximum: Final = self._allowance.maximum
        """The most slots there will ever be."""
        self._limit = self._allowance.granted
        self._lock = threading.Lock() if shared is None else shared.lock
        self._share = None if shared is None else shared.share(self._wanted, self._given)
        self._permits = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._used = 0
        """Permits that are reserved, and tasks that are here."""
        self._asked = 0
        """Permits that `reserve` waits for a shared slot for."""
        self._waiting: deque[Run] = deque()
        self._running: dict[int, Run] = {}
        self._active = 0
        """Tasks that were begun and have not given back their slot."""
        self._delivering = 0
        self._closed = False
        self._stopping = Cancellation()
        self.begun = 0
        """How many tasks a worker has begun."""
        self.full_house = 0
        """How often a poll had to wait for a slot."""
        self.measure: Callable[[Run, Outcome | None], None] | None = None
        """Called, on any thread, when a worker is done with a task; set before the first one comes."""

    @property
    def free(self) -> int:
        """Slots for further tasks at this moment, those of the shared limit counted for each worker."""
        free = self._limit - self._used
        return max(0, free if self._share is None else min(free, self._share.limit.free))

    @property
    def capacity(self) -> int:
        """How many tasks may run at this moment, those that do included."""
        if self._share is None:
            return self._limit
        return min(self._limit, self._share.held + self._share.limit.free)

    @property
    def running(self) -> int:
        return len(self._running)

    def reserve(self, most: int, timeout: float | None = None, *, scout: bool = False) -> int:
        """Permits for a poll, at least 1 and at most `most`. Blocks until there are any, at most `timeout` seconds
        (None: for ever); 0 if there are none by then, or once closed.

        `scout`: the poll may have to wait for its task, so other workers may have the shared slots meanwhile.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        waited = False
        while True:
            limit = self._allowance.ask(self._used)  # without the lock, since it is the user's
            with self._permits:
                self._set_limit(limit)
                if self._may_take(most):
                    if waited:
                        self._linger(most)
                    return self._take_permits(most, scout=scout)
                self.full_house += not waited
                waited = True
                left = min(deadline - time.monotonic(), math.inf if self._allowance.fixed else ASK_AGAIN)
                if self._closed or left <= 0:
                    return self._take_permits(0)
                self._permits.wait_for(lambda: self._closed or self._may_take(most), None if left == math.inf else left)

    def settle(self, reserved: int, received: int) -> None:
        """Say how many tasks came for the permits reserved; more than reserved are a debt to be worked off."""
        with self._permits:
            self._used += received - reserved
            if self._share is not None:
                self._share.lower_to(self._wanted())

    def submit(self, task: Task, *, late: bool = False) -> None:
        """Queue a task for a slot. Never blocks. After `close` it joins those that `take_back` gives back.

        `late`: the server has handed it out a while ago. Its lease is kept from now on, while it waits too.
        """
        run = Run(TaskContext(task, stopping=self._stopping), without_payload(task))
        if self._hooks.progress is not None:
            run.context.report = functools.partial(self._hooks.progress, run.held.task_id)
        if self._leases is not None:
            lease = self._leases.running(run.held, run.cancelled, extend=self._worker.lease, late=late)
            run.lease = run.context.lease = lease
        with self._lock:
            self._waiting.append(run)
            if self._share is not None:
                self._share.raise_to(self._wanted())
            self._begin()

    def close(self) -> None:
        """No more permits, and no more tasks are begun; running ones go on. Never blocks."""
        with self._lock:
            self._closed = True
            self._permits.notify_all()
            self._wake_all()
        self._stopping.set("its poller stops")

    def take_back(self) -> list[Task]:
        """The tasks that have not been begun, which the caller answers for from now on."""
        with self._lock:
            unstarted = list(self._waiting)
            self._waiting.clear()
        for run in unstarted:
            self._end_lease(run)
        return [run.task for run in unstarted]

    def surplus(self) -> list[Task]:
        """The tasks that have waited PATIENCE seconds for a shared slot, which the caller answers for from now on."""
        if self._share is None:
            return []
        latest = time.monotonic() - PATIENCE
        surplus = []
        with self._lock:
            while self._waiting and self._waiting[0].begun <= latest and self._lacks_shared():
                surplus.append(self._waiting.popleft())
            self._used -= len(surplus)
        for run in surplus:
            self._end_lease(run)
        return [run.task for run in surplus]

    def until_surplus(self) -> float:
        """Seconds until `surplus` is to be asked again; infinite if no task waits."""
        if self._share is None:
            return math.inf
        with self._lock:
            if not self._waiting:
                return math.inf
            if not self._lacks_shared():
                return PATIENCE  # the first is on its way to its slot, or waits for one of the worker's own
            return max(0.0, self._waiting[0].begun + PATIENCE - time.monotonic())

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

    def _startable(self) -> int:
        """How many of the waiting tasks may begin now, 0 or fewer if none; the lock is held."""
        slots = self._limit if self._share is None else min(self._limit, self._share.held)
        return min(len(self._waiting), slots - self._active)

    def _take(self) -> Run:
        """The next waiting task, which runs from now on; the lock is held."""
        run = self._waiting.popleft()
        self._active += 1
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
                self._active -= 1
                self._used -= 1
                if self._share is not None:
                    self._share.lower_to(self._share.held - 1)  # to whoever waits longest
                    self._share.raise_to(self._wanted())
                if self._limit - self._used in (1, (self._limit + 1) // 2):
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

    def _set_limit(self, limit: int) -> None:
        more = limit > self._limit
        self._limit = limit
        if more:
            if self._share is not None:
                self._share.raise_to(self._wanted())
            self._begin()

    def _may_take(self, most: int) -> int:
        """How many permits there are for a poll, at most `most`; the lock is held. Where there could be more but for
        the shared limit, they are waited for in its queue from now on."""
        free = 0 if self._closed else max(0, min(self._limit - self._used, most))
        if self._share is None:
            return free
        self._asked = free
        wanted = self._wanted()
        self._share.raise_to(wanted)
        self._share.lower_to(wanted)  # the supplier may have taken back what they were for
        return max(0, self._share.held - (wanted - free))

    def _linger(self, most: int) -> None:
        """Wait for more permits; the lock is held."""
        limit = self._limit if self._share is None else min(self._limit, self._share.limit.limit)
        enough = min(most, (limit + 1) // 2)
        self._permits.wait_for(lambda: self._closed or self._may_take(most) >= enough, LINGER)

    def _take_permits(self, most: int, *, scout: bool = False) -> int:
        """`_may_take`, and take them; the lock is held."""
        taken = self._may_take(most)
        self._used += taken
        if self._share is not None:
            self._asked = 0
            self._share.lower_to(self._wanted() + (0 if scout else taken))
        return taken

    def _wanted(self) -> int:
        """How many slots of the shared limit this worker could do with; the lock is held."""
        if self._closed:
            return self._active
        # What waits for a slot of the worker's own would keep one of these from the others.
        return self._active + self._asked + min(len(self._waiting), max(0, self._limit - self._active))

    def _lacks_shared(self) -> bool:
        """Whether the next task would begin but for the shared limit; the lock is held."""
        return self._share is not None and self._share.held <= self._active < self._limit

    def _given(self) -> None:
        """A slot of the shared limit is there that was waited for; the lock is held."""
        self._begin()
        self._permits.notify()
