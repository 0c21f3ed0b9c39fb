"""A server that does what the released one does wrong."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.pb.model.task_pb2 import Task as TaskMessage
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.worker.status import TASK_STATUSES, TaskStatus

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from simulation.clock import VirtualLoop
    from simulation.schedule import Job, Schedule

TASK_TYPE: Final = "simulated"

_ENDS: Final = {
    TaskResult.COMPLETED: TaskStatus.COMPLETED,
    TaskResult.FAILED: TaskStatus.FAILED,
    TaskResult.FAILED_WITH_TERMINAL_ERROR: TaskStatus.FAILED_WITH_TERMINAL_ERROR,
}


@dataclass
class Workflow:
    number: int
    job: Job
    attempts: int = 0
    output: float | None = None
    """What its task returned."""
    status: str = "RUNNING"
    executions: int = 0
    allowed: int = 0
    """How many executions more than the job needs the faults account for."""


@dataclass
class Record:
    """A task."""

    task_id: str
    workflow: Workflow
    status: TaskStatus = TaskStatus.SCHEDULED
    worker_id: str = ""
    poll_count: int = 0
    changed: float = 0.0
    output: dict[str, float] = field(default_factory=dict)
    decided: bool = False
    carrier: object = None
    """The process that an answer with this task is on its way to."""
    stalled: list[asyncio.Future[None]] = field(default_factory=list)
    """Extensions that have read it and not written it yet."""
    acknowledged: object = None
    """The process that was told that its update of this turn has been applied."""
    forsaken: float | None = None
    """Since when it is IN_PROGRESS and nobody here has it."""

    @property
    def open(self) -> bool:
        return not self.status.is_terminal and self.workflow.status == "RUNNING"

    @property
    def turn(self) -> tuple[TaskStatus, str, int]:
        return self.status, self.worker_id, self.poll_count


class Server:
    """Tasks leave the queue before they are sent; an extension is a read, a while, and a write."""

    def __init__(self, loop: VirtualLoop, schedule: Schedule, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance
        self._fills = schedule.fills
        self.timeout = schedule.response_timeout
        self.workflows: list[Workflow] = []
        self.tasks: dict[str, Record] = {}
        self._queue: deque[str] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self.on_timeout: Callable[[Record], None] = lambda _: None
        for number, job in enumerate(schedule.jobs):
            workflow = Workflow(number, job)
            self.workflows.append(workflow)
            loop.call_later(job.start, self._new_attempt, workflow)

    async def poll(self, worker_id: str, count: int, wait_ms: int, carrier: object) -> list[Record]:
        until = self._loop.time() + (0.1 if wait_ms == 0 else max(0.0, wait_ms / 1000))
        taken: list[Record] = []
        while True:
            while self._queue and len(taken) < count:
                record = self.tasks[self._queue.popleft()]
                if record.open:
                    self._hand_out(record, worker_id, carrier)
                    taken.append(record)
                    await asyncio.sleep(self._chance.uniform(0.0, 0.003))
            if len(taken) >= count or self._loop.time() >= until or (taken and not self._fills):
                return taken
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            timer = self._loop.call_at(until, _resolve, waiter)
            await waiter
            timer.cancel()

    async def update(self, result: TaskResult, stall: float = 0.0) -> None:
        """UpdateTask. An extension that stalls is written together with the next update of its task, at the latest
        so many seconds after it was read. Raises KeyError for an unknown task."""
        record = self.tasks[result.task_id]
        if not record.open:
            return
        if not result.extend_lease:
            self._loop.call_soon(self._go_on, record)
        if result.extend_lease:
            await self._extend(record, stall)
        elif result.status == TaskResult.IN_PROGRESS:
            record.status = TaskStatus.SCHEDULED
            record.changed = self._loop.time()
            self._loop.call_later(result.callback_after_seconds, self._enqueue, record.task_id)
        else:
            record.status = _ENDS[result.status]
            record.worker_id = result.worker_id
            record.output = {key: value.number_value for key, value in result.output_data.items()}
            await asyncio.sleep(self._chance.uniform(0.0, 0.005))
            self._decide(record)

    def in_progress(self) -> list[Record]:
        return [record for record in self.tasks.values() if record.status is TaskStatus.IN_PROGRESS and record.open]

    async def _extend(self, record: Record, stall: float) -> None:
        was, output = record.turn, record.output
        if stall:
            stalled = self._loop.create_future()
            record.stalled.append(stalled)
            self._loop.call_later(stall, _resolve, stalled)
            await stalled
            await asyncio.sleep(self._chance.uniform(0.0, 0.005))
        else:
            await asyncio.sleep(self._chance.choice((0.0, 0.002, self._chance.uniform(0.0, 0.3))))
        if record.turn != was:
            # Written over what has happened since. That may put it where it is run again, which is the server's fault.
            record.workflow.allowed += 1
        record.status, record.worker_id, record.poll_count = was
        record.output = output
        self._touch(record)

    def _go_on(self, record: Record) -> None:
        for stalled in record.stalled:
            _resolve(stalled)
        record.stalled.clear()

    def _hand_out(self, record: Record, worker_id: str, carrier: object) -> None:
        record.status = TaskStatus.IN_PROGRESS
        record.worker_id = worker_id
        record.poll_count += 1
        record.carrier = carrier
        record.acknowledged = None
        record.forsaken = None
        self._touch(record)

    def _touch(self, record: Record) -> None:
        record.changed = self._loop.time()
        self._loop.call_later(self.timeout + 0.1, self._time_out, record, record.changed)

    def _time_out(self, record: Record, changed: float) -> None:
        if record.open and record.status is TaskStatus.IN_PROGRESS and record.changed == changed:
            self.on_timeout(record)
            record.status = TaskStatus.TIMED_OUT
            self._decide(record)

    def _decide(self, record: Record) -> None:
        workflow = record.workflow
        if not record.status.is_terminal or record.decided or workflow.status != "RUNNING":
            return
        record.decided = True
        if record.status is TaskStatus.COMPLETED:
            workflow.output = record.output.get("double")
            workflow.status = "COMPLETED"
        elif record.status is TaskStatus.FAILED_WITH_TERMINAL_ERROR:
            workflow.status = "FAILED"
        else:
            self._new_attempt(workflow)

    def _new_attempt(self, workflow: Workflow) -> None:
        task_id = f"{workflow.number}.{workflow.attempts}"
        workflow.attempts += 1
        self.tasks[task_id] = Record(task_id, workflow)
        self._enqueue(task_id)

    def _enqueue(self, task_id: str) -> None:
        if task_id not in self._queue:
            self._queue.append(task_id)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            _resolve(waiter)

    @property
    def queued(self) -> int:
        return len(self._queue)

    def message(self, record: Record) -> bytes:
        """The task as gRPC carries it."""
        message = TaskMessage(
            task_type=TASK_TYPE,
            task_def_name=TASK_TYPE,
            status=TASK_STATUSES.index(record.status),  # type: ignore[arg-type]
            task_id=record.task_id,
            workflow_instance_id=str(record.workflow.number),
            worker_id=record.worker_id,
            poll_count=record.poll_count,
            response_timeout_seconds=self.timeout,
        )
        message.input_data["n"].number_value = record.workflow.number
        for key, value in record.output.items():
            message.output_data[key].number_value = value
        return message.SerializeToString()

    def document(self, record: Record) -> dict[str, Any]:
        """The task as REST carries it."""
        return {
            "taskType": TASK_TYPE,
            "taskDefName": TASK_TYPE,
            "status": record.status.value,
            "taskId": record.task_id,
            "workflowInstanceId": str(record.workflow.number),
            "workerId": record.worker_id,
            "pollCount": record.poll_count,
            "responseTimeoutSeconds": self.timeout,
            "inputData": {"n": record.workflow.number},
            "outputData": dict(record.output),
        }

    def pending(self) -> list[dict[str, Any]]:
        return [self.document(record) for record in self.tasks.values() if record.open]

    def search(self, query: str, epoch_ms: Callable[[float], float]) -> list[Record]:
        """What is in progress and was updated after the time in the query; without one, all tasks."""
        match = re.search(r"updateTime>(\d+)", query)
        if match is None:
            return list(self.tasks.values())
        return [record for record in self.in_progress() if epoch_ms(record.changed) > int(match[1])]


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
