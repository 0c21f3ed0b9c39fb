"""From a finished task to the server's acknowledgement, apart from the threads that run tasks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import ErrorKind, ServerError
from conductor_grpc.poller.outbox_extensions import Extensions
from conductor_grpc.poller.outbox_room import Room
from conductor_grpc.poller.outbox_truth import SURELY_NOT_APPLIED, Standing, Truth
from conductor_grpc.poller.outbox_updates import Purpose
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.patient_loop import run_patiently
from conductor_grpc.poller.rarely import Rarely
from conductor_grpc.transport.channel import open_aio_channel
from conductor_grpc.transport.methods import UPDATE_TASK, RawAioUnary, raw_aio_unary

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.poller.lease import Extended, Lease
    from conductor_grpc.poller.outbox_updates import Update
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

REFUSED: Final = (ErrorKind.NOT_FOUND, ErrorKind.TOO_LARGE)
"""Answers that stay the same however often the update is sent."""

DOUBTFUL: Final = (ErrorKind.CONFLICT, ErrorKind.INVALID)
"""Answers that mostly stay the same, but that a proxy without a route (UNIMPLEMENTED) or a server going down
(IllegalStateException of a closed pool) gives too."""

DOUBTFUL_ATTEMPTS: Final = 6
"""How often an update is sent before a doubtful answer is believed: over some six seconds."""

UNEXPLAINED: Final = (ErrorKind.UNKNOWN, ErrorKind.UNMAPPABLE_PAYLOAD)
"""Answers that may mean anything, from a full disk to an update that the server cannot stand. Every kind that is in
none of these lists is retried for ever."""

GIVE_UP_ALONE: Final = 600.0
"""Seconds of unexplained answers after which an update is given up if the server has taken others meanwhile."""

GIVE_UP: Final = 3_600.0
"""The same if it has not: the response timeout of most tasks is over by then."""

UNDONE_LOOKS: Final = (0.3, 3.0)
"""Seconds before each look at a task whose result may yet be undone: an extension whose answer never came is carried
out within moments or, on a server that stalled, when it goes on."""

UNSEEN_FOR: Final = 120.0
"""Seconds for which a task is looked for that only REST can show, while REST alone fails: its update holds room, and
a hand-back of it holds up its workflow."""

REPAIR_FOR: Final = 60.0
"""Seconds for which a result that was undone is sent again. If it still does not stay, its workflow has ended."""


class Outbox(BackgroundPart):
    """Sends updates until the server has accepted or refused them, and lease extensions in between.

    `put` and `extend` are thread-safe and never block; `wait_for_room` is how callers keep the outbox from growing.
    Updates that fail wait out a jittered backoff without holding up others. A repeatable one is sent again for ever;
    any other only after a look at the task shows that the server has not applied it. Where the answer was not
    certain, a look tells what became of the update.
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
        self._truth = Truth(find_task)
        self._room = Room(configuration.outbox_limit, configuration.outbox_bytes)
        self._extensions = Extensions(self._room.holds, self._resume, self._expect_undoing)
        self.accepted: Counter[Purpose] = Counter()
        """How many updates the server has taken, by purpose."""
        self.refused = 0
        """How many the server will never take, those given up included; each was logged as an error."""
        self.given_up = 0
        """How many failed for so long, for reasons that the server does not tell, that they are not tried again."""
        self.late: Counter[Standing] = Counter()
        """What became of the updates whose answer was not certain."""
        self.repaired = 0
        """How many updates had to be sent again because a lease extension had undone them on the server."""
        self.measure: Callable[[Update, float, ServerError | None], None] | None = None
        """Called after each attempt to send an update, with the time at which it began; set before the start."""
        self._doubts: dict[str, bool] = {}
        self._pending: deque[Update] = deque()
        self._armed = True  # until the loop runs, nothing can be scheduled on it
        self._senders = 0
        self._closing = False
        self._failures, self._late_ones, self._undone_ones, self._unseen_ones = Rarely(), Rarely(), Rarely(), Rarely()
        self._coroutines: set[asyncio.Task[None]] = set()
        self._update_task: RawAioUnary
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None

    def __len__(self) -> int:
        """How many updates are neither accepted nor refused yet, or not for certain."""
        return len(self._room)

    @property
    def bytes(self) -> int:
        """How many bytes of requests these are."""
        return self._room.bytes

    @property
    def oldest(self) -> float:
        """For how many seconds the oldest of them has been here; 0 if there is none."""
        return self._room.oldest()

    def put(self, update: Update) -> None:
        """Send `update` as soon as possible. After `stop` it stays unsent."""
        self._room.enter(update.task.task_id, len(update.wire))
        self._pending.append(update)
        self._arm()

    def extend(self, lease: Lease, told: Callable[[Lease, Extended], None]) -> None:
        """Extend a lease as soon as possible, see `Extensions`. `told` is called once, on the outbox's thread, unless
        the lease or the outbox ends before; it must not block."""
        self._extensions.add(lease, told)
        self._arm()

    def look_after(self, task_id: str) -> None:
        """The next update of this task is late: see what became of it. Thread-safe, never blocks."""
        self._doubts.setdefault(task_id, False)

    def wait_for_room(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until there is room, see `Room.wait`; False if there is none yet."""
        return self._room.wait(timeout)

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until everything is accepted or refused; True if it is."""
        return self._room.wait_empty(timeout)

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
            running = list(self._coroutines)
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await channel.close()

    def _pump(self) -> None:
        # Called by the event loop itself, mostly, which would do no more than log an error.
        try:
            self._begin_sending()
        except Exception as error:  # noqa: BLE001 - passed on
            self._died(error)

    def _begin_sending(self) -> None:
        self._armed = False
        if self._closing:
            return
        for extending in self._extensions.begin(self._update_task):
            self._keep(extending)
        for _ in range(min(len(self._pending), IN_FLIGHT - self._senders)):
            self._senders += 1
            self._go(self._send_pending())

    def _go(self, coroutine: Coroutine[None, None, None]) -> None:
        self._keep(asyncio.ensure_future(coroutine))

    def _keep(self, running: asyncio.Task[None]) -> None:
        self._coroutines.add(running)
        running.add_done_callback(self._done)

    def _done(self, ended: asyncio.Task[None]) -> None:
        self._coroutines.discard(ended)
        if not ended.cancelled() and (error := ended.exception()) is not None:
            self._died(error)

    def _died(self, error: BaseException) -> None:
        logger.critical("the outbox met an error it does not know", exc_info=error)
        self._on_death(self.name, error)

    def _resume(self, updates: list[Update]) -> None:
        # An extension has been answered: its update may go, and another extension.
        self._pending.extendleft(reversed(updates))
        self._pump()

    def _expect_undoing(self, task_id: str) -> None:
        self._doubts[task_id] = True

    async def _send_pending(self) -> None:
        try:
            while self._pending:
                update = self._pending.popleft()
                if not self._extensions.park(update):
                    await self._send(update)
        finally:
            self._senders -= 1

    async def _send(self, update: Update) -> None:
        began, attempted = 0.0, False
        try:
            if update.attempts and not update.repeatable:
                # The first one may have been applied although its answer was lost, and another worker may hold the
                # task by now. Where that is not to be known, it is sent: a task stuck until its timeout is worse.
                standing = await self._standing(update)
                if standing not in (Standing.OPEN, Standing.HIDDEN):
                    self._settle_late(update, standing)
                    return
            began, attempted = time.monotonic(), True
            await self._update_task(update.wire, timeout=UPDATE_TIMEOUT)
        except ServerError as error:
            if attempted and self.measure is not None:
                self.measure(update, began, error)
            self._fail(update, error)
        else:
            if self.measure is not None:
                self.measure(update, began, None)
            self._accept(update)

    def _fail(self, update: Update, error: ServerError) -> None:
        if error.kind in REFUSED or (error.kind in DOUBTFUL and update.attempts + 1 >= DOUBTFUL_ATTEMPTS):
            self._refuse(update, error)
            return
        if self._unexplained_for_too_long(update, error):
            self.given_up += 1
            update.given_up = True
            self._refuse(update, error)
            return
        update.attempts += 1
        update.in_doubt |= error.kind not in SURELY_NOT_APPLIED
        delay = self._backoff(update.attempts)
        self._tell(update, delay, error)
        asyncio.get_running_loop().call_later(delay, self._resume, [update])

    def _unexplained_for_too_long(self, update: Update, error: ServerError) -> bool:
        if error.kind not in UNEXPLAINED:
            update.unexplained_since = None
            return False
        now, accepted = time.monotonic(), sum(self.accepted.values())
        if update.unexplained_since is None:
            update.unexplained_since, update.accepted_by_then = now, accepted
        patience = GIVE_UP_ALONE if accepted > update.accepted_by_then else GIVE_UP
        return now - update.unexplained_since >= patience

    def _refuse(self, update: Update, error: ServerError) -> None:
        self.refused += 1
        update.refused = True
        logger.error(
            "the server %s the %s of task %s%s: %s",
            f"has failed for {GIVE_UP_ALONE / 60:.0f} minutes or more at" if update.given_up else "refused",
            update.purpose.value,
            update.task.task_id,
            ", which is given up" if update.given_up else ", which is lost",
            error,
        )
        self._settle(update)

    def _backoff(self, attempts: int) -> float:
        return min(RETRY_LIMIT, RETRY_FIRST * 2.0 ** min(attempts - 1, 30)) * random.uniform(0.8, 1.2)

    def _tell(self, update: Update, delay: float, error: ServerError) -> None:
        """Warn of a failure, but of one in ten seconds only: a server that is down fails everything."""
        logger.log(
            self._failures.level(),
            "could not send the %s of task %s (attempt %d), trying again in %.1f s; %d updates wait in all: %s",
            update.purpose.value,
            update.task.task_id,
            update.attempts,
            delay,
            len(self._room),
            error,
        )

    def _accept(self, update: Update) -> None:
        doubt = self._doubts.pop(update.task.task_id, None)
        if doubt is None and not (update.in_doubt and update.repeatable):
            self._count(update)
        else:
            self._go(self._verify(update, UNDONE_LOOKS if doubt else (0.0,)))

    async def _verify(self, update: Update, looks: tuple[float, ...]) -> None:
        """The server has said yes, but that may not be the truth, or not for long: look before believing it."""
        standing = Standing.HIDDEN
        for delay in looks:
            await asyncio.sleep(delay)
            standing = await self._look(update)
            if standing is Standing.OPEN and self._repair(update):
                return
        self._settle_late(update, standing)

    def _repair(self, update: Update) -> bool:
        """Send an update again that the server has accepted and lost; False if that was done for long enough."""
        now = time.monotonic()
        if update.undone_since is None:
            update.undone_since = now
            self.repaired += 1
        elif now - update.undone_since >= REPAIR_FOR:
            return False
        update.repairs += 1
        update.attempts = max(1, update.attempts)  # by then another worker may have the task: look before each
        logger.log(
            self._undone_ones.level(),
            "the %s of task %s was accepted and then undone by a lease extension, so it is sent again (%d)",
            update.purpose.value,
            update.task.task_id,
            update.repairs,
        )
        self._doubts[update.task.task_id] = True
        asyncio.get_running_loop().call_later(self._backoff(update.repairs), self._resume, [update])
        return True

    async def _look(self, update: Update) -> Standing:
        attempts = 0
        while (standing := await self._try_to_look(update)) is None:
            attempts += 1
            await asyncio.sleep(self._backoff(attempts))
        return standing

    async def _try_to_look(self, update: Update) -> Standing | None:
        try:
            return await self._standing(update)
        except ServerError as error:
            logger.debug("cannot look at task %s: %s", update.task.task_id, error)
            return None

    async def _standing(self, update: Update) -> Standing:
        """As `Truth.standing`, but a task that REST alone could show counts as hidden after UNSEEN_FOR seconds of
        failures."""
        try:
            standing = await self._truth.standing(update)
        except ServerError as error:
            if not self._unseen_for_too_long(update, error):
                raise
            return Standing.HIDDEN
        update.unseen_since = None
        return standing

    def _unseen_for_too_long(self, update: Update, error: ServerError) -> bool:
        if not error.method.startswith("GET "):
            update.unseen_since = None  # gRPC fails too: the server is down, and nothing can be sent anyway
            return False
        now = time.monotonic()
        if update.unseen_since is None:
            update.unseen_since = now
        unseen = now - update.unseen_since
        if unseen < UNSEEN_FOR:
            return False
        logger.log(
            self._unseen_ones.level(),
            "task %s, whose %s is in doubt, cannot be seen over gRPC, and REST has failed for %.0f s: what became of "
            "it stays unknown%s. Set base_url to the server's REST address, or mend that: %s",
            update.task.task_id,
            update.purpose.value,
            unseen,
            "" if update.repeatable else ", and it is sent again, which makes the task run twice if it was applied",
            error,
        )
        return True

    def _settle_late(self, update: Update, standing: Standing) -> None:
        if update.purpose is not Purpose.GIVE_UP:  # of which this is known beforehand
            self.late[standing] += 1
        lost = standing in (Standing.IGNORED, Standing.REASSIGNED) and update.repeatable
        logger.log(
            self._late_ones.level() if lost else logging.DEBUG,
            "the %s of task %s came late or was in doubt, and %s (so far: %s)",
            update.purpose.value,
            update.task.task_id,
            _MEANINGS[standing],
            ", ".join(f"{count} {each.value}" for each, count in self.late.items()),
        )
        self._count(update)

    def _count(self, update: Update) -> None:
        self.accepted[update.purpose] += 1
        self._settle(update)

    def _settle(self, update: Update) -> None:
        self._doubts.pop(update.task.task_id, None)
        self._settled(update)
        self._room.leave(update.task.task_id, len(update.wire))


_MEANINGS: Final = {
    Standing.APPLIED: "has been applied",
    Standing.IGNORED: "was ignored: the task had ended otherwise, by its timeout for instance",
    Standing.REASSIGNED: "was ignored: another worker has the task, which runs twice then",
    Standing.OPEN: "does not stay: its workflow has ended",
    Standing.GONE: "the server knows no such task any more",
    Standing.HIDDEN: "nobody can tell what became of it",
}
