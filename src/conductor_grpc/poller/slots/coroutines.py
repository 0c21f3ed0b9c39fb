"""Slots that are asyncio tasks."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.slots.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.slots.event_loop import EventLoop
    from conductor_grpc.poller.slots.run import Outcome, Run
    from conductor_grpc.poller.slots.shared_limit import SharedLimit
    from conductor_grpc.poller.slots.slots import SlotsHooks
    from conductor_grpc.worker.interface import WorkerInterface

    AsyncRunner = Callable[[Run], Awaitable[Outcome | None]]
    """As a Runner, on the event loop."""

logger = logging.getLogger(__name__)

BATCH: Final = 100
"""Most tasks begun in one turn of the loop: what else waits for it must not wait for thousands."""


class AsyncSlots(Slots):
    """Each slot is an asyncio task on a loop that all async workers share: thousands of them cost no thread."""

    def __init__(
        self,
        worker: WorkerInterface,
        run: AsyncRunner,
        hooks: SlotsHooks,
        loop: EventLoop,
        leases: LeaseKeeper | None = None,
        shared: SharedLimit | None = None,
    ) -> None:
        super().__init__(worker, hooks, leases, shared)
        self._run = run
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = False

    def runs_on_this_thread(self) -> bool:
        return self._loop.runs_on_this_thread()

    def join(self, timeout: float) -> bool:
        with self._idle:
            return self._idle.wait_for(lambda: not self._tasks, timeout)

    def _wake_all(self) -> None:
        """Nothing on the loop waits for tasks."""

    def _begin(self) -> None:
        """Wake the loop, once for however many tasks; the lock is held."""
        if self._waiting and not self._woken and not self._closed and self._startable() > 0:
            self._woken = True
            self._loop.call(self._begin_some)

    def _begin_some(self) -> None:
        with self._lock:
            self._woken = False
            if self._closed:
                return
            count = min(self._startable(), BATCH)
            runs = [self._take() for _ in range(count)]
            self._begin()
        for run in runs:
            name = f"{self._worker.task_definition_name} {run.held.task_id}"
            # An asyncio task copies the context in which it is made.
            task = self._variables.run(self._loop.create_task, self._main(run), name)
            with self._lock:
                self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _main(self, run: Run) -> None:
        try:
            task = asyncio.current_task()
            assert task is not None
            run.cancelled.call_when_set(functools.partial(self._loop.call, task.cancel))
            self._finish(run, await self._run(run))
        except GeneratorExit:  # the loop has ended, and nobody will ever go on with this
            raise
        except BaseException as error:
            logger.critical("an asyncio task of worker %r died", self._worker.task_definition_name, exc_info=True)
            self._hooks.on_death(f"{self._worker.task_definition_name} (async)", error)

    def _finish(self, run: Run, outcome: Outcome | None) -> None:
        super()._finish(run, outcome)
        with self._lock:
            self._begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        with self._idle:
            self._tasks.discard(task)
            if not self._tasks:
                self._idle.notify_all()
