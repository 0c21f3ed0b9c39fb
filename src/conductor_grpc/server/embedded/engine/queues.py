"""The queues that tasks wait in until a worker polls for them, and the polls that wait for tasks."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from conductor_grpc.server.embedded.engine.alarms import Alarms

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class WaitingPoll:
    """A poll's place at one queue."""

    def __init__(self) -> None:
        self.turn = threading.Event()
        """Set when it is its turn to look, or when it has to give up waiting. May be set and waited for by anybody."""
        self.called = False
        """It has been woken and has not looked yet: a task is spoken for."""
        self.waited = False
        """It has waited before, and keeps its place among those that wait."""

    def wait(self, seconds: float) -> None:
        """Until its turn, or for so many seconds. Called without the engine's lock."""
        self.waited = True
        self.turn.wait(max(seconds, 0))


class _Entry:
    """One task's place in its queue. A task that is offered again gets a new one, and the old one is dead."""

    __slots__ = ("deliver_at", "ready", "task")

    def __init__(self, task: TaskRecord, deliver_at: int) -> None:
        self.task = task
        self.deliver_at = deliver_at
        self.ready = False


class _Queue:
    """The tasks of one queue, those that are due and those that are not yet, and the polls waiting at it.

    Taking an entry out of the middle of a heap is O(n): a dead one stays until it comes to the top, or until the dead
    are more than the living.
    """

    _SLACK: Final = 64

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}
        """The living ones, by task id."""
        self.ready_count = 0
        self.polls: OrderedDict[WaitingPoll, None] = OrderedDict()
        """Those that wait, the first come first."""
        self.turns = 0
        """How many polls have been woken and have not looked yet: so many tasks are spoken for."""
        self.held = 0
        """How many tasks are off the queue while the poll that has them still waits for more."""
        self._ready: list[tuple[int, int, int, _Entry]] = []
        self._delayed: list[tuple[int, int, _Entry]] = []

    @property
    def idle(self) -> bool:
        return not (self.entries or self.polls or self.turns or self.held)

    def put(self, entry: _Entry, number: int) -> None:
        self.entries[entry.task.task_id] = entry
        heapq.heappush(self._delayed, (entry.deliver_at, number, entry))

    def discard(self, task_id: str) -> None:
        entry = self.entries.pop(task_id, None)
        if entry is None:
            return
        self.ready_count -= entry.ready
        if len(self._ready) + len(self._delayed) > 2 * len(self.entries) + self._SLACK:
            self._ready = [item for item in self._ready if self._lives(item[-1])]
            self._delayed = [item for item in self._delayed if self._lives(item[-1])]
            heapq.heapify(self._ready)
            heapq.heapify(self._delayed)

    def ripen(self, now: int) -> None:
        """Make ready what is due."""
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            deliver_at, number, entry = heapq.heappop(delayed)
            if self._lives(entry):
                entry.ready = True
                self.ready_count += 1
                heapq.heappush(self._ready, (-entry.task.workflow.priority, deliver_at, number, entry))

    def pop(self) -> TaskRecord | None:
        """The first of the ready ones, taken out."""
        while self._ready:
            entry = heapq.heappop(self._ready)[-1]
            if self._lives(entry):
                del self.entries[entry.task.task_id]
                self.ready_count -= 1
                return entry.task
        return None

    def next_delivery(self) -> int | None:
        """When the next of those that are not ready is due."""
        delayed = self._delayed
        while delayed:
            if self._lives(delayed[0][-1]):
                return delayed[0][0]
            heapq.heappop(delayed)
        return None

    def _lives(self, entry: _Entry) -> bool:
        return self.entries.get(entry.task.task_id) is entry


