"""Taking tasks from the server: one thread for each worker."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import (
    AuthenticationError,
    ClosedChannelError,
    ErrorKind,
    PayloadDecodeError,
    ServerError,
    TokenUnavailableError,
    UnmappablePayloadError,
)
from conductor_grpc.poller import planner
from conductor_grpc.poller.outbox_updates import hand_back
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.server_clock import ServerClock
from conductor_grpc.poller.sources import PollSource, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conductor_grpc.poller.outbox import Outbox
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.reclaim import Reclaim
    from conductor_grpc.poller.slots import Slots
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

SETTLING: Final = 2.0
"""Seconds the server gets, beyond the wait of a poll that broke, to take its tasks off the queue."""

SHORT_WAIT_MS: Final = 1_000
"""Longest wait of a poll while there are stranded tasks to look for."""

LOOK_AGAIN: Final = 30.0
"""Seconds between two looks where the server has too many tasks to see them all."""

LOST_FOR_GOOD: Final = 3_600.0
"""Seconds after which such looks end: by then the response timeout of most tasks has come."""

NOTHING_TAKEN: Final = (ErrorKind.INVALID, ErrorKind.AUTH, ErrorKind.THROTTLED)
"""Failures that come before the server looks at its queue: they strand nothing."""


@dataclass(frozen=True)
class _Loss:
    """A poll that may have taken tasks which never arrived."""

    due: float
    """When to look for them, by the monotonic clock."""
    since_ms: int
    """When the poll began, in epoch milliseconds by the server's clock."""
    hidden: int
    """How many tasks with integers it can have lost: 0 unless it broke at one."""
    linger: float | None = None
    """Seconds after a first look, which shows that the server is at work again, until it is through with the poll:
    one that stood still takes it up only then. None: it has been through with it from the start."""


@dataclass(frozen=True)
class IntakeHooks:
    """What the intake passes on."""

    received: Callable[[Sequence[Task]], None]
    """Called with the tasks of a poll, before any of them is passed on."""
    arrived: Callable[[Task], None]
    """Called for each task, before it is queued for a slot."""
    unreadable: Callable[[Unreadable], None]
    """Called for each task that cannot be run."""
    integers: Callable[[str], None]
    """Called with the task type whenever a poll has met JSON integers."""


