"""One row in the making: a server, workers, work, a fault that fires, and what has become of it all."""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import NotFoundError, ServerError
from faults.ledger import Ledger
from faults.load import Feeder, Work
from faults.monitor import TOO_LONG, Monitor
from faults.processes import WorkerProcess
from faults.proxy import Plan, Proxy
from faults.worker_main import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from faults.processes import Server

CHECKERS: Final = 4
NEVER_SCHEDULED: Final = "Error scheduling tasks"
"""How the reason of a workflow begins that the server has failed instead of putting its first task on a queue."""

FEW_WITHOUT: Final = 3
SHARE_WITHOUT: Final = 0.02
"""How many such workflows a row may leave out of its count, these few or this part: with more it has not been run."""


@dataclass(frozen=True)
class Scale:
    """How large a row is."""

    tasks: int = 1500
    outage: float = 60.0
    """Seconds for which a server is down."""
    blackhole: float = 30.0
    pause: float = 15.0
    """Seconds for which a process is stopped."""
    seconds: float = 0.02
    """How long a task takes."""
    poll_wait_ms: int = 5000
    update_timeout: float = 5.0
    """Seconds after which the worker counts an update without an answer as in doubt."""
    window: int = 300
    """How many workflows are started ahead of the workers."""
    leased: int = 2000
    """Tasks that outlast their response timeout."""
    patience: float = 45.0
    """Seconds without any progress after which what is open is lost."""

    @classmethod
    def of(cls, tasks: int) -> Scale:
        """The same, with so many tasks."""
        whole = cls()
        return replace(whole, tasks=tasks, leased=min(whole.leased, 2 * tasks))


SMALL: Final = Scale(
    tasks=240,
    outage=2.5,
    blackhole=2.5,
    pause=2.5,
    poll_wait_ms=500,
    update_timeout=1.0,
    window=60,
    leased=40,
    patience=25.0,
)


@dataclass
class Outcome:
    """A row of the table."""

    tasks: int = 0
    fired: int = 0
    fault: str = ""
    """What it is that fired so often."""
    lost: int = 0
    """Finished by a worker, and the server does not have it in the end."""
    stranded: int = 0
    """Idle on the server for longer than the row allows, ten seconds mostly; or still open in the end."""
    twice: int = 0
    needlessly: int = 0
    """Of those, how many although an earlier execution had been finished and recorded."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Why the row has failed, besides what the columns say."""


@dataclass(frozen=True)
class Closed:
    """How a workflow has ended."""

    status: str
    output: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