class TaskQueues:
    """All queues by name, `[domain:]task type`.

    A queue hands out those that are due: the highest workflow priority first, then the earliest due, then the first
    offered (as the released server does on SQLite). Offering, removing and taking a task cost O(log n) of its queue.
    Not thread-safe: used under the engine's lock, except where it says otherwise.

    Polls that wait at a queue get their turns in the order they came, and one task wakes one poll. `wake` gives the
    turns, so that no poll looks before what it is to see is safe in the store.
    """

    _FEW: Final = 1_000
    """So many queues are kept without looking for idle ones among them."""
    _NAMES: Final = 100_000

    def __init__(self) -> None:
        self.deliveries = Alarms()
        """By queue name: when a delayed task is due that a poll waits for. Whoever runs them calls `deliver`."""
        self.closed = threading.Event()
        """Set once no poll may wait any more. May be looked at and waited for without the lock."""
        self._queues: dict[str, _Queue] = {}
        self._enough = self._FEW
        # The released server knows a queue for good; here the names stay, and what belongs to an idle queue goes.
        self._names: dict[str, None] = {}
        self._to_wake: set[str] = set()
        self._numbers = itertools.count()

    # -- tasks --

    def offer(self, task: TaskRecord, deliver_at: int) -> None:
        """Put a task into its queue, to be handed out from `deliver_at` on; one that is in it already is moved."""
        name = task.queue_name
        queue = self._queues.get(name) or self._open(name)
        if task.queued:
            queue.discard(task.task_id)
        elif name not in self._names:
            self._learn(name)
        queue.put(_Entry(task, deliver_at), next(self._numbers))
        task.queued = True
        task.deliver_at = deliver_at
        if queue.polls:
            self._to_wake.add(name)

    def remove(self, task: TaskRecord) -> None:
        """Take a task out of its queue; fine if it is not in it."""
        if task.queued:
            task.queued = False
            self._queues[task.queue_name].discard(task.task_id)

    def take(self, queue_name: str, count: int, now: int) -> list[TaskRecord]:
        """At most `count` of the tasks that are due, off the queue; none that another poll was woken for.

        `count` below 0 takes all, as the released server does on SQLite.
        """
        queue = self._queues.get(queue_name)
        if queue is None:
            return []
        queue.ripen(now)
        free = queue.ready_count - queue.turns
        tasks = []
        for _ in range(free if count < 0 else min(count, free)):
            task = queue.pop()
            assert task is not None, "one that is counted as ready is there"
            task.queued = False
            tasks.append(task)
        return tasks

    def hold(self, queue_name: str, count: int) -> None:
        """`count` tasks taken from this queue wait until their poll has its fill; negative: they do no longer."""
        (self._queues.get(queue_name) or self._open(queue_name)).held += count

    # -- what there is --

    def size(self, queue_name: str) -> int:
        """How many tasks are in a queue, the delayed and the held ones included; 0 for one that nobody knows."""
        queue = self._queues.get(queue_name)
        return 0 if queue is None else len(queue.entries) + queue.held

    def held(self, queue_name: str) -> int:
        """How many tasks are off a queue and not handed out yet (the released server calls them unacked)."""
        queue = self._queues.get(queue_name)
        return 0 if queue is None else queue.held

    def sizes(self) -> dict[str, int]:
        """How many tasks are in each queue that one was ever offered to, without the held ones."""
        return {name: self.size(name) - self.held(name) for name in self._names}

    # -- polls --

    def enter(self, queue_name: str, poll: WaitingPoll) -> None:
        """Let a poll wait for its turn: after those that wait already, or before them if it has waited before."""
        queue = self._queues.get(queue_name) or self._open(queue_name)
        if self.closed.is_set():
            poll.turn.set()
            return
        poll.turn.clear()
        queue.polls[poll] = None
        if poll.waited:
            queue.polls.move_to_end(poll, last=False)
        self._to_wake.add(queue_name)

    def leave(self, queue_name: str, poll: WaitingPoll) -> None:
        """A poll waits no longer: it has its turn, or its time is over. Fine if it does not wait here."""
        queue = self._queues.get(queue_name)
        if queue is None:
            return
        if poll.called:
            poll.called = False
            queue.turns -= 1
        elif poll in queue.polls:
            del queue.polls[poll]
        else:
            return
        # What it does not take is for the next one.
        self._to_wake.add(queue_name)

    def wake(self, now: int) -> None:
        """Give their turns to waiting polls, one for each task that is due and not spoken for."""
        while self._to_wake:
            self._wake_at(self._to_wake.pop(), now)

    def deliver(self, queue_name: str, now: int) -> None:
        """A delayed task of this queue is due: as `wake`."""
        self._to_wake.add(queue_name)
        self.wake(now)

    def close(self) -> None:
        """Let no poll wait any longer, now and from now on."""
        self.closed.set()
        for queue in self._queues.values():
            for poll in queue.polls:
                poll.turn.set()

    # -- inside --

    def _wake_at(self, queue_name: str, now: int) -> None:
        queue = self._queues.get(queue_name)
        next_delivery = None
        if queue is not None and queue.polls:
            queue.ripen(now)
            while queue.polls and queue.ready_count > queue.turns:
                poll, _ = queue.polls.popitem(last=False)
                queue.turns += 1
                poll.called = True
                poll.turn.set()
            next_delivery = queue.next_delivery() if queue.polls else None
        if next_delivery is None:
            self.deliveries.clear(queue_name)
        else:
            self.deliveries.set(queue_name, next_delivery)

    def _open(self, name: str) -> _Queue:
        if len(self._queues) >= self._enough:
            self._queues = {name: queue for name, queue in self._queues.items() if not queue.idle}
            self._enough = max(self._FEW, 2 * len(self._queues))
        queue = self._queues[name] = _Queue()
        return queue

    def _learn(self, name: str) -> None:
        if len(self._names) >= self._NAMES:
            self._names = {name: None for name, queue in self._queues.items() if queue.entries}
        self._names[name] = None
