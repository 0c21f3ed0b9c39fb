"""Slots that are threads."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from conductor_grpc.poller.slots.slots import Slots

if TYPE_CHECKING:
    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.slots.run import Run, Runner
    from conductor_grpc.poller.slots.shared_limit import SharedLimit
    from conductor_grpc.poller.slots.slots import SlotsHooks
    from conductor_grpc.worker.interface import WorkerInterface

logger = logging.getLogger(__name__)


class ThreadSlots(Slots):
    """Each slot is a thread, started when it is first needed."""

    def __init__(
        self,
        worker: WorkerInterface,
        run: Runner,
        hooks: SlotsHooks,
        leases: LeaseKeeper | None = None,
        shared: SharedLimit | None = None,
    ) -> None:
        super().__init__(worker, hooks, leases, shared)
        self._run = run
        self._work = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._idle_threads = 0
        self._waking = False

    def runs_on_this_thread(self) -> bool:
        return threading.current_thread() in self._threads

    def join(self, timeout: float) -> bool:
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    def _wake_all(self) -> None:
        self._work.notify_all()

    def _begin(self) -> None:
        """Get one more thread to work, if there is work.

        Only one at a time is on its way, and it wakes the next when it takes its task. With tasks that take no
        time a single thread then does them all, instead of dozens that wake up to fight over the interpreter.
        """
        if not self._waiting or self._waking or self._closed or self._startable() <= 0:
            return
        if self._idle_threads:
            self._waking = True
            self._work.notify()
        elif len(self._threads) < self.maximum:
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
            while (run := self._next(woken)) is not None:
                woken = False
                self._finish(run, self._variables.copy().run(self._run, run))
        except BaseException as error:
            logger.critical("a thread of worker %r died", self._worker.task_definition_name, exc_info=True)
            self._hooks.on_death(threading.current_thread().name, error)

    def _next(self, woken: bool) -> Run | None:
        with self._work:
            while self._closed or self._startable() <= 0:
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
            run = self._take()
            self._begin()
            return run
