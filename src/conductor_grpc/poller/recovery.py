"""After a crash: what earlier runs have left undone, as far as the journal knows."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.configuration import SERVER_POLL_LIMIT_MS
from conductor_grpc.errors import ClosedChannelError, PayloadDecodeError, ServerError, UnmappablePayloadError
from conductor_grpc.poller import planner
from conductor_grpc.poller.custody import ANY
from conductor_grpc.poller.intake import LOOK_AGAIN, LOST_FOR_GOOD, SETTLING
from conductor_grpc.poller.outbox_truth import PASSING
from conductor_grpc.poller.outbox_updates import Purpose, Update, failure, hand_back
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely
from conductor_grpc.poller.sources import Unreadable
from conductor_grpc.worker.status import TaskStatus
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.custody import Custody
    from conductor_grpc.poller.journal import Claim, FormerWorker, Journal
    from conductor_grpc.poller.outbox import Outbox
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.poller.reclaim import Found, Reclaim, TaskFinder

    Failure = ServerError | PayloadDecodeError

logger = logging.getLogger(__name__)

POLLS_OVER: Final = SERVER_POLL_LIMIT_MS / 1000 + SETTLING
"""Seconds after which the server has noticed that nobody waits for the polls of a process that was killed: until
then they may still take tasks off the queue."""

PATIENCE: Final = 600.0
"""Seconds of failures of a kind that hardly passes (no index, no right, a base_url that leads elsewhere) after which
they are believed. A server that cannot be reached is waited for as long as this run lasts."""


@dataclass(eq=False)
class _Errand:
    """One thing that an earlier run has left to be done."""

    what: str
    attempt: Callable[[], float | None]
    """Tries; seconds until it is to be tried again, None once it is done. Raises a Failure."""
    give_up: Callable[[Failure], None]
    """Called instead of one more attempt when it has failed for good."""
    due: float = 0.0
    failures: int = 0
    """In a row."""
    hopeless_since: float | None = None
    """Since when nothing but failures that hardly pass has come."""


class Recovery(BackgroundPart):
    """Sends the outcomes of earlier runs, and hands their unfinished tasks back, while this run polls already.

    A task is touched only if the server still has it under the worker id and poll count of that earlier run; for one
    that cannot be seen see `_hand_back_unseen`. This run polls under other ids, so nothing that it holds is ever
    handed back. Each task and each worker id is tried on its own, again and again with a pause that grows: what fails
    holds up nothing else.
    """

    def __init__(
        self,
        journal: Journal,
        custody: Custody,
        outbox: Outbox,
        reclaim: Reclaim,
        finder: TaskFinder,
        on_death: DeathHandler,
        crash_limit: int | None = None,
    ) -> None:
        super().__init__("conductor-recovery", on_death)
        self._crash_limit = crash_limit
        self._journal = journal
        self._custody = custody
        self._outbox = outbox
        self._reclaim = reclaim
        self._finder = finder
        left = journal.recover()
        self._outcomes, self._claims, self._workers = deque(left.outcomes), left.claims, left.workers
        self._outcomes_left = len(left.outcomes)
        self._errands: list[_Errand] = []
        self._failures = Rarely()
        self._began = 0.0
        self._ended = threading.Event()

    def send_outcomes(self) -> None:
        """Put the outcomes of earlier runs into the outbox. Does not block."""
        while self._outcomes:  # which must not keep them once they are sent
            outcome = self._outcomes.popleft()
            # As if it had been tried before, and not to be repeated blindly: the server is asked first whether it
            # still waits for it. It may have it; or the task was run again, by a rerun even under the same id.
            update = Update(_task_of(outcome.claim), Purpose.RESULT, outcome.wire, repeatable=False, attempts=1)
            self._put(update)

    def _run(self) -> None:
        self._set_out()
        try:
            while self._errands and not self.stopping:
                self._ended.wait(self._go_round())
        except ClosedChannelError:
            if not self.stopping:
                raise
            logger.debug("the stop did not wait for recovery, which the next run goes on with")

    def _wake(self) -> None:
        self._ended.set()

    def _set_out(self) -> None:
        self._began = time.monotonic()
        if not (self._outcomes_left or self._claims or self._workers):
            return
        logger.warning(
            "an earlier run ended without notice: it leaves %d results that are sent now, %d tasks that are handed "
            "back, and %d worker ids whose tasks are looked for",
            self._outcomes_left,
            len(self._claims),
            len(self._workers),
        )
        of = functools.partial
        self._errands = [
            _Errand(
                f"task {claim.task_id} of an earlier run",
                of(self._hand_back, claim),
                of(self._hand_back_unseen, claim),
            )
            for claim in self._claims
        ] + [
            _Errand(
                f"stranded tasks of {worker.worker_id!r}", of(self._search, worker), of(self._stop_searching, worker)
            )
            for worker in self._workers
        ]

    def _go_round(self) -> float:
        """Try once whatever is due; seconds until the next is."""
        now = time.monotonic()
        # First what has failed the least: with a server that answers nothing, each attempt takes its time.
        for errand in sorted(self._errands, key=lambda each: each.failures):
            if errand.due > now:
                continue
            if self.stopping:
                break
            pause = self._try(errand)
            if pause is None:
                self._errands.remove(errand)
            else:
                errand.due = time.monotonic() + pause
        return max(0.0, min((each.due for each in self._errands), default=0.0) - time.monotonic())

    def _try(self, errand: _Errand) -> float | None:
        try:
            pause = errand.attempt()
        except (ServerError, PayloadDecodeError) as error:
            return self._after_failure(errand, error)
        errand.failures, errand.hopeless_since = 0, None
        return pause

    def _after_failure(self, errand: _Errand, error: Failure) -> float | None:
        errand.failures += 1
        now = time.monotonic()
        if isinstance(error, ServerError) and error.kind in PASSING:
            errand.hopeless_since = None
        elif errand.hopeless_since is None:
            errand.hopeless_since = now
        if errand.hopeless_since is not None and now - errand.hopeless_since >= PATIENCE:
            errand.give_up(error)
            return None
        pause = planner.pause(planner.Memory(failures=errand.failures), random.random())
        logger.log(
            self._failures.level(),
            "could not look for %s (attempt %d; %d such searches in all), trying again in %.1f s: %s",
            errand.what,
            errand.failures,
            len(self._errands),
            pause,
            error,
        )
        return pause

    def _hand_back(self, claim: Claim) -> None:
        """Hand a task back if the server still counts it as that of the earlier run."""
        with self._custody.watch() as ours:
            try:
                task = self._finder.find(claim.task_id)
            except UnmappablePayloadError as error:  # there is no REST, nor will there be in this run
                self._hand_back_unseen(claim, error)
                return
            if ours.holds(*claim.key):
                return  # the search for its worker's tasks has found it first, and answers for it
        if (
            task is not None
            and task.status is TaskStatus.IN_PROGRESS
            and task.worker_id == claim.worker_id
            and claim.poll_count in (task.poll_count, ANY)
        ):
            self._hand_back_or_fail(task, claim)
        else:
            self._journal.settled(claim.key)

    def _hand_back_or_fail(self, task: Task, claim: Claim) -> None:
        times = self._journal.crashed(claim)
        if self._crash_limit is None or times < self._crash_limit:
            self._put(hand_back(task))
            return
        logger.error(
            "task %s of type %r is failed: %d processes have died with it, and it may be what kills them",
            task.task_id,
            claim.task_type,
            times,
        )
        self._put(
            failure(
                task,
                f"{times} processes in a row died while they had this task, so it may be what kills them; what they"
                ' printed on stderr, or the kernel\'s log, says more. A worker with executor="process" survives such'
                " tasks, and Configuration(crash_limit=...) allows more attempts",
            )
        )

    def _hand_back_unseen(self, claim: Claim, error: Failure) -> None:
        """Hand a task back though nobody can see whose it is.

        The server puts a task back on its queue whoever has it. This one is the earlier run's, almost for certain:
        when a response timeout is over, the next attempt gets an id of its own, and a task that has ended ignores the
        update. It is with another worker only where a run has handed it back, and was killed within the second that
        the journal takes to be told of it. Left alone it would hold up its workflow until its timeout. So it is handed
        back, but not by a later run once more, by when it may well be with another worker: the journal forgets it
        first.
        """
        self._journal.settled(claim.key)
        self._journal.flush()
        logger.warning(
            "task %s of type %r, which an earlier run left unfinished, cannot be seen and is handed back by its ids. "
            "Should another worker have it already, it runs twice. Configuration(base_url=...) with the server's REST "
            "address makes such tasks visible: %s",
            claim.task_id,
            claim.task_type,
            error,
        )
        self._put(hand_back(_task_of(claim)))

    def _search(self, worker: FormerWorker) -> float | None:
        began = time.monotonic()
        polls_over = self._began + POLLS_OVER
        found = self._look(worker)
        if began < polls_over:
            return max(0.0, polls_over - time.monotonic())
        if not found.complete and began - self._began < LOST_FOR_GOOD:
            return LOOK_AGAIN if found.again is None else found.again
        if not found.complete:
            logger.error(
                "tasks of type %r that were on their way to %r when an earlier run was killed could not be told from "
                "the backlog for %.0f minutes: if there are any left, they wait for their response timeout",
                worker.task_type,
                worker.worker_id,
                LOST_FOR_GOOD / 60,
            )
        self._journal.forget_worker(worker.worker_id)
        return None

    def _stop_searching(self, worker: FormerWorker, error: Failure) -> None:
        logger.error(
            "the server does not let us look for tasks of type %r that were on their way to %r when an earlier run "
            "was killed: if there are any, they wait for their response timeout. Give Configuration(base_url=...) the "
            "server's REST address, or the server an index, before the next crash: %s",
            worker.task_type,
            worker.worker_id,
            error,
        )
        self._journal.forget_worker(worker.worker_id)

    def _look(self, worker: FormerWorker) -> Found:
        """Hand back what the server has given to this worker."""
        found = self._reclaim.stranded(worker.task_type, worker.worker_id, worker.since_ms, 0)
        if found.tasks:
            logger.info("handing back %d tasks of type %r of an earlier run", len(found.tasks), worker.task_type)
        tasks = [_ids_of(item, worker) if isinstance(item, Unreadable) else item for item in found.tasks]
        # The worker id may be forgotten before they have reached the server, which may be long or not in this run.
        self._journal.claimed(tasks)
        claims = {claim.key: claim for claim in self._claims}
        for task in tasks:
            claim = claims.get((task.task_id, task.poll_count))
            if claim is None:
                self._put(hand_back(task))
            else:  # the look for that one has failed so far
                self._hand_back_or_fail(task, claim)
        return found

    def _put(self, update: Update) -> None:
        self._custody.take(update.task.task_id, update.task.poll_count)
        self._outbox.put(update)


def _ids_of(item: Unreadable, worker: FormerWorker) -> Task:
    return Task(
        task_id=item.task_id,
        poll_count=ANY,
        workflow_instance_id=item.workflow_instance_id,
        task_def_name=worker.task_type,
        worker_id=worker.worker_id,
    )


def _task_of(claim: Claim) -> Task:
    return Task(
        task_id=claim.task_id,
        poll_count=claim.poll_count,
        workflow_instance_id=claim.workflow_instance_id,
        task_def_name=claim.task_type,
        worker_id=claim.worker_id,
    )
