"""`kill -9` of a worker process with a journal, in the middle of its load."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from journaled_worker import CONCURRENCY
from rest_user import RestUser
from waiting import wait_for

from conductor_grpc import Configuration, MetadataClient, TaskStatus, WorkflowClient, WorkflowStatus
from conductor_grpc.poller.journal import Journal, Recovered
from conductor_grpc.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import ServerAddress

WORKER = Path(__file__).with_name("journaled_worker.py")
WORKFLOWS = 600
WORKFLOWS_BY_REST = 240
"""Started one after the other by a user with curl."""
KILLS = 2
STRANDED_AT_MOST = 10.0
"""Seconds after the restart of the worker within which the server has every task of the killed one back."""
DATABASE_BUSY = 15.0
"""Seconds for which the real server's SQLite may hold up a single update before it fails, when others write."""


class Line(NamedTuple):
    what: str
    pid: str
    thread: str
    task_id: str


class Killing:
    """Workflows of one task each, and worker processes with one journal that are killed and started again."""

    def __init__(self, configuration: Configuration, task_type: str, folder: Path, seconds: float) -> None:
        self.configuration = configuration
        self.task_type = task_type
        self.folder = folder
        self._seconds = seconds
        self._record = folder / "record"
        self._record.touch()
        self._started = 0

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @contextlib.contextmanager
    def worker(self, largest_file: int = 0) -> Iterator[subprocess.Popen[str]]:
        """`largest_file`: in KiB, what the kernel lets the process write into one file."""
        self._started += 1
        limit = ["sh", "-c", f'ulimit -f {2 * largest_file} && exec "$@"', "sh"] if largest_file else []
        arguments = [self.task_type, self.configuration.target, self.configuration.base_url or ""]
        arguments += [str(self.journal), str(self._record), str(self._seconds)]
        with (
            Path(self.folder, f"worker-{self._started}.log").open("w") as log,
            subprocess.Popen(
                [*limit, sys.executable, str(WORKER), *arguments], stdout=subprocess.PIPE, stderr=log, text=True
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()  # harmless if it has ended

    def log(self) -> str:
        """Of the worker that was started last."""
        return Path(self.folder, f"worker-{self._started}.log").read_text()

    def lines(self, what: str | None = None) -> list[Line]:
        lines = [Line(*line.split()) for line in self._record.read_text().splitlines()]
        return [line for line in lines if what in (None, line.what)]

    def kill_after(self, finished: int) -> str:
        """Start a worker and kill it when that many tasks are finished, by all workers; its process id."""
        with self.worker() as process:
            wait_for(lambda: len(self.lines("finished")) >= finished, 60)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        return str(process.pid)

    def rerun_after_delivery(self) -> list[str]:
        """Ids of tasks that were begun again although their outcome had been delivered.

        A thread that begins a task has delivered the outcome of the one before. The last one that each thread of
        a killed process has finished may have died with it, in the moment between the worker's end and the
        journal.
        """
        lines = self.lines()
        delivered: set[str] = set()
        last: dict[tuple[str, str], str] = {}
        again = []
        for line in lines:
            if line.what == "began":
                if line.task_id in delivered:
                    again.append(line.task_id)
                thread = (line.pid, line.thread)
                if thread in last:
                    delivered.add(last[thread])
                last[thread] = line.task_id
        return again


def recovered(folder: Path) -> Recovered:
    journal = Journal.open(folder, lambda *_: pytest.fail("died"))
    journal.close()
    return journal.recover()


def definitions(client: MetadataClient, name: str, **task: object) -> None:
    client.register_task({"name": name, "retryCount": 0, "timeoutSeconds": 0, "responseTimeoutSeconds": 600, **task})
    inputs = {"n": "${workflow.input.n}", "text": "${workflow.input.text}"}
    client.register_workflow(
        {"name": name, "tasks": [{"name": name, "taskReferenceName": "only", "inputParameters": inputs}]}
    )


@pytest.mark.feature("Results that cannot be sent")
def test_nothing_is_lost_or_stranded_or_run_again(tmp_path: Path) -> None:
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        killing = Killing(configuration, "killed", tmp_path, seconds=0.02)
        with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as workflows:
            definitions(metadata, "killed")
            ids = [workflows.start("killed", {"n": number + 0.5}) for number in range(WORKFLOWS)]
            killed = [killing.kill_after(WORKFLOWS * (number + 1) // (KILLS + 2)) for number in range(KILLS)]

            def of_the_killed() -> list[str]:
                tasks = [workflows.get(workflow_id).tasks[0] for workflow_id in ids]
                return [
                    task.task_id
                    for task in tasks
                    if task.status is TaskStatus.IN_PROGRESS and any(f"-{pid}-" in task.worker_id for pid in killed)
                ]

            assert of_the_killed(), "the kill was to leave tasks in progress"
            with killing.worker() as last:
                began = time.monotonic()
                wait_for(lambda: not of_the_killed(), STRANDED_AT_MOST)
                wait_for(lambda: all(workflows.get(each).status is WorkflowStatus.COMPLETED for each in ids), 60)
                # The worker ids of the killed ones are forgotten once the server cannot have given them tasks any more.
                time.sleep(max(0.0, began + STRANDED_AT_MOST - time.monotonic()))
                last.send_signal(signal.SIGTERM)
                report, _ = last.communicate(timeout=30)
    assert last.returncode == 0, killing.log()
    assert report.rstrip().endswith("0 cancelled, 0 unsent"), report
    runs = Counter(line.task_id for line in killing.lines("began"))
    assert len(runs) == WORKFLOWS
    assert killing.rerun_after_delivery() == []
    assert sum(runs.values()) - WORKFLOWS <= KILLS * CONCURRENCY
    assert recovered(killing.journal) == Recovered()


def test_a_full_disk_costs_the_journal_and_nothing_else(tmp_path: Path) -> None:
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        killing = Killing(configuration, "full", tmp_path, seconds=0.0)
        with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as workflows:
            definitions(metadata, "full")
            ids = [workflows.start("full", {"text": "x" * 1_000}) for _ in range(WORKFLOWS_BY_REST)]
            with killing.worker(largest_file=64) as process:
                wait_for(lambda: all(workflows.get(each).status is WorkflowStatus.COMPLETED for each in ids), 60)
                process.send_signal(signal.SIGTERM)
                report, _ = process.communicate(timeout=30)
    assert process.returncode == 0, killing.log()
    assert report.rstrip().endswith("0 cancelled, 0 unsent"), report
    assert [path.stat().st_size for path in killing.journal.glob("journal-*")] == [64 * 1024], "the fault fired"
    said = [line for line in killing.log().splitlines() if "journal" in line and " ERROR " in line]
    assert len(said) == 1, killing.log()
    assert "[Errno 27] File too large" in said[0] or "[Errno 28] No space left on device" in said[0]
    assert Counter(line.task_id for line in killing.lines("began")).most_common(1)[0][1] == 1


def test_on_the_real_server_with_integers(real_server: ServerAddress, tmp_path: Path) -> None:
    """Every tenth input is one that gRPC cannot carry; the restarted process knows it from the journal."""
    user = RestUser(real_server.base_url)
    name = f"killed_{secrets.token_hex(4)}"
    user.register(name, name, {"n": "${workflow.input.n}"})
    configuration = Configuration(real_server.base_url, target=real_server.target)
    killing = Killing(configuration, name, tmp_path, seconds=0.02)
    inputs = [{"n": number if number % 10 == 0 else "text"} for number in range(WORKFLOWS_BY_REST)]
    ids = [user.start(name, each) for each in inputs]
    killed = [killing.kill_after(WORKFLOWS_BY_REST * (number + 1) // (KILLS + 2)) for number in range(KILLS)]

    def of_the_killed() -> list[str]:
        tasks = user.in_progress(name)
        return [task["taskId"] for task in tasks if any(f"-{pid}-" in task["workerId"] for pid in killed)]

    assert of_the_killed(), "the kill was to leave tasks in progress"
    with killing.worker() as last:
        wait_for(lambda: not of_the_killed(), STRANDED_AT_MOST + DATABASE_BUSY)
        assert {user.wait_until_closed(workflow_id, 60)["status"] for workflow_id in ids} == {"COMPLETED"}
        last.send_signal(signal.SIGTERM)
        report, _ = last.communicate(timeout=30)
    assert report.rstrip().endswith("0 cancelled, 0 unsent"), report
    assert "cannot send over gRPC" not in killing.log(), "known from the journal, the type was polled over REST"
    runs = Counter(line.task_id for line in killing.lines("began"))
    assert len(runs) == WORKFLOWS_BY_REST
    assert killing.rerun_after_delivery() == []
    assert sum(runs.values()) - WORKFLOWS_BY_REST <= KILLS * CONCURRENCY
    assert user.in_progress(name) == []
