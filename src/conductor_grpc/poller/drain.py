"""Stopping without losing anything: one order, one deadline, one report."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.poller.outbox_updates import Purpose, hand_back
from conductor_grpc.poller.slots import ABANDONED

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from conductor_grpc.poller.intake import Intake
    from conductor_grpc.poller.outbox import Outbox
    from conductor_grpc.poller.outbox_updates import Update
    from conductor_grpc.poller.slots import Run, Slots

logger = logging.getLogger(__name__)

FLUSH_GRACE: Final = 2.0
"""Seconds the outbox gets for what the drain puts into it last, even where the deadline has passed."""

POLL_GRACE: Final = 5.0
"""Seconds a poll in flight gets beyond its wait and, where it breaks, the look at what it has taken. Nothing cuts this
short: a poll that is given up strands what it brings, and it is soon over."""

HURRY_GRACE: Final = 2.0
"""Seconds running tasks get after a second signal, within the deadline. Whatever ends in them need not run twice."""

_STEP: Final = 0.1
"""How soon a wait notices that the deadline was cut short."""


@dataclass(frozen=True)
class DrainReport:
    """What became of the tasks that the poller held when it began to stop."""

    done: int = 0
    """Results that the server accepted while draining."""
    handed_back: int = 0
    """Tasks that nobody had begun, back on the server's queue."""
    cancelled: int = 0
    """Tasks still running at the deadline: back on the server's queue, where they run again. Their results, should
    they come yet, are dropped."""
    unsent: int = 0
    """Results and hand-backs that the server has not accepted. Such a task is run again after its response
    timeout; with a journal, the next run sends them first."""
    close_errors: tuple[str, ...] = ()
    """Resources that could not be closed, and why. No task is affected."""

    @property
    def exit_code(self) -> int:
        """For the program: 0, or 1 if something is unsent or a resource could not be closed."""
        return 1 if self.unsent or self.close_errors else 0

    def __str__(self) -> str:
        back = f"{self.handed_back} handed back, {self.cancelled} cancelled"
        errors = "".join(f"; {error}" for error in self.close_errors)
        return f"while stopping: {self.done} done, {back}, {self.unsent} unsent{errors}"


class Deadline:
    """A point in time that can be moved up, never back, from any thread or a signal handler."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._cut = False

    # No Event and no lock in these two: it may be held by the very code that the signal interrupted.
    def shorten(self, seconds: float) -> None:
        """At most so many seconds from now."""
        self._end = min(self._end, time.monotonic() + seconds)

    def cut(self) -> None:
        """Now."""
        self._cut = True

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return 0.0 if self._cut else max(0.0, self._end - time.monotonic())

    def wait(self, attempt: Callable[[float], bool]) -> bool:
        """Call `attempt(seconds)`, which waits at most that long, until it is true or the deadline has passed."""
        while not attempt(min(_STEP, self.remaining())):
            if self.remaining() <= 0:
                return attempt(0)
        return True


def drain(
    intakes: Sequence[Intake], slots: Sequence[Slots], outbox: Outbox, deadline: Deadline, poll_wait: float
) -> DrainReport:
    """Stop polling, hand back what nobody has begun, finish what runs, send every result. Blocks.

    `poll_wait` is how long, in seconds, a poll in flight may wait on the server; it is waited for even where the
    deadline is earlier.
    """
    logger.info(
        "stopping: the poll in flight may take %.0f s to come back, running tasks have %.0f s to end",
        poll_wait,
        deadline.remaining(),
    )
    before = outbox.accepted.copy()
    # No new polls, and no task is begun any more. The polls in flight must come back first, though: the server
    # has taken their tasks off the queue, and cancelling strands them.
    for intake in intakes:
        intake.stop()
    for each in slots:
        each.close()
    _hand_back_unstarted(slots, outbox)
    polls = Deadline(poll_wait + POLL_GRACE)
    for intake in intakes:
        if not polls.wait(intake.join):
            logger.warning(
                "the poll for %r did not come back in time: tasks it brings wait for their response timeout",
                intake.task_type,
            )
    _hand_back_unstarted(slots, outbox)
    # Running tasks keep their slots, and the outbox keeps sending, until they end or time is over. Another worker
    # can run one again at once if it is handed back; left alone it would block its workflow until its timeout.
    for each in slots:
        if not deadline.wait(each.wait_idle):
            for run in each.abandon():
                held = run.held
                logger.warning("task %s (%s) did not end in time and is handed back", held.task_id, held.task_def_name)
                outbox.put(_hand_back_running(run))
        else:
            each.join(FLUSH_GRACE)  # nothing runs, so they only have to notice
    # Last, since everything above puts updates into it.
    # A dead outbox sends no more.
    if not deadline.wait(lambda seconds: outbox.flush(seconds) or not outbox.alive) and outbox.alive:
        outbox.flush(FLUSH_GRACE)
    report = close_outbox(outbox, before)
    log = logger.error if report.unsent else logger.info
    log("drained: %s", report)
    return report


def close_outbox(outbox: Outbox, before: Counter[Purpose]) -> DrainReport:
    """Send nothing more; what has become of everything since the outbox had accepted `before`. Blocks a little."""
    unsent = len(outbox)
    outbox.stop()
    outbox.join(FLUSH_GRACE)
    sent = outbox.accepted - before
    return DrainReport(sent[Purpose.RESULT], sent[Purpose.HAND_BACK], sent[Purpose.CANCEL], unsent)


def _hand_back_running(run: Run) -> Update:
    update = hand_back(run.task, Purpose.CANCEL, run.held, run.context.output)
    if run.cancelled.reason != ABANDONED:
        update.attempts = 1  # it was cancelled before: another worker may have it, so the outbox asks first
    return update


def _hand_back_unstarted(slots: Sequence[Slots], outbox: Outbox) -> None:
    for each in slots:
        for task in each.take_back():
            outbox.put(hand_back(task))
