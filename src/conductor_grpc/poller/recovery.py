"""After a crash: what earlier runs have left undone, as far as the journal knows."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from conductor_grpc.configuration import SERVER_POLL_LIMIT_MS
from conductor_grpc.errors import ClosedChannelError, PayloadDecodeError, ServerError, UnmappablePayloadError
from conductor_grpc.poller import planner
from conductor_grpc.poller.intake import LOOK_AGAIN, LOST_FOR_GOOD, SETTLING, worth_telling
from conductor_grpc.poller.outbox_truth import PASSING
from conductor_grpc.poller.outbox_updates import Purpose, Update, hand_back
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.sources import Unreadable
from conductor_grpc.worker.status import TaskStatus
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.custody import Custody
    from conductor_grpc.poller.journal import Claim, FormerWorker, Journal
    from conductor_grpc.poller.outbox import Outbox
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.reclaim import Reclaim, TaskFinder

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

POLLS_OVER: Final = SERVER_POLL_LIMIT_MS / 1000 + SETTLING
"""Seconds after which the server has noticed that nobody waits for the polls of a process that was killed: until
then they may still take tasks off the queue."""


class Recovery(BackgroundPart):
    """Sends the outcomes of earlier runs, and hands their unfinished tasks back, while this run polls already.

    A task is touched only if the server still has it under the worker id and poll count of that earlier run. This
    run polls under other ids, so nothing that it holds is ever handed back.
    """

    def __init__(
        self,
        journal: Journal,
        custody: Custody,
        outbox: Outbox,
        reclaim: Reclaim,
        finder: TaskFinder,
        on_death: DeathHandler,
    ) -> None:
        super().__init__("conductor-recovery", on_death)
        self._journal = journal
        self._custody = custody
        self._outbox = outbox
        self._reclaim = reclaim
        self._finder = finder
        self._left = journal.recover()
        self._ended = threading.Event()

    def send_outcomes(self) -> None:
        """Put the outcomes of earlier runs into the outbox. Does not block."""
        for outcome in self._left.outcomes:
            # As if it had been tried before, and not to be repeated blindly: the server is asked first whether it
            # still waits for it. It may have it; or the task was run again, by a rerun even under the same id.
            update = Update(_task_of(outcome.claim), Purpose.RESULT, outcome.wire, repeatable=False, attempts=1)
            self._put(update)

    def _run(self) -> None:
        try:
            self._recover()
        except ClosedChannelError:
            if not self.stopping:
                raise
            logger.debug("the stop did not wait for recovery, which the next run goes on with")

    def _recover(self) -> None:
        started = time.monotonic()
        left = self._left
        if not (left.outcomes or left.claims or left.workers):
            return
        logger.warning(
            "an earlier run ended without notice: it leaves %d results that are sent now, %d tasks that are handed "
            "back, and %d worker ids whose tasks are looked for",
            len(left.outcomes),
            len(left.claims),
            len(left.workers),
        )
        for claim in left.claims:
            self._persistently(f"task {claim.task_id} of an earlier run", functools.partial(self._give_up, claim))
        for worker in left.workers:
            self._look(worker)
        self._ended.wait(max(0.0, started + POLLS_OVER - time.monotonic()))
        for worker in left.workers:
            while not self.stopping and not self._look(worker) and time.monotonic() - started < LOST_FOR_GOOD:
                self._ended.wait(LOOK_AGAIN)
            if not self.stopping:
                self._journal.forget_worker(worker.worker_id)

    def _wake(self) -> None:
        self._ended.set()

    def _give_up(self, claim: Claim) -> None:
        """Hand a task back if the server still counts it as that of the earlier run."""
        task = self._find(claim)
        if (
            task is not None
            and task.status is TaskStatus.IN_PROGRESS
            and (task.worker_id, task.poll_count) == (claim.worker_id, claim.poll_count)
        ):
            self._put(hand_back(task))
        else:
            self._journal.settled(claim.key)

    def _find(self, claim: Claim) -> Task | None:
        try:
            return self._finder.over_grpc(claim.task_id)
        except (UnmappablePayloadError, PayloadDecodeError):
            try:
                return self._finder.find(claim.task_id)
            except (ServerError, PayloadDecodeError) as error:
                if isinstance(error, ServerError) and error.kind in PASSING:
                    raise  # a later look may succeed
                # Nobody can tell what became of it. Had it ended, the server would ignore the hand-back; left alone
                # it would block its workflow until its timeout.
                return _task_of(claim)

    def _look(self, worker: FormerWorker) -> bool:
        """Hand back what the server has given to this worker; False if there may be more."""
        found = self._persistently(
            f"stranded tasks of {worker.worker_id!r}",
            lambda: self._reclaim.stranded(worker.task_type, worker.worker_id, worker.since_ms, 0),
        )
        if found is None:
            return False
        if found.tasks:
            logger.info("handing back %d tasks of type %r of an earlier run", len(found.tasks), worker.task_type)
        tasks = [_ids_of(item) if isinstance(item, Unreadable) else item for item in found.tasks]
        # The worker id may be forgotten before they have reached the server, which may be long or not in this run.
        self._journal.claimed(tasks)
        for task in tasks:
            self._put(hand_back(task))
        return found.complete

    def _put(self, update: Update) -> None:
        self._custody.take(update.task.task_id, update.task.poll_count)
        self._outbox.put(update)

    def _persistently(self, what: str, attempt: Callable[[], Answer]) -> Answer | None:
        """The answer of the first attempt that succeeds; None if this part is to stop."""
        failures = 0
        while not self.stopping:
            try:
                return attempt()
            except (ServerError, PayloadDecodeError) as error:
                failures += 1
                pause = planner.pause(planner.Memory(failures=failures), random.random())
                log = logger.warning if worth_telling(failures) else logger.debug
                log("could not look for %s, trying again in %.1f s: %s", what, pause, error)
            self._ended.wait(pause)
        return None


def _ids_of(item: Unreadable) -> Task:
    return Task(task_id=item.task_id, workflow_instance_id=item.workflow_instance_id)


def _task_of(claim: Claim) -> Task:
    return Task(
        task_id=claim.task_id,
        poll_count=claim.poll_count,
        workflow_instance_id=claim.workflow_instance_id,
        task_def_name=claim.task_type,
        worker_id=claim.worker_id,
    )
