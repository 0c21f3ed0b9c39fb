"""One life of a worker process: the real poller, assembled as ever, on the simulation's loop instead of threads."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from conductor_grpc.configuration import Configuration
from conductor_grpc.poller.custody import ANY
from conductor_grpc.poller.journal import Journal, records
from conductor_grpc.poller.journal.records import Damage
from conductor_grpc.poller.slots import Executors, Slots
from conductor_grpc.poller.task_poller import TaskPoller
from conductor_grpc.worker.interface import WorkerInterface
from conductor_grpc.worker.status import TaskResultStatus
from simulation.clock import Condition, Halted, Signal, WouldBlock
from simulation.network import AioNetwork, Network
from simulation.server import TASK_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.intake import Intake
    from conductor_grpc.poller.lease import LeaseKeeper
    from conductor_grpc.poller.recovery import Recovery
    from conductor_grpc.poller.slots import Run, Runner, SlotsHooks
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task
    from simulation.server import Record
    from simulation.world import World


class Process:
    """Lives until it is killed or told to stop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False
        self.begun: dict[int, str] = {}
        """Ids of tasks whose worker was called and whose outcome is in no journal yet, by the id of their object."""
        self._stopping: float | None = None
        self._loop = world.loop
        network = Network(world, self)
        with world.assembling(
            open_channel=lambda _: network,
            open_rest_client=lambda configuration: None if configuration.base_url is None else network,
            Journal=MemoryJournal(self),
            Executors=functools.partial(SimulatedExecutors, self),
        ):
            schedule = world.schedule
            self.poller = TaskPoller(
                [Worker(world, schedule.concurrency)],
                _configuration(schedule.poll_wait_ms, schedule.outbox_limit, schedule.rest, schedule.journal),
            )
            self.poller._parts.assemble()
        self.lane = self.poller._parts.lanes[0]
        self.custody, self.outbox = self.poller._parts.custody, self.poller._parts.outbox
        self._make_virtual(self.lane.intake, self.poller._parts.leases)

    def _make_virtual(self, intake: Intake, leases: LeaseKeeper) -> None:
        """Waits that would block a thread let the loop run, or are made by it."""
        poller, outbox = self.poller, self.outbox
        for part in (outbox, leases, intake, poller._parts.recovery, poller._parts.journal):
            if part is not None:
                part._on_death = self._died
        intake._state = cast("Any", Condition(self._loop))
        outbox._room._fewer = cast("Any", Condition(self._loop))
        self._due = Signal(self._loop)
        leases._changed = cast("Any", self._due)
        self._recovery_ended = Signal(self._loop)
        if poller._parts.recovery is not None:
            poller._parts.recovery._ended = cast("Any", self._recovery_ended)

    def live(self) -> None:
        """What TaskPoller.start() does, and the intake's thread; returns after a stop, raises Halted when killed."""
        poller = self.poller
        with self.world.assembling(open_aio_channel=lambda _: AioNetwork(self.world, self)):
            sending = self._spawn(self.outbox._send_until_stopped())
            self.outbox._thread = cast("Any", Thread(self._loop, sending))
            self._spawn(self._keep_leases(poller._parts.leases))
            if poller._parts.journal is not None and poller._parts.recovery is not None:
                self._spawn(self._flush(poller._parts.journal))
                poller._parts.recovery.send_outcomes()
                self._spawn(self._recover(poller._parts.recovery))
                intake = self.lane.intake
                poller._parts.journal.worker(intake.worker_id, intake.task_type, self.lane.domain)
            poller._started = True
            self.lane.intake._run()
        if self._stopping is not None:
            poller.stop(self._stopping)
            self.dead = True

    def stop(self, timeout: float) -> None:
        """SIGTERM."""
        self._stopping = timeout
        self.lane.intake.stop()
        self.lane.slots.close()

    def kill(self) -> None:
        """SIGKILL: nothing of it happens any more."""
        self.dead = True
        for task_id in self.begun.values():
            self.world.server.tasks[task_id].workflow.allowed += 1
        self._loop.wake()

    def check(self) -> None:
        if self.dead or self.world.over:
            raise Halted

    def holds(self, task_id: str, poll_count: int) -> bool:
        held = self.custody._held
        return not self.dead and ((task_id, poll_count) in held or (task_id, ANY) in held)

    def has_forgotten(self, record: Record) -> bool:
        """Whether it was told that the server has its update of a task of its own, and lets the task time out.

        Tasks of earlier lives may: what is undone of those recovery sees with its second look, seconds later.
        """
        return (
            not self.dead
            and record.acknowledged is self
            and record.worker_id == self.lane.intake.worker_id
            and not self.holds(record.task_id, record.poll_count)
        )

    @property
    def idle(self) -> bool:
        slots = self.lane.slots
        return not (slots.running or slots._waiting or len(self.outbox) or len(self.custody))

    def write(self, record: bytes) -> None:
        """To the journal's file."""
        self.check()
        fault = self.world.write_fault()
        if fault is None:
            self.world.disk += record
            return
        self.world.disk += {"before": b"", "torn": record[: len(record) // 2], "after": record}[fault.how]
        if fault.how == "after":
            self._outcome_written()
        self.world.kill(fault)
        raise Halted

    def journaling(self, task: Task, write: Callable[[], None]) -> None:
        self._outcome_written = lambda: self.begun.pop(id(task), None)
        try:
            write()
        finally:
            self._outcome_written = lambda: None
        self.begun.pop(id(task), None)

    _outcome_written: Callable[[], object] = staticmethod(lambda: None)

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(self._guarded(coroutine))
        return task

    async def _guarded(self, coroutine: Any) -> None:
        try:
            await coroutine
        except Halted:
            pass
        except Exception as error:  # noqa: BLE001 - told as a violation
            self._died("a part", error)

    def _died(self, part: str, error: BaseException) -> None:
        if not self.dead and not isinstance(error, Halted):
            self.world.violation(f"{part} died: {error!r}")

    async def _keep_leases(self, keeper: LeaseKeeper) -> None:
        while not self.dead:
            try:
                keeper._run()
                break
            except WouldBlock as wait:
                await self._due.pause(wait.timeout)

    async def _flush(self, journal: Journal) -> None:
        while not self.dead:
            await asyncio.sleep(1.0)
            if not self.dead:
                journal.flush()

    async def _recover(self, recovery: Recovery) -> None:
        """Recovery._run step by step, since its waits are within."""
        recovery._set_out()
        while recovery._errands and not recovery.stopping and not self.dead:
            await self._recovery_ended.pause(recovery._go_round())


class Thread:
    """What a part that runs on the loop has instead."""

    def __init__(self, loop: Any, task: asyncio.Task[None]) -> None:
        self._loop = loop
        self._task = task
        task.add_done_callback(lambda _: loop.wake())

    def is_alive(self) -> bool:
        return not self._task.done()

    def join(self, timeout: float | None = None) -> None:
        self._loop.block(self._task.done, timeout)


class Worker(WorkerInterface):
    """Raises, puts off and completes as the job says."""

    def __init__(self, world: World, concurrency: int) -> None:
        super().__init__(TASK_TYPE, concurrency=concurrency)
        self._world = world

    def execute(self, task: Task) -> TaskResult:
        workflow = self._world.server.workflows[int(task.workflow_instance_id)]
        job, result = workflow.job, self.get_task_result_from_task(task)
        if workflow.executions <= job.fails:
            raise RuntimeError("as the job says")
        if workflow.executions <= job.fails + job.callbacks:
            result.status = TaskResultStatus.IN_PROGRESS
            result.callback_after_seconds = 1
            return result
        result.status = TaskResultStatus.COMPLETED
        result.output_data = {"double": 2 * cast("int", task.input_data["n"])}
        return result


class SimulatedExecutors(Executors):
    def __init__(self, process: Process, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._process = process

    def threads(self, worker: WorkerInterface, run: Runner) -> Slots:
        return SimulatedSlots(self._process, worker, run, self._hooks, self._leases)


class SimulatedSlots(Slots):
    """Stand for the threads: a task runs for as long as its job says."""

    def __init__(
        self, process: Process, worker: WorkerInterface, run: Runner, hooks: SlotsHooks, leases: LeaseKeeper
    ) -> None:
        super().__init__(worker, hooks, leases)
        self._process, self._world, self._run = process, process.world, run

    def reserve(self, most: int, timeout: float | None = None, *, scout: bool = False) -> int:
        self._world.loop.block(lambda: self.free > 0 or self._closed, timeout)
        with self._lock:
            return self._take_permits(most, scout=scout)

    def submit(self, task: Task, *, late: bool = False) -> None:
        self._process.check()
        super().submit(task, late=late)

    def wait_idle(self, timeout: float) -> bool:
        return self._world.loop.block(lambda: not self._running, timeout)

    def abandon(self) -> list[Run]:
        abandoned = super().abandon()
        for run in abandoned:
            self._world.server.tasks[run.held.task_id].workflow.allowed += 1
        return abandoned

    def runs_on_this_thread(self) -> bool:
        return False

    def join(self, timeout: float) -> bool:
        del timeout
        return True

    def _wake_all(self) -> None:
        self._world.loop.wake()

    def _begin(self) -> None:
        while self._startable() > 0 and not self._closed:
            self._process._spawn(self._work(self._take()))

    async def _work(self, run: Run) -> None:
        if self._process.dead:
            return
        workflow = self._world.server.tasks[run.held.task_id].workflow
        workflow.executions += 1
        self._world.executed(workflow)
        self._process.begun[id(run.held)] = run.held.task_id
        await asyncio.sleep(workflow.job.duration)
        if self._process.dead:
            return
        self._finish(run, self._run(run))
        self._begin()
        self._world.loop.wake()


class MemoryJournal(Journal):
    """The real journal on a disk that outlives the process."""

    def __init__(self, process: Process) -> None:
        super().__init__(Path("memory"), process._died)
        self._process = process

    def open(self, folder: Path, on_death: object) -> Journal:  # type: ignore[override]
        del folder, on_death
        disk = self._process.world.disk
        for record in records.decode(bytes(disk)):
            if not isinstance(record, Damage):
                self._apply(*record)
        disk[:] = records.FILE_HEADER + b"".join(self._state.records())
        self._descriptor = 0
        self._recovered = self._state.recovered()
        return self

    def finished(self, task: Task, wire: bytes) -> None:
        self._process.journaling(task, functools.partial(super().finished, task, wire))

    def flush(self) -> None:
        with self._lock:
            record = self._take_settled()
        self._append(record)

    def close(self) -> None:
        self.flush()
        self._descriptor = -1

    def _write(self, record: bytes) -> None:
        self._process.write(record)


@functools.cache
def _configuration(poll_wait_ms: int, outbox_limit: int, rest: bool, journal: bool) -> Configuration:
    return Configuration(
        target="127.0.0.1:1",
        base_url="http://127.0.0.1:1/api" if rest else None,
        poll_wait_ms=poll_wait_ms,
        outbox_limit=outbox_limit,
        drain_timeout=30.0,
        cancellation_check=None,
        worker_id="simulated",
        journal="memory" if journal else None,
    )
