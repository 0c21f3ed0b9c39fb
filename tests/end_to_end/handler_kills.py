"""Four processes under a handler, one killed at an interval, while workflows come in all the time.

    python tests/end_to_end/handler_kills.py [--seconds 60] [--interval 5] [--real-server]

The tasks have no timeout that would help within the time: one that is stranded is one that does not complete.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from handler_stage import Stage, processes, staged
from handler_workers import Recorder
from waiting import end_of, wait_for

from conductor_grpc import TaskHandler, TaskStatus, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = 4
SECONDS_PER_TASK = 0.2
SETTLED_WITHIN = 60.0
"""Seconds after the last kill, or the last workflow, in which everything must be done."""


@dataclass
class Figures:
    workflows: int = 0
    completed: int = 0
    kills: int = 0
    """Processes that were killed, and seen to end by that."""
    held: int = 0
    """Tasks that they were running."""
    restarts: int = 0
    begun: int = 0
    """Runs of tasks."""
    again: int = 0
    """Tasks that were run more than once."""
    stranded: int = 0
    """Tasks that were still in progress in the name of a killed process in the end."""
    slowest: float = 0.0
    """Seconds from the start of a workflow to its end, at most."""
    unsent: int = 0
    names: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.workflows} workflows, {self.completed} completed, {self.stranded} stranded; {self.kills} kills of"
            f" processes that ran {self.held} tasks, {self.restarts} restarts; {self.begun} runs, {self.again} tasks"
            f" run again; the slowest workflow took {self.slowest:.1f} s; {self.unsent} unsent at the end"
        )


class Kills:
    """The scene: use `start_workflow` and `kill` as often as wanted, then `finish`."""

    def __init__(self, stage: Stage, handler: TaskHandler, task_type: str, record: Path) -> None:
        self.figures = Figures()
        self._stage = stage
        self._handler = handler
        self._type = task_type
        self._record = record
        self._ids: list[str] = []
        self._killed: list[int] = []

    def start_workflow(self) -> None:
        self._ids.append(self._stage.start(self._type))

    def lines(self, what: str) -> list[tuple[int, str]]:
        lines = (line.split() for line in self._record.read_text().splitlines())
        return [(int(pid), task_id) for kind, pid, task_id in lines if kind == what]

    def kill(self) -> None:
        """Kill the process that runs most tasks, once there is one, and wait until it is dead."""
        wait_for(lambda: bool(self._busy()))
        pid, held = max(self._busy().items(), key=lambda item: item[1])
        with end_of(pid) as ended:
            os.kill(pid, signal.SIGKILL)
            assert ended.poll(30_000), "the kill was to end the process"
        self._killed.append(pid)
        self.figures.kills += 1
        self.figures.held += held

    def _busy(self) -> dict[int, int]:
        """How many tasks each process runs, if it runs any."""
        # The handler may not have noticed yet that one is dead.
        alive = {each.pid for each in processes(self._handler) if each.state == "running"}.difference(self._killed)
        finished = set(self.lines("finished"))
        return Counter(pid for pid, task_id in self.lines("began") if (pid, task_id) not in finished and pid in alive)

    def finish(self) -> Figures:
        """Wait for the end of all workflows, stop the handler, and count."""
        left = set(self._ids)

        def all_completed() -> bool:
            left.difference_update([each for each in left if self._stage.completed([each])])
            return not left

        with contextlib.suppress(AssertionError):  # the figures tell
            wait_for(all_completed, SETTLED_WITHIN)
        report = self._handler.stop_processes()
        figures = self.figures
        figures.workflows = len(self._ids)
        figures.restarts, figures.unsent = report.restarts, report.drain.unsent
        for workflow_id in self._ids:
            workflow = self._stage.workflows.get(workflow_id)
            (task,) = workflow.tasks
            figures.completed += workflow.status is WorkflowStatus.COMPLETED
            of_killed = any(f"-{pid}-" in task.worker_id for pid in self._killed)
            figures.stranded += task.status is TaskStatus.IN_PROGRESS and of_killed
            if workflow.end_time:
                figures.slowest = max(figures.slowest, (workflow.end_time - task.scheduled_time) / 1000)
        runs = Counter(task_id for _, task_id in self.lines("began"))
        figures.begun, figures.again = sum(runs.values()), sum(number > 1 for number in runs.values())
        return figures


@contextlib.contextmanager
def scene(stage: Stage, folder: Path) -> Iterator[Kills]:
    task_type = f"kills_{secrets.token_hex(4)}"
    record = folder / "record"
    record.touch()
    stage.register(task_type)
    worker = Recorder(task_type, str(record), SECONDS_PER_TASK)
    with stage.handler([worker], processes=PROCESSES) as handler:
        handler.start_processes()
        yield Kills(stage, handler, task_type, record)


def run(stage: Stage, folder: Path, seconds: float, interval: float, rate: float) -> Figures:
    """Start `rate` workflows a second, and kill one process at each interval."""
    with scene(stage, folder) as kills:
        begin = time.monotonic()
        started, next_kill = 0, interval
        while (now := time.monotonic() - begin) < seconds:
            while started < now * rate:
                kills.start_workflow()
                started += 1
            if now >= next_kill:
                kills.kill()
                next_kill += interval
            time.sleep(0.02)
        if next_kill <= seconds:
            kills.kill()
        return kills.finish()


@contextlib.contextmanager
def real(folder: Path) -> Iterator[Stage]:
    from conductor_grpc.server import RealServer, free_ports

    with RealServer(folder / "server", *free_ports(2)) as server:
        stage = Stage(server.target, server.base_url)
        with stage.metadata, stage.workflows:
            yield stage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=20.0, help="workflows started in a second")
    parser.add_argument("--real-server", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with real(folder) if options.real_server else staged(folder) as stage:
            figures = run(stage, folder, options.seconds, options.interval, options.rate)
    print(figures)
    return 0 if figures.completed == figures.workflows and figures.kills else 1


if __name__ == "__main__":
    sys.exit(main())
