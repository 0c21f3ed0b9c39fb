"""The poll/ack loop of one process: its parts put together."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import secrets
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import PollerError, WorkerDefinitionError
from conductor_grpc.poller.cancellation import CancellationWatch
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.drain import FLUSH_GRACE, HURRY_GRACE, Deadline, DrainReport, close_outbox, drain
from conductor_grpc.poller.health import PollerHealth, State, WorkerHealth
from conductor_grpc.poller.intake import Intake, IntakeHooks
from conductor_grpc.poller.journal import Journal
from conductor_grpc.poller.lease import LeaseKeeper
from conductor_grpc.poller.measures import Measures
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.outbox_updates import Purpose, Update, hand_back, result_update
from conductor_grpc.poller.reclaim import GrpcReclaim, Reclaim, TaskFinder, TaskIndex
from conductor_grpc.poller.reclaim_rest import RestReclaim
from conductor_grpc.poller.recovery import Recovery
from conductor_grpc.poller.slots import Executors, SlotsHooks
from conductor_grpc.poller.sources import GrpcSource, RestSource, Unreadable
from conductor_grpc.poller.storage_check import StorageCheck
from conductor_grpc.transport.channel import Channel, open_channel
from conductor_grpc.transport.rest import RestClient, open_rest_client
from conductor_grpc.transport.server_version import LeaseSupport, lease_support
from conductor_grpc.worker.attempt import MAX_UPDATE_BYTES
from conductor_grpc.worker.external_payload import ExternalPayloads
from conductor_grpc.worker.interface import WorkerInterface, check_worker
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.poller.part import BackgroundPart
    from conductor_grpc.poller.slots import Run, Slots

logger = logging.getLogger(__name__)

SIGNAL_LOOK: Final = 0.5
"""Seconds after which `run` and `stop` look whether a signal has come."""


@dataclass(frozen=True)
class _Lane:
    """What belongs to one worker."""

    worker: WorkerInterface
    domain: str | None
    intake: Intake
    slots: Slots


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
    ) -> None:
        """Connects to nothing yet.

        Args:
            workers: At least one. Several may serve the same task type; each has its own slots.
            configuration: Default: from the environment, see `Configuration`.
            metrics_settings: Where metrics go; None: there are none, and nothing is counted for them.

        Raises:
            WorkerDefinitionError: There is no worker, or one cannot be run.
        """
        if isinstance(workers, WorkerInterface) or not workers:
            raise WorkerDefinitionError(f"workers is {workers!r}, expected a list of at least one worker")
        self._workers = [check_worker(worker) for worker in workers]
        self.configuration = configuration or Configuration()
        self._custody = Custody()
        self._lanes: list[_Lane] = []
        self._outbox = Outbox(self.configuration, self._settled, self._find_task, self._on_death)
        self._leases = LeaseKeeper(self._outbox, self._lease_support, self.configuration.lease_limit, self._on_death)
        self._channel: Channel | None = None
        self._rest: RestClient | None = None
        self._finder: TaskFinder | None = None
        self._external: ExternalPayloads | None = None
        self._journal: Journal | None = None
        self._recovery: Recovery | None = None
        self._cancellations: CancellationWatch | None = None
        self._resources = contextlib.ExitStack()
        self._lifecycle = threading.Lock()
        self._started = False
        self._deadline: Deadline | None = None
        self._report = DrainReport()
        # Signal handlers touch these. No Event: its lock may be held by the very code that the signal interrupts,
        # while a SimpleQueue may be put into at any moment.
        self._stopping = False
        self._signals = 0
        self._stop_requested: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._paused: set[str] = set()
        self._ended = threading.Event()
        self._failure: PollerError | None = None
        self._failure_lock = threading.Lock()  # a part may die while a failed start, which has the other, joins it
        self._dead: dict[str, str] = {}
        self._metrics_settings = metrics_settings
        self._measures: Measures | None = None
        if metrics_settings is not None:
            self._measures = Measures()
            self._outbox.measure = self._measures.sent

    def start(self) -> None:
        """Begin to poll. Returns at once; a server that is not there yet is waited for. Starting twice is harmless.

        Raises:
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
                self._assemble()
                self._observe()
                self._outbox.start()
                self._leases.start()
                if self._journal is not None and self._recovery is not None:
                    self._journal.start()
                    self._recovery.send_outcomes()
                    self._recovery.start()
                for lane in self._lanes:
                    lane.intake.start()
                if self._cancellations is not None:
                    self._cancellations.start()
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
            JournalError: Another poller has the journal's folder.
            PollerError: A background part died, or the poller was stopped before. What was there was drained.
        """
        with self._signal_handlers():
            self.start()
            self._wait_for_stop_request()
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
        returns the same report; with `timeout=0` it cuts the first one's deadline short. Stopping a poller that
        was not started is harmless.

        Args:
            timeout: Seconds that running tasks and unsent results get; default `configuration.drain_timeout`.

        Raises:
            PollerError: Called by a task of this poller, which would wait for its own end. Nothing is stopped.
        """
        if any(lane.slots.runs_on_this_thread() for lane in self._lanes):
            raise PollerError(
                "stop() was called by a task that this poller runs, and would wait for that task to end: call it on a "
                "thread of its own, threading.Thread(target=poller.stop).start()"
            )
        with self._lifecycle:
            first = self._deadline is None
            if self._deadline is None:
                self._deadline = Deadline(self.configuration.drain_timeout if timeout is None else timeout)
        self._request_stop()
        self._hurry(self._deadline)  # signals may have come before there was a deadline to move
        if first:
            self._drain(self._deadline)
        elif timeout == 0:
            self._deadline.cut()
        while not self._ended.wait(SIGNAL_LOOK):
            pass  # in steps, as in _wait_for_stop_request: there may be a signal that wakes nobody
        return self._report

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
        workers = tuple(WorkerHealth.of(lane.worker, lane.domain, lane.intake, lane.slots) for lane in self._lanes)
        reasons = []
        if self._failure is not None:
            reasons.append(str(self._failure))
        if not self._started:
            reasons.append("not started")
        state: State = "running" if self._started else "not started"
        if self._stopping:
            state = "stopped" if self._ended.is_set() else "stopping"
            reasons.append(state)
        dead = {part.name: "its thread has ended" for part in self._parts() if part.died} | self._dead
        reasons += [
            f"polling {worker.task_definition_name!r} fails: {worker.last_error}"
            for worker in workers
            if worker.last_error is not None
        ]
        failure, watch = None if self._journal is None else self._journal.failed, self._cancellations
        return PollerHealth(
            healthy=not reasons,
            reasons=tuple(reasons),
            unsent=len(self._outbox),
            refused=self._outbox.refused,
            workers=workers,
            journal_failure=failure,
            given_up=self._outbox.given_up,
            late={each.value: count for each, count in self._outbox.late.copy().items()},
            repaired=self._outbox.repaired,
            leases_extended=self._leases.extended,
            leases_lost=self._leases.lost,
            cancelled={} if watch is None else {each.value: count for each, count in watch.cancelled.copy().items()},
            state=state,
            dead_parts=tuple(f"{part} died: {why}" for part, why in dead.items()),
            unsent_bytes=self._outbox.bytes,
            oldest_unsent=self._outbox.oldest,
            unsent_at_stop=self._report.unsent,
            lease_lag=self._leases.lag,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _assemble(self) -> None:
        configuration = self.configuration
        if configuration.journal is not None:
            self._journal = Journal.open(configuration.journal, self._on_death)
            self._resources.callback(self._journal.close)
        channel = open_channel(configuration)
        self._resources.callback(channel.close)
        rest = open_rest_client(configuration)
        if rest is not None:
            rest.measure = None if self._measures is None else self._measures.rest_called
            self._resources.callback(rest.close)
        self._channel, self._rest = channel, rest
        self._finder = TaskFinder(channel, rest)
        self._external = self._external_payloads(channel, rest)
        reclaim: Reclaim = GrpcReclaim(channel, self._custody)
        if rest is not None:
            reclaim = RestReclaim(rest, TaskIndex(channel), self._finder, self._custody)
        if self._journal is not None:
            self._recovery = Recovery(self._journal, self._custody, self._outbox, reclaim, self._finder, self._on_death)
        hooks = SlotsHooks(self._deliver, self._give_up, self._on_death)
        executors = Executors(hooks, self._leases, configuration.big_integers, self._external)
        self._resources.callback(executors.close)
        # Worker ids tell whose a task is, so no two polls in flight may share one: not those of this poller, nor
        # those of another process that was given the same id by its configuration.
        token = secrets.token_hex(8)
        for index, worker in enumerate(self._workers):
            worker_id = f"{configuration.worker_id}/{token}{index}"
            self._lanes.append(self._lane(worker, worker_id, channel, rest, reclaim, executors))
        if configuration.cancellation_check is not None:
            slots = [lane.slots for lane in self._lanes]
            self._cancellations = CancellationWatch(
                slots, self._finder.find, self._outbox.look_after, configuration.cancellation_check, self._on_death
            )

    def _observe(self) -> None:
        if self._metrics_settings is None or self._measures is None:
            return
        from conductor_grpc.observe.observer import Observer  # it stands above this room, and loads prometheus_client

        observer = Observer(self._metrics_settings, self.health, self._measures)
        self._resources.callback(observer.stop)  # closed first, but last of all in the drain, so it shows that too
        observer.start()

    def _parts(self) -> list[BackgroundPart]:
        """Those that run for as long as the poller does."""
        parts: list[BackgroundPart] = [self._outbox, self._leases, *(lane.intake for lane in self._lanes)]
        return parts + [part for part in (self._journal, self._cancellations) if part is not None]

    def _lane(
        self,
        worker: WorkerInterface,
        worker_id: str,
        channel: Channel,
        rest: RestClient | None,
        reclaim: Reclaim,
        executors: Executors,
    ) -> _Lane:
        task_type = worker.task_definition_name
        domain = worker.domain or self.configuration.domain
        slots = executors.slots(worker, worker_id)
        intake = Intake(
            task_type=task_type,
            worker_id=worker_id,
            source=GrpcSource(channel, task_type, worker_id, domain),
            rest_source=RestSource(rest, task_type, worker_id, domain) if rest else None,
            reclaim=reclaim,
            slots=slots,
            outbox=self._outbox,
            hooks=IntakeHooks(
                self._received, self._arrived, functools.partial(self._unreadable, worker_id), self._integers
            ),
            wait_ms=self.configuration.poll_wait_ms,
            on_death=self._on_death,
        )
        if self._measures is not None:
            measures = self._measures.worker(task_type)
            intake.measure, slots.measure = measures.polled, measures.executed
        if task_type in self._paused:
            intake.pause()
        if self._journal is not None:
            self._journal.worker(worker_id, task_type, domain)
            if task_type in self._journal.integer_types:
                intake.expect_integers()
        return _Lane(worker, domain, intake, slots)

    def _external_payloads(self, channel: Channel, rest: RestClient | None) -> ExternalPayloads | None:
        configuration = self.configuration
        storage = configuration.external_payload_storage
        if storage is None:
            return None
        return ExternalPayloads(
            storage,
            threshold=configuration.external_payload_threshold,
            limit=configuration.external_payload_limit,
            update_limit=MAX_UPDATE_BYTES,
            check=StorageCheck(storage, configuration, channel, rest),
        )

    def _lanes_of(self, task_definition_name: str) -> list[_Lane]:
        if all(worker.task_definition_name != task_definition_name for worker in self._workers):
            known = ", ".join(sorted({repr(worker.task_definition_name) for worker in self._workers}))
            raise WorkerDefinitionError(f"no worker here runs {task_definition_name!r}, only {known}")
        return [lane for lane in self._lanes if lane.worker.task_definition_name == task_definition_name]

    def _received(self, tasks: Sequence[Task]) -> None:
        if self._journal is not None:
            self._journal.claimed(tasks)

    def _integers(self, task_type: str) -> None:
        if self._journal is not None:
            self._journal.integers(task_type)

    def _arrived(self, task: Task) -> None:
        self._custody.take(task.task_id, task.poll_count)

    def _deliver(self, task: Task, result: TaskResult, wire: bytes) -> None:
        if self._journal is not None:
            self._journal.finished(task, wire)
        self._outbox.put(result_update(task, result, wire))

    def _give_up(self, run: Run) -> None:
        update = hand_back(run.task, Purpose.GIVE_UP, run.held)
        update.attempts = 1  # by now it may be with another worker, or ended: the outbox asks before it sends
        self._outbox.put(update)

    def _unreadable(self, worker_id: str, item: Unreadable) -> None:
        logger.error("task %s cannot be run: %s", item.task_id, item.error)
        task = Task(task_id=item.task_id, workflow_instance_id=item.workflow_instance_id, worker_id=worker_id)
        result = TaskResult(
            workflow_instance_id=item.workflow_instance_id,
            task_id=item.task_id,
            status=TaskResultStatus.FAILED_WITH_TERMINAL_ERROR,
            reason_for_incompletion=str(item.error),
            worker_id=worker_id,
        )
        self._custody.take(task.task_id, task.poll_count)
        self._deliver(task, result, result.to_wire())

    def _settled(self, update: Update) -> None:
        # Refused, the task stays IN_PROGRESS in our name; released, the next look for losses would run it again.
        if not update.refused:
            self._custody.release(update.task.task_id, update.task.poll_count)
        if self._journal is not None:
            # Given up, it may yet be taken: the next run tries again.
            done = self._journal.given_up if update.given_up else self._journal.settled
            done((update.task.task_id, update.task.poll_count))

    def _find_task(self, task_id: str) -> Task | None:
        assert self._finder is not None  # nothing is sent before the start
        return self._finder.find(task_id)

    def _lease_support(self) -> LeaseSupport:
        assert self._channel is not None  # nor is any task kept before the start
        return lease_support(self._channel, self._rest)

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

    def _end(self) -> None:
        """Stop every part that still runs, and close. None is waited for but the journal."""
        # The stack unwinds from its end, and goes on whatever one of them raises: the next may keep a thread alive.
        with contextlib.ExitStack() as steps:
            steps.callback(self._ended.set)
            steps.callback(self._resources.close)
            steps.callback(self._outbox.stop)
            steps.callback(self._leases.stop)
            if self._cancellations is not None:
                steps.callback(self._cancellations.stop)
            for lane in self._lanes:
                steps.callback(lane.slots.close)
                steps.callback(lane.intake.stop)
            if self._recovery is not None:
                steps.callback(self._recovery.stop)

    def _wait_for_stop_request(self) -> None:
        # In steps: of a signal that comes while this thread is on its way into the wait, Python knows only when the
        # thread runs again, and nothing else would wake it.
        while True:
            with contextlib.suppress(queue.Empty):
                self._stop_requested.get(timeout=SIGNAL_LOOK)
                return

    def _request_stop(self) -> None:
        self._stopping = True
        self._stop_requested.put(None)

    def _drain(self, deadline: Deadline) -> None:
        before = self._outbox.accepted.copy()
        try:
            if self._started:
                if self._recovery is not None:
                    self._recovery.stop()
                intakes = [lane.intake for lane in self._lanes]
                slots = [lane.slots for lane in self._lanes]
                poll_wait = self.configuration.poll_wait_ms / 1000
                self._report = drain(intakes, slots, self._outbox, deadline, poll_wait)
                # Up to here, since a cancelled task need not be waited for. Neither need the look in flight.
                if self._cancellations is not None:
                    self._cancellations.stop()
                self._leases.stop()
                for intake in intakes:
                    if self._journal is not None and intake.lost_nothing:
                        self._journal.forget_worker(intake.worker_id)
        except BaseException as error:
            self._drain_died(error, before)
            if not isinstance(error, Exception):
                raise
        finally:
            self._end()

    def _drain_died(self, error: BaseException, before: Counter[Purpose]) -> None:
        """What can still be done when the order of the shutdown has come to nothing: send what there is, and tell."""
        logger.critical(
            "the drain died: tasks that are still here are not handed back, and wait for their response timeout or, "
            "with a journal, for the next run",
            exc_info=error,
        )
        self._note_death("the drain", error)
        self._outbox.flush(FLUSH_GRACE)
        self._report = close_outbox(self._outbox, before)

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
        self._signals += 1
        if self._deadline is not None:
            self._hurry(self._deadline)
        self._request_stop()

    def _hurry(self, deadline: Deadline) -> None:
        if self._signals > 2:
            deadline.cut()
        elif self._signals == 2:
            deadline.shorten(HURRY_GRACE)
