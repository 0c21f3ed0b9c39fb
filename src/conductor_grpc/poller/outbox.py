"""From a finished task to the server's acknowledgement, apart from the threads that run tasks."""

from __future__ import annotations

import asyncio
import enum
import logging
import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ErrorKind, PayloadDecodeError, ServerError, UnmappablePayloadError
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.patient_loop import run_patiently
from conductor_grpc.transport.channel import open_aio_channel
from conductor_grpc.transport.methods import UPDATE_TASK, RawAioUnary, raw_aio_unary
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

IN_FLIGHT: Final = 64
"""Most updates on their way at once. The server works on each in a thread of its own; more only queue there."""

CROWDED: Final = 16
"""Updates on their way from which on it pays to let their answers gather."""

UPDATE_TIMEOUT: Final = 30.0
"""Seconds until an update without an answer counts as in doubt."""

RETRY_FIRST: Final = 0.2
RETRY_LIMIT: Final = 10.0

WARNING_INTERVAL: Final = 10.0
"""Seconds between two warnings of updates that cannot be sent."""

REFUSED: Final = (ErrorKind.NOT_FOUND, ErrorKind.TOO_LARGE)
"""Answers that stay the same however often the update is sent."""

DOUBTFUL: Final = (ErrorKind.CONFLICT, ErrorKind.INVALID)
"""Answers that mostly stay the same, but that a proxy without a route (UNIMPLEMENTED) or a server going down
(IllegalStateException of a closed pool) gives too. Every kind that is in neither list is retried for ever."""

DOUBTFUL_ATTEMPTS: Final = 6
"""How often an update is sent before a doubtful answer is believed: over some six seconds."""


class Purpose(enum.Enum):
    """Why an update is sent."""

    RESULT = "result"
    """A worker's result."""
    HAND_BACK = "hand back"
    """Nobody has begun the task: the server is to give it to another worker at once."""
    CANCEL = "cancel"
    """The task was still running when the time to drain was over; it is handed back likewise."""


@dataclass(slots=True)
class Update:
    """One UpdateTask that has to reach the server."""

    task: Task
    purpose: Purpose
    wire: bytes
    """The serialised UpdateTaskRequest."""
    repeatable: bool
    """Sending it twice does no harm: true for a terminal status, which the server keeps from then on."""
    attempts: int = 0
    refused: bool = False
    """The server will never take it, so its task stays IN_PROGRESS there."""


def result_update(task: Task, result: TaskResult, wire: bytes) -> Update:
    """The update that carries a worker's result."""
    return Update(task, Purpose.RESULT, wire, repeatable=result.status is not TaskResultStatus.IN_PROGRESS)


def hand_back(task: Task, purpose: Purpose = Purpose.HAND_BACK) -> Update:
    """The update that puts a task back on its queue.

    IN_PROGRESS without a delay does that. The server replaces the task's output and reason by those of the
    update, so what the task came with is sent along.
    """
    result = TaskResult(
        workflow_instance_id=task.workflow_instance_id,
        task_id=task.task_id,
        status=TaskResultStatus.IN_PROGRESS,
        worker_id=task.worker_id,
    )
    try:
        result.reason_for_incompletion = task.reason_for_incompletion
        result.output_data = dict(task.output_data)
        wire = result.to_wire("string")
    except Exception as error:  # noqa: BLE001 - the task is the worker's, which may have put anything there, or does so now
        logger.warning("task %s is handed back without its earlier output: %s", task.task_id, error)
        result.reason_for_incompletion, result.output_data = "", {}
        wire = result.to_wire("string")
    return Update(task, purpose, wire, repeatable=False)


