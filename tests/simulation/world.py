"""One schedule from its first task to the verdict."""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.poller import reclaim_rest
from conductor_grpc.transport.server_version import LeaseSupport
from simulation.clock import Halted, Time, VirtualLoop
from simulation.process import Process
from simulation.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.schedule import Fault, Schedule
    from simulation.server import Record, Workflow

STRANDED: Final = 60.0
"""Seconds for which a task may be IN_PROGRESS with nobody, while there is a process. A poll that hangs is given up
after 35, and only then can one look for what it has taken."""

HORIZON: Final = 900.0
"""Seconds after which every workflow must be over: a dozen outages and response timeouts."""

QUIET: Final = 120.0
"""Seconds that the poller gets to be rid of everything once all workflows are over."""

LINGER: Final = 10.0
"""Seconds more, for what comes late."""

_POLLER: Final = "conductor_grpc.poller."
_TIMED: Final = [
    importlib.import_module(_POLLER + name)
    for name in (
        "drain",
        "intake",
        "journal.journal",
        "lease",
        "outbox",
        "rarely",
        "reclaim_rest",
        "recovery",
        "server_clock",
    )
]
_ASSEMBLER: Final = importlib.import_module(_POLLER + "parts")
_OUTBOX: Final = importlib.import_module(_POLLER + "outbox")


