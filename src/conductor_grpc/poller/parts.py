"""What one poller is made of, wired together, and the way of a task through it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conductor_grpc.poller.cancellation import CancellationWatch
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.drain import FLUSH_GRACE, Deadline, DrainReport, close_outbox, drain
from conductor_grpc.poller.intake import Intake, IntakeHooks
from conductor_grpc.poller.journal import Journal
from conductor_grpc.poller.lease import LeaseKeeper
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.outbox_updates import Purpose, Update, hand_back, result_update
from conductor_grpc.poller.progress import ProgressLog
from conductor_grpc.poller.reclaim import GrpcReclaim, Reclaim, TaskFinder, TaskIndex
from conductor_grpc.poller.reclaim_rest import RestReclaim
from conductor_grpc.poller.recovery import Recovery
from conductor_grpc.poller.registration import WorkerRegistration
from conductor_grpc.poller.slots import Executors, SlotsHooks
from conductor_grpc.poller.sources import GrpcSource, RestSource, Unreadable
from conductor_grpc.poller.storage_check import StorageCheck
from conductor_grpc.registration import Registrar, declared_by
from conductor_grpc.transport.channel import Channel, open_channel
from conductor_grpc.transport.methods import ADD_LOG, raw_unary
from conductor_grpc.transport.rest import RestClient, open_rest_client
from conductor_grpc.transport.server_version import LeaseSupport, lease_support
from conductor_grpc.worker.external_payload import ExternalPayloads
from conductor_grpc.worker.result import MAX_UPDATE_BYTES, TaskResult
from conductor_grpc.worker.status import TaskResultStatus
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.poller.measures import Measures
    from conductor_grpc.poller.part import BackgroundPart, DeathHandler
    from conductor_grpc.poller.slots import Run, Slots
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lane:
    """What belongs to one worker."""

    worker: WorkerInterface
    domain: str | None
    intake: Intake
    slots: Slots


class Parts:
    """The parts of a poller: `assemble` makes them, `start` sets them going, `drain` and `end` end them.

    Each of these is called by one thread at a time, in this order; what is here may be looked at from any thread.
    """

    def __init__(
        self,
        workers: Sequence[WorkerInterface],
        configuration: Configuration,
        measures: Measures | None,
        on_death: DeathHandler,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
    ) -> None:
        """Makes only what a poller has before it starts."""
        self._workers = workers
        self._declared = declared_by(workers)
        self._configuration = configuration
        self._measures = measures
        self._on_death = on_death
        self._middleware = middleware
        self._shared = resources
        self.custody = Custody()
        self.lanes: list[Lane] = []
        self.outbox = Outbox(configuration, self._settled, self._find_task, on_death)
        if measures is not None:
            self.outbox.measure = measures.sent
        self.leases = LeaseKeeper(self.outbox, self._lease_support, configuration.lease_limit, on_death)
        self.journal: Journal | None = None
        self.recovery: Recovery | None = None
        self.registration: WorkerRegistration | None = None
        self.cancellations: CancellationWatch | None = None
        self.progress: ProgressLog | None = None
        self.resources = contextlib.ExitStack()
        """Closed last, when everything has ended."""
        self.report = DrainReport()
        self._channel: Channel | None = None
        self._rest: RestClient | None = None
        self._finder: TaskFinder | None = None
        self._executors: Executors | None = None
        self._deadline = Deadline(0)

    @property
    def background(self) -> list[BackgroundPart]:
        """Those that run for as long as the poller does."""
        parts: list[BackgroundPart] = [self.outbox, self.leases, *(lane.intake for lane in self.lanes)]
        return parts + [part for part in (self.journal, self.cancellations, self.progress) if part is not None]

    # -- a poller's life --

    def assemble(self) -> None:
        """Make and wire everything. Connects to nothing yet.

        Raises:
            JournalError: Another poller has the journal's folder.
        """
        configuration = self._configuration
        if configuration.journal is not None:
            self.journal = Journal.open(configuration.journal, self._on_death)
            self.resources.callback(self.journal.close)
            if self.journal.failed is None:
                logger.info("the journal is in %s", configuration.journal)
        channel = open_channel(configuration)
        self.resources.callback(channel.close)
        rest = open_rest_client(configuration)
        if rest is not None:
            rest.measure = None if self._measures is None else self._measures.rest_called
            self.resources.callback(rest.close)
        self._channel, self._rest = channel, rest
        self._finder = TaskFinder(channel, rest)
        external = self._external_payloads(channel, rest)
        reclaim: Reclaim = GrpcReclaim(channel, self.custody)
        if rest is not None:
            reclaim = RestReclaim(rest, TaskIndex(channel), self._finder, self.custody)
        if self.journal is not None:
            self.recovery = Recovery(
                self.journal,
                self.custody,
                self.outbox,
                reclaim,
                self._finder,
                self._on_death,
                configuration.crash_limit,
            )
        if any(each.register for each in self._declared):
            registrar = Registrar(configuration, channel=channel, rest=rest)
            self.registration = WorkerRegistration(self._declared, registrar, self._on_death)
        self.progress = ProgressLog(raw_unary(channel, ADD_LOG), self._on_death)
        hooks = SlotsHooks(self.deliver, self._give_up, self._on_death, self.progress.put)
        executors = Executors(
            hooks,
            self.leases,
            configuration.big_integers,
            external,
            configuration.task_limit,
            middleware=self._middleware,
            resources=self._shared,
        )
        self._executors = executors
        self.resources.callback(self._close_executors, executors)
        # Worker ids tell whose a task is, so no two polls in flight may share one: not those of this poller, nor
        # those of another process that was given the same id by its configuration.
        token = secrets.token_hex(8)
        for index, worker in enumerate(self._workers):
            worker_id = f"{configuration.worker_id}/{token}{index}"
            self.lanes.append(self._lane(worker, worker_id, channel, rest, reclaim, executors))
        if configuration.cancellation_check is not None:
            slots = [lane.slots for lane in self.lanes]
            self.cancellations = CancellationWatch(
                slots, self._finder.find, self.outbox.look_after, configuration.cancellation_check, self._on_death
            )

    def open_resources(self, of_no_use: Callable[[], bool]) -> None:
        """Open what the workers share; blocks until that is done, or until `of_no_use` is true.

        Raises:
            ResourceError: One could not be opened.
        """
        assert self._executors is not None  # `assemble` was called
        self._executors.open_resources(of_no_use)

    def start(self) -> None:
        """Set everything going. Returns at once."""
        self.outbox.start()
        self.leases.start()
        if self.journal is not None and self.recovery is not None:
            self.journal.start()
            self.recovery.send_outcomes()
            self.recovery.start()
        for lane in self.lanes:
            if self.journal is not None:  # not before: a start that fails has polled nothing that must be looked for
                self.journal.worker(lane.intake.worker_id, lane.intake.task_type, lane.domain)
            lane.intake.start()
        if self.registration is not None:
            self.registration.start()
        if self.cancellations is not None:
            self.cancellations.start()

    def drain(self, deadline: Deadline) -> None:
        """Stop polling, and leave nothing behind; blocks. What it came to is `report`. `end` comes after it.

        Should it fail, whatever it raises comes after what is there has been sent all the same.
        """
        before = self.outbox.accepted.copy()
        self._deadline = deadline
        try:
            self._drain(deadline)
        except BaseException as error:
            logger.critical(
                "the drain died: tasks that are still here are not handed back, and wait for their response timeout or,"
                " with a journal, for the next run",
                exc_info=error,
            )
            self.outbox.flush(FLUSH_GRACE)
            self.report = close_outbox(self.outbox, before)
            raise

    def end(self) -> None:
        """Stop every part that still runs, and close. None is waited for but the journal."""
        # The stack unwinds from its end, and goes on whatever one of them raises: the next may keep a thread alive.
        with contextlib.ExitStack() as steps:
            steps.callback(self.resources.close)
            steps.callback(self.outbox.stop)
            steps.callback(self.leases.stop)
            if self.registration is not None:
                steps.callback(self.registration.stop)
            for part in (self.cancellations, self.progress):
                if part is not None:
                    steps.callback(part.stop)
            for lane in self.lanes:
                steps.callback(lane.slots.close)
                steps.callback(lane.intake.stop)
            if self.recovery is not None:
                steps.callback(self.recovery.stop)

    def _drain(self, deadline: Deadline) -> None:
        if self.registration is not None:
            self.registration.stop()
        if self.recovery is not None:
            self.recovery.stop()
        intakes = [lane.intake for lane in self.lanes]
        slots = [lane.slots for lane in self.lanes]
        self.report = drain(intakes, slots, self.outbox, deadline, self._configuration.poll_wait_ms / 1000)
        # Up to here, since a cancelled task need not be waited for. Neither need a look, or a line of progress, that is
        # in flight.
        for part in (self.cancellations, self.progress):
            if part is not None:
                part.stop()
        self.leases.stop()
        for intake in intakes:
            if self.journal is not None and intake.lost_nothing:
                self.journal.forget_worker(intake.worker_id)

    def _close_executors(self, executors: Executors) -> None:
        # After the last result was sent, so that one that hangs when it is closed keeps none from the server.
        errors = executors.close(self._deadline.remaining)
        self.report = dataclasses.replace(self.report, close_errors=tuple(errors))

    # -- how they are made --

    def _lane(
        self,
        worker: WorkerInterface,
        worker_id: str,
        channel: Channel,
        rest: RestClient | None,
        reclaim: Reclaim,
        executors: Executors,
    ) -> Lane:
        task_type = worker.task_definition_name
        domain = worker.domain or self._configuration.domain
        slots = executors.slots(worker, worker_id)
        intake = Intake(
            task_type=task_type,
            worker_id=worker_id,
            source=GrpcSource(channel, task_type, worker_id, domain),
            rest_source=RestSource(rest, task_type, worker_id, domain) if rest else None,
            reclaim=reclaim,
            slots=slots,
            outbox=self.outbox,
            hooks=IntakeHooks(
                self._received, self._arrived, functools.partial(self._unreadable, worker_id), self._integers
            ),
            wait_ms=self._configuration.poll_wait_ms,
            on_death=self._on_death,
        )
        if self._measures is not None:
            measures = self._measures.worker(task_type)
            intake.measure, slots.measure = measures.polled, measures.executed
        if self.journal is not None and task_type in self.journal.integer_types:
            intake.expect_integers()
        return Lane(worker, domain, intake, slots)

    def _external_payloads(self, channel: Channel, rest: RestClient | None) -> ExternalPayloads | None:
        configuration = self._configuration
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

    # -- the way of a task --

    def _received(self, tasks: Sequence[Task]) -> None:
        if self.journal is not None:
            self.journal.claimed(tasks)

    def _integers(self, task_type: str) -> None:
        if self.journal is not None:
            self.journal.integers(task_type)

    def _arrived(self, task: Task) -> None:
        self.custody.take(task.task_id, task.poll_count)

    def deliver(self, task: Task, result: TaskResult, wire: bytes) -> None:
        if self.journal is not None:
            self.journal.finished(task, wire)
        self.outbox.put(result_update(task, result, wire))

    def _give_up(self, run: Run) -> None:
        update = hand_back(run.task, Purpose.GIVE_UP, run.held, run.context.output)
        update.attempts = 1  # by now it may be with another worker, or ended: the outbox asks before it sends
        self.outbox.put(update)

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
        self.custody.take(task.task_id, task.poll_count)
        self.deliver(task, result, result.to_wire())

    def _settled(self, update: Update) -> None:
        # Refused, the task stays IN_PROGRESS in our name; released, the next look for losses would run it again.
        if not update.refused:
            self.custody.release(update.task.task_id, update.task.poll_count)
        if self.journal is not None:
            # Given up, it may yet be taken: the next run tries again.
            done = self.journal.given_up if update.given_up else self.journal.settled
            done((update.task.task_id, update.task.poll_count))

    def _find_task(self, task_id: str) -> Task | None:
        assert self._finder is not None  # nothing is sent before the start
        return self._finder.find(task_id)

    def _lease_support(self) -> LeaseSupport:
        assert self._channel is not None  # nor is any task kept before the start
        return lease_support(self._channel, self._rest)
