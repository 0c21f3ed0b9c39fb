"""`python -m benchmarks.reclaim`: what it costs to find stranded tasks while others of their type wait in the queue."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import report
from benchmarks.process_cpu import cpu_seconds
from benchmarks.relay import Relay
from conductor_grpc import Configuration, MetadataClient, WorkflowClient
from conductor_grpc.errors import TransientError
from conductor_grpc.pb.services import task_service_pb2, task_service_pb2_grpc
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.reclaim import GrpcReclaim, TaskFinder, TaskIndex
from conductor_grpc.poller.reclaim_rest import RestReclaim
from conductor_grpc.server.ports import free_ports
from conductor_grpc.server.real.launcher import RealServer
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.rest import RestClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.transport.channel import Channel

LOST: Final = 10
"""Tasks that are to be found."""

FOREIGN: Final = 40
"""Tasks that another worker is running."""

_BRANCHES: Final = 50
"""Tasks of one workflow: a backlog of ten thousand is two hundred workflows, and soon there."""

_FAST_DISK: Final = Path("/dev/shm")
_WORKER: Final = "benchmark"
_OWNER: Final = "benchmark@example.com"

METHOD: Final = (
    f"So many tasks of one type are pending on a real server with SQLite; {LOST} of them were handed to a worker that "
    f"never got them, {FOREIGN} to another one. Each look has a process of its own, which has made a look for another "
    "type before. Bytes are those that the server sends, over both protocols; peak is how much the process's resident "
    "memory grew. Medians."
)


@dataclass(frozen=True)
class Look:
    """What one look has cost."""

    found: int
    seconds: float
    server_ms: float
    client_ms: float
    megabytes: float
    peak_megabytes: float
    pause: float
    """Seconds until the next one may be."""


class NoIndex(TaskIndex):
    """That of a server without one."""

    def in_progress(self, task_type: str, since_ms: int) -> Any:
        del task_type, since_ms
        return [], True

    def knows(self, task_type: str) -> bool:
        del task_type
        return False


Ways = dict[str, "Callable[[Channel, RestClient, str, int], tuple[int, float]]"]


def _growing_steps(_: Channel, rest: RestClient, task_type: str, since_ms: int) -> tuple[int, float]:
    """All at once, as long as it may be: without any bound."""
    del since_ms
    for count in (1_000, 4_000, 16_000):
        pending = rest.pending_tasks(task_type, count)
        if len(pending) < count:
            break
    return sum(task["status"] == "IN_PROGRESS" and task.get("workerId") == _WORKER for task in pending), 0.0


def _reclaim(channel: Channel, rest: RestClient, index: TaskIndex) -> RestReclaim:
    return RestReclaim(rest, index, TaskFinder(channel, rest), Custody())


def _looked(reclaim: RestReclaim, task_type: str, since_ms: int) -> tuple[int, float]:
    found = reclaim.stranded(task_type, _WORKER, since_ms, LOST, last=True)
    return len(found.tasks), reclaim.stranded(task_type, _WORKER, since_ms, LOST).again or 0.0


def _bounded(channel: Channel, rest: RestClient, task_type: str, since_ms: int) -> tuple[int, float]:
    return _looked(_reclaim(channel, rest, TaskIndex(channel)), task_type, since_ms)


def _no_index(channel: Channel, rest: RestClient, task_type: str, since_ms: int) -> tuple[int, float]:
    return _looked(_reclaim(channel, rest, NoIndex(channel)), task_type, since_ms)


def _grpc_only(channel: Channel, _: RestClient, task_type: str, since_ms: int) -> tuple[int, float]:
    return len(GrpcReclaim(channel, Custody()).stranded(task_type, _WORKER, since_ms, LOST).tasks), 0.0


WAYS: Final[Ways] = {
    "whole list in growing steps, unbounded": _growing_steps,
    "as it is: the list if it is short, else the index": _bounded,
    "as it is, on a server without an index": _no_index,
    "no REST: the index": _grpc_only,
}


@click.command()
@click.option("--pending", "sizes", multiple=True, type=click.IntRange(100), default=(500, 10_000), show_default=True)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(sizes: tuple[int, ...], rounds: int, json_file: Path | None) -> None:
    """Measure each way of finding stranded tasks. Exit code 1 if one did not find what it has to."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    figures: dict[int, dict[str, list[Look]]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    disk = _FAST_DISK if _FAST_DISK.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="conductor-grpc-benchmark-", dir=disk) as folder,
        RealServer(Path(folder), *free_ports(2), start_timeout=600) as server,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        configuration = Configuration(server.base_url, target=server.target)
        bar = progress.add_task("", total=sum(sizes) // _BRANCHES + rounds * len(sizes) * len(WAYS))
        for size in sizes:
            progress.update(bar, description=f"{size} pending")
            since_ms = _fill(configuration, f"pending_{size}", size, lambda: progress.advance(bar))
            figures[size] = {name: [] for name in WAYS}
            for _ in range(rounds):
                for name in WAYS:
                    figures[size][name].append(_measure(server, name, f"pending_{size}", since_ms))
                    progress.advance(bar)
    for size, ways in figures.items():
        console.print(_table(size, ways))
    console.print(METHOD)
    console.print(", ".join(f"{key} {value}" for key, value in {**report.machine(), "rounds": rounds}.items()))
    if json_file is not None:
        pending = {
            size: {name: [asdict(look) for look in looks] for name, looks in ways.items()}
            for size, ways in figures.items()
        }
        document = {"method": METHOD, "machine": report.machine(), "pending": pending}
        json_file.write_text(json.dumps(document, indent=2) + "\n")
    sys.exit(any(look.found != LOST for ways in figures.values() for looks in ways.values() for look in looks))


def _fill(configuration: Configuration, task_type: str, size: int, progress: Callable[[], None]) -> int:
    """The server's time, in ms, before the tasks that are to be found were handed out."""
    with MetadataClient(configuration) as metadata:
        for name in (task_type, "warm_up"):
            metadata.register_task({"name": name, "ownerEmail": _OWNER, "retryCount": 0})
        metadata.register_workflow(_workflow(task_type))
    with WorkflowClient(configuration) as workflows:
        for _ in range(-(-size // _BRANCHES)):
            _start(workflows, task_type)
            progress()
    since_ms = int(time.time() * 1000)
    with open_channel(configuration) as channel:
        poll = task_service_pb2_grpc.TaskServiceStub(channel).BatchPoll
        for worker_id, count in (("somebody else", FOREIGN), (_WORKER, LOST)):
            request = task_service_pb2.BatchPollRequest(
                task_type=task_type, worker_id=worker_id, count=count, timeout=5_000
            )
            taken = len(list(poll(request)))
            if taken != count:
                raise RuntimeError(f"the server handed out {taken} tasks of {task_type!r}, not {count}")
    return since_ms


def _start(workflows: WorkflowClient, name: str) -> None:
    started = ""
    while not started:
        with contextlib.suppress(TransientError):  # "database is locked", since the server decides others meanwhile
            started = workflows.start(name, {"text": "some"})


def _workflow(task_type: str) -> dict[str, object]:
    def branch(number: int) -> list[dict[str, object]]:
        inputs = {"text": "${workflow.input.text}"}
        return [{"name": task_type, "taskReferenceName": f"t{number}", "type": "SIMPLE", "inputParameters": inputs}]

    branches = [branch(number) for number in range(_BRANCHES)]
    return {
        "name": task_type,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": _OWNER,
        "timeoutSeconds": 0,
        "timeoutPolicy": "ALERT_ONLY",
        "tasks": [
            {"name": "fork", "taskReferenceName": "fork", "type": "FORK_JOIN", "forkTasks": branches},
            {
                "name": "join",
                "taskReferenceName": "join",
                "type": "JOIN",
                "joinOn": [f"t{number}" for number in range(_BRANCHES)],
            },
        ],
    }


def _measure(server: RealServer, way: str, task_type: str, since_ms: int) -> Look:
    assert server.pid is not None, "it has been started"
    rest_address = re.sub(r"^http://([^/]+)/.*$", r"\1", server.base_url)
    spawn = multiprocessing.get_context("spawn")
    with Relay(server.target) as grpc, Relay(rest_address) as rest, ProcessPoolExecutor(1, spawn) as process:
        target, base_url = grpc.address, server.base_url.replace(rest_address, rest.address)
        process.submit(_look, way, target, base_url, "warm_up", since_ms).result()
        sent, used = grpc.sent + rest.sent, cpu_seconds(server.pid)
        found, seconds, client, peak, pause = process.submit(_look, way, target, base_url, task_type, since_ms).result()
        server_ms = (cpu_seconds(server.pid) - used) * 1000
        megabytes = (grpc.sent + rest.sent - sent) / 1e6
    return Look(found, seconds, server_ms, client * 1000, megabytes, peak, pause)


def _look(
    way: str, target: str, base_url: str, task_type: str, since_ms: int
) -> tuple[int, float, float, float, float]:
    """In a process of its own: found, seconds, CPU seconds, peak memory in MB, pause."""
    with open_channel(Configuration(base_url, target=target)) as channel, RestClient(base_url, timeout=60.0) as rest:
        rest.version()
        TaskIndex(channel).knows("warm_up")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before, cpu, began = _memory("VmRSS"), time.process_time(), time.monotonic()
        found, pause = WAYS[way](channel, rest, task_type, since_ms)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        return found, seconds, cpu, _memory("VmHWM") - before, pause


def _memory(name: str) -> float:
    match = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, name
    return int(match[1]) / 1000


def _table(size: int, ways: dict[str, list[Look]]) -> Table:
    table = Table(title=f"{size} tasks pending", title_justify="left")
    table.add_column("way")
    for heading in ("found", "ms", "server CPU, ms", "client CPU, ms", "MB", "peak, MB", "next after, s"):
        table.add_column(heading, justify="right")
    for name, looks in ways.items():
        median: Callable[[str], float] = lambda field, looks=looks: statistics.median(  # type: ignore[misc]  # noqa: E731
            getattr(look, field) for look in looks
        )
        table.add_row(
            name,
            " ".join(sorted({str(look.found) for look in looks})),
            f"{median('seconds') * 1000:.0f}",
            f"{median('server_ms'):.0f}",
            f"{median('client_ms'):.0f}",
            f"{median('megabytes'):.2f}",
            f"{median('peak_megabytes'):.0f}",
            f"{median('pause'):.1f}",
        )
    return table


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.reclaim")