class World:
    """Everything there is in one run."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._chance = random.Random(schedule.seed)
        self.loop = VirtualLoop(self.latency)
        self.loop.set_exception_handler(lambda *_: None)
        self.loop.halted = lambda: self.over or (self.process is not None and self.process.dead)
        self.server = Server(self.loop, schedule, self._chance)
        self.server.on_timeout = self._timed_out
        self.disk = bytearray()
        self.down = False
        self.over = False
        self.process: Process | None = None
        self._processes: list[Process] = []
        """All there were: of one that nobody knows any more, the garbage collector would wake the coroutines."""
        self.violations: list[str] = []
        self.fired: list[Fault] = []
        self._calls: Counter[str] = Counter()
        self._call_faults = {(each.target, each.at): each for each in schedule.faults if not each.at % 1}
        self._restart_after = 0.0
        self._began = self.loop.time()

    def run(self) -> list[str]:
        """What went wrong."""
        timed = {"kill": self.kill, "stop": self._stop, "outage": self._outage}
        for fault in self.schedule.faults:
            if fault.target in timed:
                self.loop.call_later(fault.at, timed[fault.target], fault)
        self.loop.create_task(self._watch())
        try:
            while not self.over:
                try:
                    self.process = Process(self)
                    self._processes.append(self.process)
                    self.process.live()
                except Halted:
                    pass
                self.process = None
                if not self.over:
                    self.loop.block(lambda: False, self._restart_after)
        except Halted:
            pass
        finally:
            self._clean_up()
        return self.violations

    def latency(self) -> float:
        return self._chance.uniform(0.0005, 0.02)

    def epoch_ms(self, moment: float) -> float:
        return (1_700_000_000.0 + moment) * 1000

    def fault(self, target: str) -> Fault | None:
        """The one that hits the next call of this sort."""
        number = self._calls[target]
        self._calls[target] += 1
        fault = self._call_faults.get((target, number))
        if fault is not None:
            self.fired.append(fault)
        return fault

    def write_fault(self) -> Fault | None:
        return self.fault("kill at write")

    def violation(self, what: str) -> None:
        if not self.over:
            self.violations.append(f"at {self.loop.time() - self._began:.3f} s: {what}")
            self.over = True
            self.loop.wake()

    def executed(self, workflow: Workflow) -> None:
        job = workflow.job
        if workflow.executions > 1 + job.fails + job.callbacks + workflow.allowed:
            self.violation(f"the task of workflow {workflow.number} runs once more than anything accounts for")

    def kill(self, fault: Fault) -> None:
        if self.process is not None and not self.process.dead:
            if fault.target == "kill":
                self.fired.append(fault)
            self._restart_after = fault.amount
            self.process.kill()

    def _stop(self, fault: Fault) -> None:
        if self.process is not None and not self.process.dead:
            self.fired.append(fault)
            self._restart_after = fault.amount
            self.process.stop(30.0 if fault.how == "patient" else 0.0)

    def _outage(self, fault: Fault) -> None:
        self.fired.append(fault)
        self.down = True
        self.loop.call_later(fault.amount, self._end_outage)

    def _end_outage(self) -> None:
        self.down = False

    def _timed_out(self, record: Record) -> None:
        record.workflow.allowed += 1
        if not self.fired:
            self.violation(f"task {record.task_id} timed out, and no fault accounts for it")
        if self.process is not None and self.process.has_forgotten(record):
            self.violation(f"the update of task {record.task_id} was undone, and nobody looked")

    async def _watch(self) -> None:
        while not self.over:
            await asyncio.sleep(2.0)
            now = self.loop.time()
            self._look_for_stranded(now)
            running = [each for each in self.server.workflows if each.status == "RUNNING"]
            if running and now - self._began > HORIZON:
                self.violation(f"workflow {running[0].number} is not over after {HORIZON:.0f} s")
            if not running:
                await self._end()

    def _look_for_stranded(self, now: float) -> None:
        if self.process is None:
            return
        for record in self.server.in_progress():
            held = self.process.holds(record.task_id, record.poll_count) or (
                record.carrier is self.process and not self.process.dead
            )
            if held:
                record.forsaken = None
            elif record.forsaken is None:
                record.forsaken = now
            elif now - record.forsaken > STRANDED:
                self.violation(f"task {record.task_id} is stranded: {record.worker_id} had it last")

    async def _end(self) -> None:
        for workflow in self.server.workflows:
            if workflow.status != "COMPLETED" or workflow.output != 2 * workflow.number:
                self.violation(f"workflow {workflow.number} is {workflow.status} with {workflow.output}")
        await asyncio.sleep(LINGER)
        until = self.loop.time() + QUIET
        while not self.over and self.loop.time() < until:
            if self.process is not None and self.process.idle:
                self.over = True
            await asyncio.sleep(1.0)
        if not self.over:
            self.violation("all is done, and the poller does not let go of it")
        self.loop.wake()

    @contextmanager
    def assembling(self, **stand_ins: Any) -> Iterator[None]:
        """While the poller makes its parts, it finds these."""
        module: Any = _OUTBOX if "open_aio_channel" in stand_ins else _ASSEMBLER
        originals = {name: getattr(module, name) for name in stand_ins}
        for name, stand_in in stand_ins.items():
            setattr(module, name, stand_in)
        try:
            yield
        finally:
            for name, original in originals.items():
                setattr(module, name, original)

    def _clean_up(self) -> None:
        self.over = True
        if self.process is not None:
            self.process.dead = True
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        self.loop.close()


def run(schedule: Schedule) -> list[str]:
    """What goes wrong in this schedule, the first thing only; empty if nothing does. The same each time."""
    return simulate(schedule).violations


def simulate(schedule: Schedule) -> World:
    """The world after this schedule."""
    logging_was, state = logging.root.manager.disable, random.getstate()
    times, support = [module.time for module in _TIMED], _ASSEMBLER.lease_support
    logging.disable(logging.CRITICAL)
    random.seed(schedule.seed)
    world = World(schedule)
    moment: Any = Time(world.loop)
    for module in _TIMED:
        module.time = moment  # type: ignore[attr-defined]
    _ASSEMBLER.lease_support = lambda *_: LeaseSupport.YES  # type: ignore[attr-defined]
    first = reclaim_rest.FIRST
    reclaim_rest.FIRST = first._replace(tasks=schedule.listed)  # type: ignore[misc]
    try:
        world.run()
    finally:
        for module, original in zip(_TIMED, times, strict=True):
            module.time = original  # type: ignore[attr-defined]
        _ASSEMBLER.lease_support = support  # type: ignore[attr-defined]
        reclaim_rest.FIRST = first  # type: ignore[misc]
        random.setstate(state)
        logging.disable(logging_was)
    return world
