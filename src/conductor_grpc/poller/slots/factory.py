"""From a worker to the slots that run it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conductor_grpc.errors import TaskCancelledError
from conductor_grpc.poller.slots.coroutines import AsyncSlots
from conductor_grpc.poller.slots.event_loop import EventLoop
from conductor_grpc.poller.slots.processes import CLOSE_GRACE, ProcessRunner
from conductor_grpc.poller.slots.threads import ThreadSlots
from conductor_grpc.worker.executor import executor_of
from conductor_grpc.worker.runner import run_to_wire, run_to_wire_async

if TYPE_CHECKING:
    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.slots.coroutines import AsyncRunner
    from conductor_grpc.poller.slots.run import Outcome, Run, Runner
    from conductor_grpc.poller.slots.slots import Slots, SlotsHooks
    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.runner import BigIntegers


class Executors:
    """Makes the slots of a poller's workers, and has what they share. Used by one thread at a time."""

    def __init__(
        self,
        hooks: SlotsHooks,
        leases: LeaseKeeper,
        big_integers: BigIntegers = "error",
        external: ExternalPayloads | None = None,
    ) -> None:
        self._hooks = hooks
        self._leases = leases
        self._big_integers = big_integers
        self._external = external
        self._loop: EventLoop | None = None
        self._coroutines: list[AsyncSlots] = []
        self._processes: list[ProcessRunner] = []

    def slots(self, worker: WorkerInterface, worker_id: str) -> Slots:
        """
        Raises:
            WorkerDefinitionError: The worker is to run in processes, and cannot reach one.
        """
        executor = executor_of(worker)
        if executor == "async":
            slots = AsyncSlots(
                worker, self._async_runner(worker, worker_id), self._hooks, self._event_loop(), self._leases
            )
            self._coroutines.append(slots)
            return slots
        if executor == "process":
            processes = ProcessRunner(worker, worker_id, self._big_integers, self._external)
            self._processes.append(processes)
            return self.threads(worker, processes)
        # Native code lets go of the interpreter's lock by itself, so threads are all it needs.
        return self.threads(worker, self._runner(worker, worker_id))

    def threads(self, worker: WorkerInterface, run: Runner) -> Slots:
        return ThreadSlots(worker, run, self._hooks, self._leases)

    def close(self) -> None:
        """End what the slots share; they are closed, and what still runs is of no use. Blocks a few seconds at most."""
        for slots in self._coroutines:
            slots.abandon()  # or they would take the end of the loop for a failure of the worker
        # All at once, so that the grace is one for all.
        for processes in self._processes:
            processes.end()
        deadline = time.monotonic() + CLOSE_GRACE
        if self._loop is not None:
            self._loop.close()
        for processes in self._processes:
            processes.close(deadline)

    def _event_loop(self) -> EventLoop:
        if self._loop is None:
            self._loop = EventLoop(self._hooks.on_death)
            self._loop.start()
        return self._loop

    def _runner(self, worker: WorkerInterface, worker_id: str) -> Runner:
        big_integers, external = self._big_integers, self._external

        def run(run: Run) -> Outcome | None:
            try:
                return run_to_wire(
                    worker, run.task, worker_id, big_integers=big_integers, external=external, context=run.context
                )
            except TaskCancelledError:
                return None

        return run

    def _async_runner(self, worker: WorkerInterface, worker_id: str) -> AsyncRunner:
        big_integers, external = self._big_integers, self._external

        async def run(run: Run) -> Outcome | None:
            try:
                return await run_to_wire_async(
                    worker, run.task, worker_id, big_integers=big_integers, external=external, context=run.context
                )
            except TaskCancelledError:
                return None

        return run
