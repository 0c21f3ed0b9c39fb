"""From a worker to the slots that run it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conductor_grpc.errors import TaskCancelledError
from conductor_grpc.poller.slots.coroutines import AsyncSlots
from conductor_grpc.poller.slots.event_loop import EventLoop
from conductor_grpc.poller.slots.processes import CLOSE_GRACE, ProcessRunner
from conductor_grpc.poller.slots.resources import ResourceKeeper
from conductor_grpc.poller.slots.shared_limit import SharedLimit
from conductor_grpc.poller.slots.threads import ThreadSlots
from conductor_grpc.worker.executor import executor_of
from conductor_grpc.worker.middleware import check_middleware
from conductor_grpc.worker.pickles import pickled_middleware, pickled_resources
from conductor_grpc.worker.resources import ResourceMap, check_resources
from conductor_grpc.worker.runner import run_to_wire, run_to_wire_async

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.slots.coroutines import AsyncRunner
    from conductor_grpc.poller.slots.run import Outcome, Run, Runner
    from conductor_grpc.poller.slots.slots import Slots, SlotsHooks
    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory
    from conductor_grpc.worker.runner import BigIntegers


def check_surroundings(
    workers: Sequence[WorkerInterface], middleware: Sequence[Middleware], resources: Mapping[str, ResourceFactory]
) -> None:
    """Whether a poller's middleware and resources fit its workers, which were checked.

    Raises:
        WorkerDefinitionError: They do not.
    """
    check_resources(resources, workers)
    for worker in workers:
        check_middleware(middleware, worker)
        if executor_of(worker) == "process":
            pickled_middleware(middleware, worker)
            pickled_resources(resources, worker)


class Executors:
    """Makes the slots of a poller's workers, and has what they share. Used by one thread at a time."""

    def __init__(
        self,
        hooks: SlotsHooks,
        leases: LeaseKeeper,
        big_integers: BigIntegers = "error",
        external: ExternalPayloads | None = None,
        task_limit: int | None = None,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
    ) -> None:
        """`task_limit`: the most tasks that may run at a time, whoever runs them. `middleware` goes around that of each
        worker; it and `resources` were checked."""
        self._hooks = hooks
        self._leases = leases
        self._big_integers = big_integers
        self._external = external
        self._shared = None if task_limit is None else SharedLimit(task_limit)
        self._loop: EventLoop | None = None
        self._coroutines: list[AsyncSlots] = []
        self._processes: list[ProcessRunner] = []
        self._middleware = middleware
        self._resources = resources or {}
        self._keeper: ResourceKeeper | None = None
        self._runs_here = False
        self._open = ResourceMap()

    def slots(self, worker: WorkerInterface, worker_id: str) -> Slots:
        """
        Raises:
            WorkerDefinitionError: The worker is to run in processes, and cannot reach one.
        """
        executor = executor_of(worker)
        self._runs_here = self._runs_here or executor != "process"
        if executor == "async":
            slots = AsyncSlots(
                worker,
                self._async_runner(worker, worker_id),
                self._hooks,
                self._event_loop(),
                self._leases,
                self._shared,
            )
            self._coroutines.append(slots)
            return slots
        if executor == "process":
            processes = ProcessRunner(
                worker, worker_id, self._big_integers, self._external, self._middleware, self._resources
            )
            self._processes.append(processes)
            return self.threads(worker, processes)
        # Native code lets go of the interpreter's lock by itself, so threads are all it needs.
        return self.threads(worker, self._runner(worker, worker_id))

    def threads(self, worker: WorkerInterface, run: Runner) -> Slots:
        return ThreadSlots(worker, run, self._hooks, self._leases, self._shared)

    def open_resources(self, of_no_use: Callable[[], bool]) -> None:
        """Open what the workers of this process share, if there are any; those in processes of their own open theirs.
        Called once, when all slots are made. Blocks until they are open, or `of_no_use` is true.

        Raises:
            ResourceError: One could not be opened.
        """
        if self._resources and self._runs_here:
            self._keeper = ResourceKeeper(self._resources, self._event_loop)
            self._open = self._keeper.open(of_no_use)

    def close(self, remaining: Callable[[], float] = lambda: 0.0) -> list[str]:
        """End what the slots share; they are closed, and what still runs is of no use. Resources have as long as is
        `remaining`, in seconds, to close, but at least CLOSE_GRACE; it is asked again and again, for it may shrink.
        Returns in words what has gone wrong with resources, which is logged too."""
        for slots in self._coroutines:
            slots.abandon()  # or they would take the end of the loop for a failure of the worker
        # All at once, so that the grace is one for all.
        for processes in self._processes:
            processes.end()
        soonest = time.monotonic() + CLOSE_GRACE

        def left() -> float:
            grace = max(0.0, soonest - time.monotonic())
            return max(grace, remaining()) if self._resources else grace

        errors = [] if self._keeper is None else self._keeper.close(left)
        if self._loop is not None:
            self._loop.close()
        for processes in self._processes:
            errors += processes.close(left)
        return errors

    def _event_loop(self) -> EventLoop:
        if self._loop is None:
            self._loop = EventLoop(self._hooks.on_death)
            self._loop.start()
        return self._loop

    def _runner(self, worker: WorkerInterface, worker_id: str) -> Runner:
        big_integers, external = self._big_integers, self._external
        middleware = (*self._middleware, *worker.middleware)

        def run(run: Run) -> Outcome | None:
            run.context.resources = self._open
            try:
                return run_to_wire(
                    worker,
                    run.task,
                    worker_id,
                    big_integers=big_integers,
                    external=external,
                    context=run.context,
                    middleware=middleware,
                )
            except TaskCancelledError:
                return None

        return run

    def _async_runner(self, worker: WorkerInterface, worker_id: str) -> AsyncRunner:
        big_integers, external = self._big_integers, self._external
        middleware = (*self._middleware, *worker.middleware)

        async def run(run: Run) -> Outcome | None:
            run.context.resources = self._open
            try:
                return await run_to_wire_async(
                    worker,
                    run.task,
                    worker_id,
                    big_integers=big_integers,
                    external=external,
                    context=run.context,
                    middleware=middleware,
                )
            except TaskCancelledError:
                return None

        return run