class Intake(BackgroundPart):
    """Polls for one worker and feeds its slots; finds again what a failed poll has left behind.

    Each intake has a worker id of its own, and one poll at a time in flight under it: whatever the server lists
    under that id and is not held here has been lost on the way.
    """

    def __init__(
        self,
        task_type: str,
        worker_id: str,
        source: PollSource,
        rest_source: PollSource | None,
        reclaim: Reclaim,
        slots: Slots,
        outbox: Outbox,
        hooks: IntakeHooks,
        wait_ms: int,
        on_death: DeathHandler,
    ) -> None:
        """`rest_source` takes over once the type has carried integers; None where REST is out of reach."""
        super().__init__(f"conductor-intake-{task_type}", on_death)
        self.task_type = task_type
        self.worker_id = worker_id
        self.source = source
        self._grpc_source = source
        self._integers_told = False
        self._rest_source = rest_source
        self._reclaim = reclaim
        self._slots = slots
        self._outbox = outbox
        self._hooks = hooks
        self._wait_ms = wait_ms
        self._server_clock = ServerClock()
        self._memory = planner.Memory()
        self._most = planner.MAX_BATCH
        self._losses: list[_Loss] = []
        self._reclaim_failures = 0
        self._state = threading.Condition()
        self._paused = False
        self.last_poll: float | None = None
        """When a poll last succeeded, by the monotonic clock."""
        self.last_error: ServerError | PayloadDecodeError | None = None
        """Why the last poll failed; None if it did not."""
        self.trying_since: float | None = None
        """When the first poll after the last success began, by the monotonic clock; None before it begins."""
        self.reclaimed = 0
        """How many stranded tasks were found again."""
        self.pauses = 0
        """How often this was paused."""
        self.measure: Callable[[float, Exception | None], None] | None = None
        """Called after each poll, with the time at which it began; set before the start."""

    def expect_integers(self) -> None:
        """Before the start: tasks of this type are known to hold JSON integers."""
        self._integers_told = True
        if self._rest_source is not None:
            self.source = self._rest_source
        else:
            self._most = 1

    @property
    def lost_nothing(self) -> bool:
        """After the end: whatever polls have taken off the queue is known here."""
        return self.join(0) and not self._losses

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        """Take no more tasks after the poll in flight, until `resume`. Does not wait for it."""
        with self._state:
            self.pauses += not self._paused
            self._paused = True

    def resume(self) -> None:
        with self._state:
            self._paused = False
            self._state.notify_all()

    def _wake(self) -> None:
        with self._state:
            self._state.notify_all()

    def _run(self) -> None:
        try:
            self._poll_until_stopped()
        except ClosedChannelError:
            if not self.stopping:
                raise
            # The drain's deadline was over before the poll in flight came back; the drain has told.
            logger.debug("the last poll of %r was cut off", self.task_type)

    def _poll_until_stopped(self) -> None:
        while self._may_poll():
            # Slots may be taken for hours; what an earlier poll has lost does not wait for them.
            most, scout = planner.permits(self._memory), not self._memory.draining
            free = self._slots.reserve(most, self._until_next_look(), scout=scout)
            received = 0
            try:
                # Waiting for a slot may have taken long: what allowed a poll before it is asked again.
                if free and self._nothing_forbids():
                    received = self._poll(self._next_poll(free))
            finally:
                self._slots.settle(free, received)
            self._sleep(planner.pause(self._memory, random.random()))
        self._look_for_losses_before_the_end()

    def _may_poll(self) -> bool:
        """Block while paused or while the outbox is full; False once this part is to stop.

        Meanwhile what an earlier poll has lost is still looked for: those tasks are ours already.
        """
        while not self.stopping:
            self._look_for_losses(now=time.monotonic())
            self._hand_back_surplus()
            with self._state:
                if self._paused:
                    self._state.wait_for(lambda: self.stopping or not self._paused, self._until_next_look())
                    continue
            if self._outbox.wait_for_room(timeout=0.5):
                return True
        return False

    def _nothing_forbids(self) -> bool:
        return not self.stopping and not self._paused and self._outbox.wait_for_room(timeout=0)

    def _until_next_look(self) -> float | None:
        until = self._slots.until_surplus()
        if self._losses:
            until = min(until, max(0.0, min(loss.due for loss in self._losses) - time.monotonic()))
        return None if until == math.inf else until

    def _hand_back_surplus(self) -> None:
        for task in self._slots.surplus():
            logger.info(
                "task %s (%s) is handed back: other tasks use all the slots that `task_limit` allows",
                task.task_id,
                self.task_type,
            )
            self._outbox.put(hand_back(task))

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with self._state:
                self._state.wait_for(lambda: self.stopping, seconds)

    def _next_poll(self, free: int) -> planner.Poll:
        wait_ms = min(self._wait_ms, SHORT_WAIT_MS) if self._losses else self._wait_ms
        return planner.next_poll(self._memory, free, wait_ms, self._most)

    def _poll(self, poll: planner.Poll) -> int:
        """One poll; how many tasks it brought. What it may have lost is noted."""
        began = time.monotonic()
        self.trying_since = self.trying_since or began
        arrived: list[Task | Unreadable] = []
        error: ServerError | PayloadDecodeError | None = None
        try:
            # The server sends a batch all at once. Taking all of it before any of it runs spares the interpreter
            # from being handed back and forth between this thread and the slots at every message.
            for item in self.source.poll(poll):
                arrived.append(item)  # noqa: PERF402 - what came before an error counts
        except (ServerError, PayloadDecodeError) as ended_by:
            error = ended_by
        finally:
            received = self._pass_on(arrived)
        if self.measure is not None:
            self.measure(began, error)
        if error is None:
            elapsed_ms = (time.monotonic() - began) * 1000
            self._memory = planner.after_answer(self._memory, poll, len(arrived), elapsed_ms)
        elif isinstance(error, UnmappablePayloadError):
            # The server is well and has taken all it will: the rest of the batch can be looked for at once.
            self._losses.append(_Loss(began, self._server_clock.at(began), max(0, poll.count - len(arrived))))
            self._memory = planner.Memory()
            self._learn_of_integers(error)
        else:
            self._memory = planner.after_failure(self._memory)
            self._note_failure(error)
            if not _took_nothing(error):
                # The server may still be at work on this poll: until its wait is over, or for a while yet where
                # it is so slow that we have given up.
                wait = max(0, poll.wait_ms) / 1000
                due = max(began + wait, time.monotonic()) + SETTLING
                self._losses.append(_Loss(due, self._server_clock.at(began), hidden=0, linger=wait + SETTLING))
            if self.source is self._rest_source:
                # Tasks without integers must not wait for REST. The next integer leads back to it.
                self.source, self._most = self._grpc_source, 1
            return received
        if self.last_error is not None:
            logger.info("polling %r works again", self.task_type)
        self.last_error = self.trying_since = None
        self.last_poll = time.monotonic()
        return received

    def _pass_on(self, items: Sequence[Task | Unreadable], *, late: bool = False) -> int:
        """How many of them occupy a slot. `late`: the server has handed them out a while ago."""
        tasks = [item for item in items if not isinstance(item, Unreadable)]
        if tasks and not late:
            self._server_clock.saw(tasks[-1].update_time)
        self._hooks.received(tasks)
        return sum(self._accept(item, late=late) for item in items)

    def _accept(self, item: Task | Unreadable, *, late: bool) -> int:
        """Queue the task; 1 if it occupies a slot."""
        if isinstance(item, Unreadable):
            self._hooks.unreadable(item)
            return 0
        self._hooks.arrived(item)
        self._slots.submit(item, late=late)
        return 1

    def _learn_of_integers(self, error: UnmappablePayloadError) -> None:
        """Poll this type from now on such that one task with an integer does not strand a whole batch."""
        self._hooks.integers(self.task_type)
        if self._rest_source is not None:
            self.source, self._most = self._rest_source, planner.MAX_BATCH
            if not self._integers_told:
                self._integers_told = True
                logger.warning(
                    "tasks of type %r hold JSON integers, which the server cannot send over gRPC (%s): from now on "
                    "they are polled over REST and acknowledged over gRPC",
                    self.task_type,
                    error.details,
                )
        elif self._most != 1:
            self._most = 1
            logger.warning(
                "tasks of type %r hold JSON integers, which the server cannot send over gRPC (%s): from now on "
                "they are polled one by one, and those with integers fail. Give Configuration(base_url=...) the "
                "server's REST address to have them run",
                self.task_type,
                error.details,
            )

    def _note_failure(self, error: ServerError | PayloadDecodeError) -> None:
        self.last_error = error
        # A certificate or a key that is refused does not pass by itself: somebody has to see it.
        alarm = logger.error if isinstance(error, AuthenticationError) else logger.warning
        log = alarm if worth_telling(self._memory.failures) else logger.debug
        log("polling %r failed (%d in a row): %s", self.task_type, self._memory.failures, error)

    def _look_for_losses(self, now: float, *, last: bool = False) -> None:
        due = [loss for loss in self._losses if loss.due <= now]
        if not due:
            return
        since_ms, hidden = min(loss.since_ms for loss in due), sum(loss.hidden for loss in due)
        later = [loss for loss in self._losses if loss.due > now]
        lingers = [loss.linger for loss in due if loss.linger is not None]
        linger = max(lingers, default=None)
        try:
            found, complete, again = self._reclaim.stranded(self.task_type, self.worker_id, since_ms, hidden, last=last)
        except (ServerError, PayloadDecodeError) as error:
            self._reclaim_failures += 1
            retry = planner.pause(planner.Memory(failures=self._reclaim_failures), random.random())
            log = logger.warning if worth_telling(self._reclaim_failures) else logger.debug
            log(
                "could not look for stranded tasks of type %r, trying again in %.1f s: %s",
                self.task_type,
                retry,
                error,
            )
            # One for all: an outage of days must not leave one for each of its polls.
            self._losses = [*later, _Loss(time.monotonic() + retry, since_ms, hidden, linger)]
            return
        self._reclaim_failures = 0
        self._losses = later
        if linger is not None:
            self._losses.append(_Loss(time.monotonic() + linger, since_ms, hidden=0))
        if not complete and self._server_clock.at(now) - since_ms < LOST_FOR_GOOD * 1000:
            pause = LOOK_AGAIN if again is None else again
            self._losses.append(_Loss(time.monotonic() + pause, since_ms, hidden))
        self.reclaimed += len(found)
        if found:
            logger.info("found %d stranded tasks of type %r again", len(found), self.task_type)
        # They were not asked for, so no permits were reserved: they are a debt, worked off before the next poll.
        self._slots.settle(0, self._pass_on(found, late=True))

    def _look_for_losses_before_the_end(self) -> None:
        """A poll that broke just before the stop may strand tasks too; they are handed back like the others."""
        if self._losses:
            due = max(loss.due for loss in self._losses)
            # A look that is put off since the last one was dear is not: there will be no later.
            time.sleep(max(0.0, min(due - time.monotonic(), self._wait_ms / 1000 + SETTLING)))
            self._look_for_losses(now=max(due, time.monotonic()), last=True)


def _took_nothing(error: ServerError | PayloadDecodeError) -> bool:
    return isinstance(error, TokenUnavailableError) or (isinstance(error, ServerError) and error.kind in NOTHING_TAKEN)


def worth_telling(failures: int) -> bool:
    """Whether the failure that makes `failures` in a row is a warning: the first three, then one in ten."""
    return failures <= 3 or failures % 10 == 0