class Outbox(BackgroundPart):
    """Sends updates until the server has accepted or refused them.

    `put` is thread-safe and never blocks; `wait_for_room` is how callers keep the outbox from growing. Updates
    that fail wait out a jittered backoff without holding up others. A repeatable one is sent again for ever; any
    other only after a look at the task shows that the server has not applied it.
    """

    def __init__(
        self,
        configuration: Configuration,
        settled: Callable[[Update], None],
        find_task: Callable[[str], Task | None],
        on_death: DeathHandler,
    ) -> None:
        """`settled` is called once for each update that needs no more sending; `find_task`, which may block, gets
        a task from the server (None where there is no such task) and raises ServerError."""
        super().__init__("conductor-outbox", on_death)
        self._configuration = configuration
        self._settled = settled
        self._find_task = find_task
        self._lock = threading.Lock()
        self._fewer = threading.Condition(self._lock)
        self._outstanding = 0
        self.accepted: Counter[Purpose] = Counter()
        """How many updates the server has taken, by purpose."""
        self.refused = 0
        """How many the server will never take; each was logged as an error."""
        self._pending: deque[Update] = deque()
        self._armed = True  # until the loop runs, nothing can be scheduled on it
        self._senders = 0
        self._closing = False
        self._next_warning = 0.0
        self._running_senders: set[asyncio.Task[None]] = set()
        self._update_task: RawAioUnary
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None

    def __len__(self) -> int:
        """How many updates are neither accepted nor refused yet."""
        return self._outstanding

    def put(self, update: Update) -> None:
        """Send `update` as soon as possible. After `stop` it stays unsent."""
        with self._lock:
            self._outstanding += 1
        self._pending.append(update)
        self._arm()

    def wait_for_room(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until there is room; False if there is none yet.

        Once full, it must be half empty again before there is room: polls for one task each would cost more.
        """
        limit = self._configuration.outbox_limit
        if self._outstanding < limit:
            return True
        with self._fewer:
            return self._fewer.wait_for(lambda: self._outstanding <= limit // 2, timeout)

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything is accepted or refused; True if it is."""
        with self._fewer:
            return self._fewer.wait_for(lambda: self._outstanding == 0, timeout)

    def _arm(self) -> None:
        # Without a lock: the appender appends before it looks at the flag, the loop clears it before it looks
        # at the queue, so whichever comes second sees the other.
        loop = self._loop
        if not self._armed and loop is not None:
            self._armed = True
            try:
                loop.call_soon_threadsafe(self._pump)
            except RuntimeError:  # the loop has ended: what is pending is reported as unsent
                logger.debug("an update came after the outbox had stopped")

    def _wake(self) -> None:
        loop, ended = self._loop, self._ended
        if loop is not None and ended is not None:
            try:
                loop.call_soon_threadsafe(ended.set)
            except RuntimeError:
                logger.debug("the outbox had stopped already")

    def _run(self) -> None:
        run_patiently(self._send_until_stopped, crowded=lambda: self._senders >= CROWDED)

    async def _send_until_stopped(self) -> None:
        self._ended = asyncio.Event()
        channel = open_aio_channel(self._configuration)
        try:
            self._update_task = raw_aio_unary(channel, UPDATE_TASK)
            self._loop = asyncio.get_running_loop()
            self._pump()
            if not self.stopping:
                await self._ended.wait()
        finally:
            self._closing = True  # a backoff that ends now must not send on the closed channel
            senders = list(self._running_senders)
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            await channel.close()

    def _pump(self) -> None:
        self._armed = False
        if self._closing:
            return
        for _ in range(min(len(self._pending), IN_FLIGHT - self._senders)):
            self._senders += 1
            sender = asyncio.ensure_future(self._send_pending())
            self._running_senders.add(sender)
            sender.add_done_callback(self._sender_done)

    def _sender_done(self, sender: asyncio.Task[None]) -> None:
        self._running_senders.discard(sender)
        if not sender.cancelled() and (error := sender.exception()) is not None:
            logger.critical("the outbox met an error it does not know", exc_info=error)
            self._on_death(self.name, error)

    async def _send_pending(self) -> None:
        try:
            while self._pending:
                await self._send(self._pending.popleft())
        finally:
            self._senders -= 1

    async def _send(self, update: Update) -> None:
        try:
            if update.attempts and not update.repeatable and not await self._still_to_apply(update):
                self._accept(update)
                return
            await self._update_task(update.wire, timeout=UPDATE_TIMEOUT)
        except ServerError as error:
            self._fail(update, error)
        else:
            self._accept(update)

    async def _still_to_apply(self, update: Update) -> bool:
        """Whether the server still has the task as it was handed out to us.

        Asked before an IN_PROGRESS update is repeated: the first one may have been applied although its answer
        was lost, and another worker may hold the task by now.
        """
        try:
            found = await asyncio.to_thread(self._find_task, update.task.task_id)
        except (UnmappablePayloadError, PayloadDecodeError):
            return True  # not to be known; a task that is stuck for its whole timeout is the worse outcome
        except ServerError as error:
            if error.kind in REFUSED or error.kind in DOUBTFUL:
                return True  # it is the look that was refused (base_url leads elsewhere, say), not the update
            raise
        return (
            found is not None
            and found.status is TaskStatus.IN_PROGRESS
            and found.worker_id == update.task.worker_id
            and found.poll_count == update.task.poll_count
        )

    def _fail(self, update: Update, error: ServerError) -> None:
        if error.kind in REFUSED or (error.kind in DOUBTFUL and update.attempts + 1 >= DOUBTFUL_ATTEMPTS):
            self.refused += 1
            update.refused = True
            logger.error(
                "the server refused the %s of task %s, which is lost: %s",
                update.purpose.value,
                update.task.task_id,
                error,
            )
            self._settle(update)
            return
        update.attempts += 1
        delay = min(RETRY_LIMIT, RETRY_FIRST * 2.0 ** min(update.attempts - 1, 30)) * random.uniform(0.8, 1.2)
        self._tell(update, delay, error)
        asyncio.get_running_loop().call_later(delay, self._retry, update)

    def _tell(self, update: Update, delay: float, error: ServerError) -> None:
        """Warn of a failure, but of one in ten seconds only: a server that is down fails everything."""
        now = time.monotonic()
        level = logging.DEBUG
        if now >= self._next_warning:
            self._next_warning = now + WARNING_INTERVAL
            level = logging.WARNING
        logger.log(
            level,
            "could not send the %s of task %s (attempt %d), trying again in %.1f s; %d updates wait in all: %s",
            update.purpose.value,
            update.task.task_id,
            update.attempts,
            delay,
            self._outstanding,
            error,
        )

    def _retry(self, update: Update) -> None:
        self._pending.append(update)
        self._pump()

    def _accept(self, update: Update) -> None:
        self.accepted[update.purpose] += 1
        self._settle(update)

    def _settle(self, update: Update) -> None:
        self._settled(update)
        with self._fewer:
            self._outstanding -= 1
            if self._outstanding in (0, self._configuration.outbox_limit // 2):
                self._fewer.notify_all()
