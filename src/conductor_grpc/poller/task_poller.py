"""The poll/ack loop of one process: its parts put together."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conductor_grpc.configuration import configured
from conductor_grpc.errors import PollerError, WorkerDefinitionError
from conductor_grpc.poller.drain import Deadline, DrainReport
from conductor_grpc.poller.health import PollerHealth, State, WorkerHealth
from conductor_grpc.poller.measures import Measures
from conductor_grpc.poller.parts import Lane, Parts
from conductor_grpc.poller.slots.factory import check_surroundings
from conductor_grpc.poller.stop_request import SIGNAL_LOOK, StopRequest
from conductor_grpc.worker.environment import DeployedWorker, deployed
from conductor_grpc.worker.interface import check_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory

logger = logging.getLogger(__name__)


class TaskPoller:
    """Polls for tasks over gRPC, runs them and acknowledges them, from this process.

    Either `run()`, which blocks until SIGTERM or SIGINT, or `start()` and `stop()`, or as a context manager, which
    starts and stops. A poller runs once: after `stop` make a new one. All methods are thread-safe.
    """

    def __init__(
        self,
        workers: Sequence[WorkerInterface],
        configuration: Configuration | None = None,
        *,
        metrics_settings: MetricsSettings | None = None,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            workers: At least one. Several may serve the same task type; each has its own slots. Environment variables
                may change their options in this poller, see docs/executors.md.
            configuration: Default: from the environment, see `Configuration`.
            metrics_settings: Where metrics go; None: there are none, and nothing is counted for them.
            middleware: What goes around each task of each worker, outside of the worker's own; the first is outermost.
                See docs/middleware.md.
            resources: What the workers share, opened once by each process that runs tasks and closed at the end of
                the drain: by name a function that returns a context manager, or a generator function that yields the
                resource. See docs/middleware.md.

        Raises:
            WorkerDefinitionError: There is no worker, or one cannot be run, or not with this middleware or these
                resources.
            ConfigurationError: `configuration` or `metrics_settings` is something else, or an environment variable for
                a worker has no usable value.
        """
        if not isinstance(workers, Iterable) or not workers:
            raise WorkerDefinitionError(f"workers is {workers!r}, expected a list of at least one worker")
        self._workers = deployed([check_worker(worker) for worker in workers])
        check_surroundings(self._workers, middleware, resources or {})
        self.configuration = configured(configuration)
        if metrics_settings is not None:
            from conductor_grpc.observe.settings import check_metrics_settings  # it stands above this room

            check_metrics_settings(metrics_settings)
        self._metrics_settings = metrics_settings
        self._measures = None if metrics_settings is None else Measures()
        self._parts = Parts(self._workers, self.configuration, self._measures, self._on_death, middleware, resources)
        self._lifecycle = threading.Lock()
        self._started = False
        self._deadline: Deadline | None = None
        self._stopping = False
        self._stop_request = StopRequest()
        self._paused = {
            each.task_definition_name for each in self._workers if isinstance(each, DeployedWorker) and each.paused
        }
        self._ended = threading.Event()
        self._failure: PollerError | None = None
        self._failure_lock = threading.Lock()  # a part may die while a failed start, which has the other, joins it
        self._dead: dict[str, str] = {}

    def start(self) -> None:
        """Begin to poll. Returns as soon as the workers' resources are open; a server that is not there yet is waited
        for in the background. Starting twice is harmless.

        Raises:
            ResourceError: A resource could not be opened; those that are open already are closed again.
            JournalError: Another poller has the journal's folder.
            PollerError: The poller was stopped before: make a new one.
        """
        with self._lifecycle:
            if self._deadline is not None:
                raise PollerError("this poller was stopped and cannot be started again: make a new one")
            if self._started:
                return
            self.configuration.configure_logging()
            try:
                self._parts.assemble()
                for lane in self._parts.lanes:
                    if lane.worker.task_definition_name in self._paused:
                        lane.intake.pause()
                self._observe()
                self._parts.open_resources(lambda: self._stopping)
                self._parts.start()
            except BaseException:
                self._abort()
                raise
            self._started = True
        types = ", ".join(repr(worker.task_definition_name) for worker in self._workers)
        logger.info("polling %s for %s as %r", self.configuration.target, types, self.configuration.worker_id)

    def run(self) -> DrainReport:
        """Start, wait for SIGTERM or SIGINT (or `stop` from another thread), drain, and report. Blocks.

        After a second signal running tasks have two seconds to end, and after a third none: then they are handed
        back, and run again. Signals are handled only where this is called on the main thread, as Python demands.

        Raises:
            ResourceError: As `start`; also where a signal has ended the wait for one.
            JournalError: Another poller has the journal's folder.
            PollerError: A background part died, or the poller was stopped before. What was there was drained.
        """
        with self._signal_handlers():
            self.start()
            self._stop_request.wait()
            report = self.stop()
        if self._failure is not None:
            raise self._failure
        return report

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the poller has stopped, at most `timeout` seconds; True if it has.

        Raises:
            PollerError: A background part died. What was there was drained first.
        """
        ended = self._ended.wait(timeout)
        if ended and self._failure is not None:
            raise self._failure
        return ended

    def stop(self, timeout: float | None = None) -> DrainReport:
        """Stop polling, hand back what has not begun, finish what runs, send every result. Blocks.

        The poll in flight is waited for whatever the timeout, up to `configuration.poll_wait_ms` and five seconds:
        the server may have given its tasks to us already. A further call, from wherever, waits for the first and
        returns the same report; with a `timeout` it moves the first one's deadline up, never back. Stopping a poller
        that was not started is harmless.

        Args:
            timeout: Seconds that running tasks and unsent results get; default `configuration.drain_timeout`.

        Raises:
            PollerError: Called by a task of this poller, which would wait for its own end. Nothing is stopped.
        """
        if any(lane.slots.runs_on_this_thread() for lane in self._parts.lanes):
            raise PollerError(
                "stop() was called by a task that this poller runs, and would wait for that task to end: call it on a "
                "thread of its own, threading.Thread(target=poller.stop).start()"
            )
        self._stopping = True  # for a start that has the lock, and waits for a resource that hangs
        with self._lifecycle:
            first = self._deadline is None
            if self._deadline is None:
                self._deadline = Deadline(self.configuration.drain_timeout if timeout is None else timeout)
        self._request_stop()
        self._stop_request.hurry(self._deadline)  # signals may have come before there was a deadline to move
        if first:
            self._drain(self._deadline)
        elif timeout is not None:
            self._deadline.shorten(timeout)
        while not self._ended.wait(SIGNAL_LOOK):
            pass  # in steps, as in StopRequest.wait: there may be a signal that wakes nobody
        return self._parts.report

    def pause(self, task_definition_name: str) -> None:
        """Take no more tasks of this type, after the poll in flight, until `resume`. Running ones go on.

        Raises:
            WorkerDefinitionError: No worker of this poller has that type.
        """
        with self._lifecycle:  # before the start there are no lanes yet
            lanes = self._lanes_of(task_definition_name)
            self._paused.add(task_definition_name)
        for lane in lanes:
            lane.intake.pause()

    def resume(self, task_definition_name: str) -> None:
        """Take tasks of this type again.

        Raises:
            WorkerDefinitionError: No worker of this poller has that type.
        """
        with self._lifecycle:
            lanes = self._lanes_of(task_definition_name)
            self._paused.discard(task_definition_name)
        for lane in lanes:
            lane.intake.resume()

    def health(self) -> PollerHealth:
        """How the poller is doing at this moment. Never blocks."""
        parts = self._parts
        outbox, leases, journal, watch = parts.outbox, parts.leases, parts.journal, parts.cancellations
        workers = tuple(WorkerHealth.of(lane.worker, lane.domain, lane.intake, lane.slots) for lane in parts.lanes)
        reasons = []
        if self._failure is not None:
            reasons.append(str(self._failure))
        if not self._started:
            reasons.append("not started")
        state: State = "running" if self._started else "not started"
        if self._stopping:
            state = "stopped" if self._ended.is_set() else "stopping"
            reasons.append(state)
        dead = {part.name: "its thread has ended" for part in self._parts.background if part.died} | self._dead
        reasons += [
            f"polling {worker.task_definition_name!r} fails: {worker.last_error}"
            for worker in workers
            if worker.last_error is not None
        ]
        return PollerHealth(
            healthy=not reasons,
            reasons=tuple(reasons),
            unsent=len(outbox),
            refused=outbox.refused,
            workers=workers,
            journal_failure=None if journal is None else journal.failed,
            given_up=outbox.given_up,
            late={each.value: count for each, count in outbox.late.copy().items()},
            repaired=outbox.repaired,
            leases_extended=leases.extended,
            leases_lost=leases.lost,
            cancelled={} if watch is None else {each.value: count for each, count in watch.cancelled.copy().items()},
            state=state,
            dead_parts=tuple(f"{part} died: {why}" for part, why in dead.items()),
            unsent_bytes=outbox.bytes,
            oldest_unsent=outbox.oldest,
            unsent_at_stop=parts.report.unsent,
            lease_lag=leases.lag,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _observe(self) -> None:
        if self._metrics_settings is None or self._measures is None:
            return
        from conductor_grpc.observe.observer import Observer  # it stands above this room, and loads prometheus_client

        observer = Observer(self._metrics_settings, self.health, self._measures)
        # Closed first of the resources, but last of all in the drain, so it shows that too.
        self._parts.resources.callback(observer.stop)
        observer.start()

    def _lanes_of(self, task_definition_name: str) -> list[Lane]:
        if all(worker.task_definition_name != task_definition_name for worker in self._workers):
            known = ", ".join(sorted({repr(worker.task_definition_name) for worker in self._workers}))
            raise WorkerDefinitionError(f"no worker here runs {task_definition_name!r}, only {known}")
        return [lane for lane in self._parts.lanes if lane.worker.task_definition_name == task_definition_name]

    def _on_death(self, part: str, error: BaseException) -> None:
        self._note_death(part, error)
        self._request_stop()  # whoever waits in `run` drains, also where there is no thread to be had below
        # On a thread of its own, since the drain joins the one that calls this.
        try:
            threading.Thread(target=self.stop, name="conductor-shutdown", daemon=True).start()
        except RuntimeError as no_thread:  # which is perhaps what the part has died of
            logger.critical("no thread to stop the poller on: `run` does that, or else call stop(): %s", no_thread)

    def _note_death(self, part: str, error: BaseException) -> None:
        with self._failure_lock:
            self._dead[part] = f"{type(error).__name__}: {error}"
            if self._failure is None:
                self._failure = PollerError(f"{part} died: {type(error).__name__}: {error}")
                self._failure.__cause__ = error

    def _abort(self) -> None:
        """End what a failed start has begun; the lock is held. No task has been taken for long, if any."""
        self._deadline = Deadline(0)
        self._request_stop()
        self._end()

    def _drain(self, deadline: Deadline) -> None:
        try:
            if self._started:
                self._parts.drain(deadline)
        except BaseException as error:
            self._note_death("the drain", error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._end()

    def _end(self) -> None:
        try:
            self._parts.end()
        finally:
            self._ended.set()

    def _request_stop(self) -> None:
        self._stopping = True
        self._stop_request.make()

    @contextlib.contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        previous = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                if handler is not None:  # None: not set by Python, so Python cannot set it again
                    signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        # No locks and no logging here: the interrupted code may hold any of them.
        self._stopping = True
        self._stop_request.signalled(self._deadline)
