"""Running the tasks of a worker in processes, one for each slot."""

from __future__ import annotations

import atexit
import logging
import threading
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import WorkerProcessError
from conductor_grpc.poller.slots.child import Child
from conductor_grpc.poller.spawned import ChildEnded, check_main_module, log_levels
from conductor_grpc.worker.attempt import Attempt
from conductor_grpc.worker.child_process import ChildSettings
from conductor_grpc.worker.pickles import pickled, pickled_middleware, pickled_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conductor_grpc.poller.slots.run import Outcome, Run
    from conductor_grpc.worker.attempt import BigIntegers
    from conductor_grpc.worker.external_payload import ExternalPayloads
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 3
"""How many processes are started for one task, if they die before they are ready."""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 10.0
"""Seconds before the next process is started, where the last one has died before it was ready."""

CLOSE_GRACE: Final = 2.0
"""Seconds that processes, and resources, get at least to end when the poller has stopped."""


class ProcessRunner:
    """A Runner with a process for each thread that calls it, started at its first task.

    What blocks for other reasons, such as the external storage, stays in this process. A process that dies fails its
    task, and only that; the next task of the slot gets a new one.
    """

    def __init__(
        self,
        worker: WorkerInterface,
        worker_id: str,
        big_integers: BigIntegers,
        external: ExternalPayloads | None,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
    ) -> None:
        """
        Raises:
            WorkerDefinitionError: The worker cannot be pickled; or this is one of those processes itself, since the
                program's main module starts a poller when it is imported.
        """
        check_main_module(repr(worker.task_definition_name))
        self._settings = ChildSettings(
            pickled(worker),
            worker_id,
            big_integers,
            log_levels(),
            pickled_middleware(middleware, worker),
            pickled_resources(resources or {}, worker),
            worker.concurrency,
        )
        self._name = worker.task_definition_name
        self._grace = worker.cancellation_grace
        self._external = external
        self._slot = threading.local()
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._failures = 0
        self._closed = threading.Event()
        self._watches = False
        atexit.register(self.kill)  # before that of multiprocessing, which would wait for them

    def __call__(self, run: Run) -> Outcome | None:
        """Runs one task in this thread's process. Blocks."""
        attempt = Attempt(run.task, run.context, self._settings.worker_id, self._settings.big_integers, self._external)
        if not self._watches:  # once, for it is the same for all tasks
            self._watches = True
            run.context.stopping.call_when_set(self._wake_all)
        try:
            outcome = self._perform(run, attempt.prepare())
            return None if outcome is None else attempt.complete(*outcome)
        except BaseException as error:  # noqa: BLE001 - whatever it is, a task without an outcome blocks its workflow
            return attempt.fail(error)

    def end(self) -> None:
        """Ask all processes to end; called once no task is begun any more. Those that are busy end after their task.
        Never blocks for long."""
        self._closed.set()
        for child in self._all():
            child.end()

    def close(self, left: Callable[[], float]) -> list[str]:
        """As `end`, and wait for it while there is time `left`, in seconds; those that still run then are killed.
        Returns what could not be closed there, in words."""
        self.end()
        errors = []
        for child in self._all():
            errors += child.last_words(left)
            self._forget(child)
        atexit.unregister(self.kill)
        return errors

    def kill(self) -> None:
        """End all processes at once."""
        self._closed.set()
        for child in self._all():
            child.kill()

    def _all(self) -> list[Child]:
        with self._lock:
            return list(self._children)

    def _wake_all(self) -> None:
        for child in self._all():
            child.wake()

    def _perform(self, run: Run, task: Task) -> Outcome | None:
        child = self._child(run)
        if child is None:
            return None
        try:
            if run.cancelled.is_set():  # while the process got ready
                return None
            return child.run(run, task, self._grace)
        except ChildEnded as ended:
            self._forget(child)
            if run.cancelled.is_set() or self._closed.is_set():  # it was killed for that, or nobody cares any more
                why = "was cancelled" if run.cancelled.is_set() else "has no result, since its poller ends"
                logger.info("%s %s: its task %s %s", child, ended, run.held.task_id, why)
                return None
            raise WorkerProcessError(f"the process that ran it {ended}") from None
        finally:
            if self._closed.is_set():
                child.end()

    def _child(self, run: Run) -> Child | None:
        """This thread's process, ready; None if the task was cancelled meanwhile, or the poller has ended.

        Raises:
            WorkerProcessError: There is none.
        """
        child: Child | None = getattr(self._slot, "child", None)
        if child is not None:
            if not child.wait(0):
                return child
            logger.warning("%s %s between two tasks", child, child.ending())
            self._forget(child)
        why = ""
        for _ in range(ATTEMPTS):
            if run.cancelled.wait(self._pause()) or self._closed.is_set():
                return None
            child = self._new_child()
            try:
                child.wait_ready()
            except ChildEnded as ended:
                self._forget(child)
                if self._closed.is_set():
                    return None
                why = str(ended)
                self._failures += 1
                logger.error("%s %s before it could take a task", child, why)  # noqa: TRY400 - it says it all
                continue
            self._failures = 0
            self._slot.child = child
            return child
        raise WorkerProcessError(
            f"no process for worker {self._name!r} gets ready to run it; {ATTEMPTS} were tried, and the last one {why}."
            " What it printed on stderr says more; a program's main module must be importable, with what it does"
            ' under if __name__ == "__main__":'
        )

    def _new_child(self) -> Child:
        child = Child(self._name, self._settings)
        with self._lock:
            self._children.add(child)
        if self._closed.is_set():  # since it was begun; whoever closed it does not know this one
            child.kill()
        return child

    def _pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._failures - 1)) if self._failures else 0.0

    def _forget(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        if getattr(self._slot, "child", None) is child:
            self._slot.child = None
        child.close()
