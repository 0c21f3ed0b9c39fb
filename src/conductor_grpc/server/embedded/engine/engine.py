"""The engine: all state, one lock, and the hooks by which its modules reach each other.

Everything happens under `Engine.lock`, within a `transaction`: at its end the workflows to which something has
happened are decided, what has changed is saved, and alarms are set to when a workflow must be looked at again.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from conductor_grpc.server.embedded.engine import decider, polling, timeouts
from conductor_grpc.server.embedded.engine.alarms import Alarms
from conductor_grpc.server.embedded.engine.control import CONTROLS
from conductor_grpc.server.embedded.engine.control.sub_workflow import child_ended
from conductor_grpc.server.embedded.engine.failures import EngineError
from conductor_grpc.server.embedded.engine.limits import ConcurrencyLimits, RateLimits
from conductor_grpc.server.embedded.engine.logs import StrayLogs
from conductor_grpc.server.embedded.engine.polls import PollHistory
from conductor_grpc.server.embedded.engine.queues import TaskQueues
from conductor_grpc.server.embedded.engine.records import TaskRecord
from conductor_grpc.server.embedded.engine.registry import Registry
from conductor_grpc.server.embedded.engine.restoring import restore
from conductor_grpc.server.embedded.engine.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.server.embedded.clock import Clock
    from conductor_grpc.server.embedded.engine.memory_store import MemoryStore
    from conductor_grpc.server.embedded.engine.records import WorkflowRecord

logger = logging.getLogger(__name__)

_BREATH_MS: Final = 50
"""Until a workflow goes on that has had its share of computing; as long again after each further one, since it could
go on for ever."""


class Engine:
    """One embedded server's workflows, tasks, definitions and queues.

    :param clock: the time on which everything below is due.
    :param store: where changes are saved; what it holds is loaded.
    :param strict: with the released server's faults.
    :param keep_finished: how many ended workflows are kept, the latest.
    """

    def __init__(self, clock: Clock, store: MemoryStore, *, strict: bool = False, keep_finished: int = 5_000) -> None:
        self.lock = clock.lock
        self.clock = clock
        self.store = store
        self.strict = strict
        self.controls = CONTROLS
        self.registry = Registry(store)
        self.queues = TaskQueues()
        self.polls = PollHistory()
        self.limits = ConcurrencyLimits()
        self.rates = RateLimits()
        self.shelf = Shelf(keep_finished)
        self.alarms = Alarms()
        """Of open workflows, by id."""
        self.stray_logs = StrayLogs()
        self.extending: Counter[str] = Counter()
        """Strict mode: by task id, how many extensions of its lease have read the task and not written it back."""
        self._in_transaction = False
        self._touched: dict[TaskRecord | WorkflowRecord, None] = {}
        self._to_decide: dict[WorkflowRecord, None] = {}
        self._ended: dict[WorkflowRecord, None] = {}
        self._shares: Counter[WorkflowRecord] = Counter()
        """How many shares of computing in a row workflows have used up that could still go on."""
        self._unfinished: set[WorkflowRecord] = set()
        clock.attach(self.alarms, self.fire)
        clock.attach(self.queues.deliveries, self._deliver)
        restore(self)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Holds the lock; the outermost one decides and saves at its end. Nothing may wait inside it.

        Raises EngineError if what was to be decided cannot be; what happened before that is saved all the same.
        """
        with self.lock:
            if self._in_transaction:
                yield
                return
            self._in_transaction = True
            try:
                try:
                    yield
                except BaseException:
                    self._decide_all(asked=None)  # none of it may be left to the next transaction
                    raise
                self._decide_all(asked=next(iter(self._to_decide), None))
            finally:
                self._in_transaction = False
                self._save()

    def touch(self, record: TaskRecord | WorkflowRecord) -> None:
        """Says that a record has changed: it is saved at the end of the transaction."""
        self._touched[record] = None

    def forget(self, task: TaskRecord) -> None:
        """Takes a task out of its workflow for good."""
        task.workflow.tasks.remove(task)
        self.queues.remove(task)
        self.shelf.remove_task(task)
        self.on_task_ended(task)
        self._touched.pop(task, None)
        self.store.delete_task(task)

    def remove(self, workflow: WorkflowRecord) -> None:
        """Takes a workflow away for good, with its tasks; its sub-workflows go on."""
        for task in list(workflow.tasks):
            self.forget(task)
        self._touched.pop(workflow, None)
        self._to_decide.pop(workflow, None)
        self._shares.pop(workflow, None)
        self.alarms.clear(workflow.workflow_id)
        for gone in [workflow, *self.shelf.remove(workflow)]:
            self.store.delete_workflow(gone.workflow_id)

    def decide_soon(self, workflow: WorkflowRecord) -> None:
        """The workflow is decided before the transaction ends."""
        self._to_decide[workflow] = None

    def fire(self, workflow_id: str) -> None:
        """An alarm of this workflow has gone off."""
        with self.transaction():
            workflow = self.shelf.find(workflow_id)
            if workflow is not None and workflow.is_open:
                self.decide_soon(workflow)
                self.touch(workflow)

    def on_task_ended(self, task: TaskRecord) -> None:
        """A task has got its last state: others that its definition's limit has held back may go."""
        polling.released(self, task)

    def on_workflow_ended(self, workflow: WorkflowRecord) -> None:
        """A workflow has got its last state, which concerns the one that it is a part of."""
        child_ended(self, workflow)
        self._shares.pop(workflow, None)
        self._ended[workflow] = None

    def _decide_all(self, asked: WorkflowRecord | None) -> None:
        """Raises what keeps the one that the request is about from being decided; what others have is logged."""
        failure = None
        while self._to_decide:
            workflow = next(iter(self._to_decide))
            del self._to_decide[workflow]
            if self.shelf.find(workflow.workflow_id) is not workflow:
                continue  # it was removed while the lock was free
            try:
                if decider.decide(self, workflow):
                    self._shares[workflow] += 1
                    self._unfinished.add(workflow)
                else:
                    self._shares.pop(workflow, None)
            except Exception as error:  # one that is no EngineError is a bug, and concerns one workflow
                if workflow is asked:
                    failure = error
                elif isinstance(error, EngineError):
                    logger.warning("%r cannot go on: %s", workflow, error)
                else:
                    logger.exception("%r cannot go on", workflow)
        if failure is not None:
            raise failure

    def _save(self) -> None:
        # On a disk that is full this raises, the request fails, and the store keeps the records for the next commit.
        workflows = set()
        for record in self._touched:
            if isinstance(record, TaskRecord):
                self.store.save_task(record)
                workflows.add(record.workflow)
            else:
                self.store.save_workflow(record)
                workflows.add(record)
        for workflow in workflows:
            self._set_alarm(workflow)
        for workflow in self._unfinished:
            breath = _BREATH_MS * self._shares[workflow]
            self.alarms.bring_forward(workflow.workflow_id, self.clock.now() + breath)
        self._unfinished.clear()
        self._touched.clear()
        self._evict()
        self.store.commit()
        self.queues.wake(self.clock.now())

    def _evict(self) -> None:
        for workflow in self._ended:
            if not workflow.is_open:
                for gone in self.shelf.finished(workflow):
                    self.store.delete_workflow(gone.workflow_id)
        self._ended.clear()

    def _deliver(self, queue_name: str) -> None:
        self.queues.deliver(queue_name, self.clock.now())

    def _set_alarm(self, workflow: WorkflowRecord) -> None:
        set_to = self.alarms.at(workflow.workflow_id)
        if workflow.is_open and set_to is not None and set_to <= self.clock.now():
            return  # it goes off in a moment: what it is for must not be taken for past
        due = timeouts.next_look(workflow, self.clock.now()) if workflow.is_open else None
        if due is None:
            self.alarms.clear(workflow.workflow_id)
        else:
            self.alarms.set(workflow.workflow_id, due)