class Scene:
    """What a row works with. Context manager; at its end every process and proxy it started is gone."""

    def __init__(
        self,
        server: Server,
        folder: Path,
        scale: Scale,
        *,
        types: int = 1,
        definition: Mapping[str, object] | None = None,
        idle: float = TOO_LONG,
    ) -> None:
        """`idle` is for how many seconds a task may wait for nothing."""
        self.server = server
        self.folder = folder
        self.scale = scale
        self.outcome = Outcome()
        self.ledger = Ledger(folder / "ledger")
        self.unfinished: set[tuple[str, int]] = set()
        """Task id and poll count of what a killed worker had not got on record as done: it has to run again."""
        name = f"fault_{uuid.uuid4().hex[:10]}"
        self.work = Work(server, [f"{name}_{number}" for number in range(types)], definition or {})
        self.monitor = Monitor(self.work, self.ledger, self._alive, idle)
        self._workers: list[WorkerProcess] = []
        self._feeders: list[Feeder] = []
        self._extra: list[str] = []
        self._seen: dict[str, int] = {}
        self._to_fail: dict[str, str] = {}
        self._resources = contextlib.ExitStack()
        self._began = time.monotonic()

    def __enter__(self) -> Scene:
        self._resources.callback(self.work.close)
        self._resources.enter_context(self.monitor)
        return self

    def __exit__(self, *_: object) -> None:
        for feeder in self._feeders:
            feeder.give_up()
        for worker in self._workers:
            if worker.running:
                worker.kill()
        self._resources.close()

    # -- what a row does --

    def proxies(self, plan: Plan | None = None) -> Network:
        """A way to the server that can be broken: gRPC, and REST where there is REST."""
        grpc = self._resources.enter_context(Proxy(self.server.target, plan))
        rest = None
        if self.server.base_url:
            address = self.server.base_url.removeprefix("http://").partition("/")[0]
            rest = self._resources.enter_context(Proxy(address, http2=False))
        return Network(grpc, rest)

    def worker(self, network: Network | None = None, *, within: Sequence[str] = (), **settings: Any) -> WorkerProcess:
        """A worker process, with a journal that the next one of this scene takes over. `within`: see `Child`."""
        number = len(self._workers)
        given: dict[str, Any] = {
            "target": network.grpc.target if network else self.server.target,
            "base_url": network.base_url if network else (self.server.base_url or ""),
            "task_types": self.work.task_types,
            "ledger": str(self.ledger.path),
            "report": str(self.folder / f"report-{number}.json"),
            "journal": str(self.folder / "journal"),
            "seconds": self.scale.seconds,
            "poll_wait_ms": self.scale.poll_wait_ms,
        }
        log = self.folder / f"worker-{number}.log"
        worker = WorkerProcess(WorkerSettings(**{**given, **settings}), log, within)
        self._workers.append(worker)
        return worker

    def feed(self, tasks: int | None = None, window: int | None = None, **inputs: object) -> Feeder:
        """Start workflows from now on, in the background."""
        total, window = tasks or self.scale.tasks, window or self.scale.window
        feeder = Feeder(self.work, total, window, self.done, {"text": "some", **inputs})
        self._feeders.append(feeder)
        return feeder

    def expect(self, workflow_ids: Sequence[str], seen: int | None = None) -> None:
        """These were started otherwise, and count as well; the worker has to see so many bytes of input."""
        self._extra += workflow_ids
        if seen is not None:
            self._seen |= dict.fromkeys(workflow_ids, seen)

    def expect_failed(self, workflow_ids: Sequence[str], reason: str) -> None:
        """These have to fail, and to say why."""
        self._extra += workflow_ids
        self._to_fail |= dict.fromkeys(workflow_ids, reason)

    @property
    def in_the_middle(self) -> bool:
        """Whether there is work left."""
        return self.done() < self.scale.tasks

    def done(self) -> int:
        """How many executions have finished."""
        return self.begun() - len(self.ledger.running)

    def begun(self) -> int:
        self.ledger.update()
        return len(self.ledger.executions)

    def when_done(self, count: int, seconds: float = 600.0) -> None:
        """Wait until so many executions have finished: the middle of the load."""
        self.until(lambda: self.done() >= count, f"{count} tasks done", seconds)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Look until it holds; the row fails if it does not."""
        end = time.monotonic() + seconds
        while not condition():
            if any(worker.failed for worker in self._workers):
                raise RuntimeError(
                    f"a worker died: {[worker.log[-1000:] for worker in self._workers if worker.failed]}"
                )
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.02)

    @contextlib.contextmanager
    def lasting(self, what: str) -> Iterator[None]:
        """While a fault lasts."""
        began = time.monotonic()
        with self.monitor.excused():
            yield
        self.outcome.notes.append(f"{what} for {time.monotonic() - began:.0f} s")

    def dropped(self, log: str) -> int:
        """What a worker says it has handed back though it ran: to be run again, whatever the ledger says. How many."""
        self.ledger.update()
        tasks = set(re.findall(r"task (\S+) \(\S+\) did not end in time and is handed back", log))
        runs = self.ledger.executions.values()
        self.unfinished |= {(run.task_id, run.poll_count) for run in runs if run.task_id in tasks}
        return len(tasks)

    def fired(self, times: int, what: str) -> None:
        """The probe: what was seen to happen, and how often."""
        self.outcome.fired += times
        self.outcome.fault = what

    # -- what became of it --

    def settle(self) -> Outcome:
        """Wait until everything has ended, or nothing moves any more, and judge."""
        outcome = self.outcome
        closed = self._wait_for_all()
        for worker in self._workers:
            if worker.running:
                report = worker.end()
                if not report:
                    outcome.wrong.append(f"{worker.log_path.name}: it did not end")
                elif report["unsent"] or report["refused"]:
                    outcome.wrong.append(f"a worker ended with {report}")
        self.ledger.update()
        self._judge(closed)
        outcome.seconds = time.monotonic() - self._began
        for worker in self._workers:
            for line in worker.log.splitlines():
                if "Traceback" in line or " CRITICAL " in line:
                    outcome.wrong.append(f"{worker.log_path.name}: {line}")
        return outcome

    def _alive(self) -> set[int]:
        return {worker.pid for worker in self._workers if worker.running}

    def _wanted(self) -> list[str]:
        return [*self._extra, *(started for feeder in self._feeders for started in list(feeder.started))]

    def _wait_for_all(self) -> dict[str, Closed]:
        """Status and output of every workflow that has ended."""
        closed: dict[str, Closed] = {}
        moved, before = time.monotonic(), -1
        with ThreadPoolExecutor(CHECKERS) as pool:
            while time.monotonic() - moved < self.scale.patience:
                self.ledger.update()
                idle = time.monotonic() - moved
                wanted = [each for each in self._wanted() if each not in closed]
                if not wanted and all(feeder.finished for feeder in self._feeders):
                    break
                # Those whose task is not done cannot have ended, unless something is wrong: look at all only then.
                likely = wanted if idle > 3 else [each for each in wanted if self.finished(each)]
                found = zip(likely, pool.map(self._closed, likely), strict=True)
                closed |= {workflow_id: end for workflow_id, end in found if end is not None}
                if (now := len(closed) + self.done()) != before:
                    moved, before = time.monotonic(), now
                time.sleep(0.2)
        return closed

    def finished(self, workflow_id: str) -> bool:
        """Whether an execution of it has finished, as far as the ledger was read."""
        return any(run.finished is not None for run in self.ledger.by_workflow.get(workflow_id, ()))

    def _closed(self, workflow_id: str) -> Closed | None:
        try:
            workflow = self.work.workflows.get(workflow_id, include_tasks=False)
        except NotFoundError:
            return Closed("GONE")
        except ServerError:
            return None
        if not workflow.status.is_terminal:
            return None
        return Closed(workflow.status.value, dict(workflow.output), workflow.reason_for_incompletion)

    def _judge(self, closed: Mapping[str, Closed]) -> None:
        outcome, wanted = self.outcome, self._with_tasks(closed)
        outcome.tasks = len(wanted)
        odd: list[str] = []
        undecided = 0
        for workflow_id in wanted:
            runs = self.ledger.by_workflow.get(workflow_id, [])
            done = {run.token for run in runs if run.finished is not None}
            end = closed.get(workflow_id, Closed("open"))
            if end.status == "open" and done and self._has_result(workflow_id, done):
                undecided += 1
            elif not self._as_it_should(workflow_id, end, done):
                outcome.lost += bool(done)
                outcome.stranded += not done
                odd.append(f"{workflow_id} {end} after {[run.token for run in runs]}")
            if len(runs) > 1:
                outcome.twice += 1
                outcome.needlessly += any(self._was_done(run) for run in runs[:-1])
        outcome.stranded += len(self.monitor.longest)
        if undecided:
            outcome.notes.append(f"{undecided} results on the server, which has not closed their workflows yet")
        if odd:
            outcome.notes.append(f"for one: workflow {odd[0]}")
        if self.monitor.longest:
            worst = max(self.monitor.longest.items(), key=lambda item: item[1])
            outcome.notes.append(f"idle longest: task {worst[0]}, {worst[1]:.0f} s")
        if not self.monitor.looks:
            outcome.wrong.append("the monitor never saw the server's tasks")

    def _with_tasks(self, closed: Mapping[str, Closed]) -> list[str]:
        """Those that count: the server itself fails a workflow whose first task it cannot get into its database (with
        SQLite, when that is locked for too long under load). No worker was ever given anything of it."""
        wanted = self._wanted()
        without = {
            workflow_id
            for workflow_id in wanted
            if closed.get(workflow_id, Closed("open")).reason.startswith(NEVER_SCHEDULED)
            and workflow_id not in self.ledger.by_workflow
        }
        if without:
            self.outcome.notes.append(f"{len(without)} workflows failed on the server before they had a task")
        if len(without) > max(FEW_WITHOUT, len(wanted) * SHARE_WITHOUT):
            self.outcome.wrong.append(f"{len(without)} of {len(wanted)} workflows had no task, too many to leave out")
        return [workflow_id for workflow_id in wanted if workflow_id not in without]

    def _as_it_should(self, workflow_id: str, end: Closed, done: set[str]) -> bool:
        if workflow_id in self._to_fail:
            return end.status == "FAILED" and self._to_fail[workflow_id] in end.reason
        if workflow_id in self._seen and end.output.get("seen") != self._seen[workflow_id]:
            return False
        return end.status == "COMPLETED" and end.output.get("by") in done

    def _has_result(self, workflow_id: str, done: set[str]) -> bool:
        """Whether the server has the task's result. It may yet take minutes to close the workflow, if it could not at
        that moment, as when it was killed or its database was locked: nothing that a worker could lose."""
        with contextlib.suppress(ServerError):
            tasks = self.work.workflows.get(workflow_id, include_tasks=True).tasks
            return any(task.status.value == "COMPLETED" and task.output_data.get("by") in done for task in tasks)
        return False

    def _was_done(self, run: Any) -> bool:
        return run.finished is not None and (run.task_id, run.poll_count) not in self.unfinished


@dataclass
class Network:
    """The proxies before one server."""

    grpc: Proxy
    rest: Proxy | None

    @property
    def base_url(self) -> str:
        return f"http://{self.rest.target}/api" if self.rest else ""

    def all(self) -> list[Proxy]:
        return [self.grpc, *([self.rest] if self.rest else [])]
