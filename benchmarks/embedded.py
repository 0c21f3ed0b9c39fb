"""`python -m benchmarks.embedded`: what the embedded server achieves, beside the real one, in one run."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import memory, report
from benchmarks.embedded_process import EmbeddedProcess
from benchmarks.run import Contender, measure
from benchmarks.workload import VoidRunError
from conductor_grpc import ConductorError, Configuration
from conductor_grpc.server.ports import free_ports
from conductor_grpc.server.real.launcher import RealServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.run import Measurement

# As for the other benchmarks: a disk that others use makes the rates jump about.
_FAST_DISK: Final = Path("/dev/shm")

_CLIENT: Final = Contender(
    "ours, concurrency 50", [sys.executable, str(Path(__file__).parent / "contenders" / "ours.py")], 50, {}
)

REAL: Final = "real 3.32.1, SQLite"

METHOD: Final = (
    "One TaskPoller process with concurrency 50 does workflows of one SIMPLE task that does nothing, started "
    "beforehand; each server has a process of its own, and all are up all the time. The interval goes from the end of "
    "the warm-up to the last result, by the server's own record; afterwards every workflow was found COMPLETED. "
    "Medians of all rounds (lowest to highest); the order of the servers rotates from round to round."
)

Servers = dict[str, tuple[Configuration, int]]
"""By name: how to reach it, and its process id."""


@click.command()
@click.option("--tasks", default=4000, show_default=True, type=click.IntRange(100), help="Measured tasks of each run.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Runs against each server.")
@click.option("--memory-tasks", default=200_000, show_default=True, type=click.IntRange(0), help="0: no memory run.")
@click.option("--real/--no-real", default=True, show_default=True, help="Whether the real server takes part.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(tasks: int, rounds: int, memory_tasks: int, real: bool, json_file: Path | None) -> None:
    """Measure the embedded server: tasks per second, beside the real server, and its memory over many tasks.

    Exit code 1 if any run was void or the memory is not flat.
    """
    console = Console()
    warm_up = max(100, tasks // 10)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        rows = _throughput(tasks, warm_up, rounds, real, progress)
        samples = _memory(memory_tasks, progress) if memory_tasks else []
    console.print(_table(rows))
    console.print(METHOD)
    if samples:
        console.print(memory.table(samples))
        console.print(memory.verdict(samples))
    settings = {"tasks": tasks, "warm_up": warm_up, "rounds": rounds}
    console.print(", ".join(f"{key} {value}" for key, value in {**report.machine(), **settings}.items()))
    if json_file is not None:
        servers = report.document(list(rows.values()), settings)
        figures = {**servers, "method": METHOD, "memory": [asdict(sample) for sample in samples]}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(any(row.void for row in rows.values()) or (bool(samples) and not memory.is_flat(samples)))


def _throughput(tasks: int, warm_up: int, rounds: int, real: bool, progress: Progress) -> dict[str, report.Row]:
    with contextlib.ExitStack() as stack:
        servers = _start_servers(stack, real)
        rows = {name: report.Row(name) for name in servers}
        bar = progress.add_task("", total=2 * (tasks + warm_up) * rounds * len(servers))
        for number in range(rounds):
            shift = number % len(servers)  # the first one has the machine to itself a little longer
            names = list(servers)
            for name in names[shift:] + names[:shift]:
                progress.update(bar, description=f"round {number + 1}, {name}")
                configuration, pid = servers[name]
                try:
                    run = measure(
                        _CLIENT,
                        f"benchmark_{number}",
                        configuration,
                        pid,
                        tasks,
                        warm_up,
                        lambda step: progress.advance(bar, step),
                    )
                except (VoidRunError, ConductorError) as error:
                    rows[name].void.append(str(error))
                    progress.console.print(f"VOID: {name}: {error}")
                    continue
                rows[name].runs.append(run)
                progress.console.print(
                    f"round {number + 1}, {name}: {run.tasks_per_second:.0f} tasks/s, load {run.load:.1f}"
                )
    return rows


def _start_servers(stack: contextlib.ExitStack, real: bool) -> Servers:
    folder = stack.enter_context(
        tempfile.TemporaryDirectory(prefix="conductor-grpc-benchmark-", dir=_FAST_DISK if _FAST_DISK.is_dir() else None)
    )
    servers: Servers = {}
    for name, strict, database in (
        ("embedded, in memory", False, None),
        ("embedded, strict", True, None),
        ("embedded, on SQLite", False, Path(folder, "embedded.db")),
    ):
        process = stack.enter_context(EmbeddedProcess(strict=strict, database=database))
        servers[name] = Configuration(target=process.target), process.pid
    if real:
        server = stack.enter_context(RealServer(Path(folder, "real"), *free_ports(2)))
        assert server.pid is not None, "it has been started"
        servers[REAL] = Configuration(server.base_url, target=server.target), server.pid
    return servers


def _memory(tasks: int, progress: Progress) -> list[memory.Sample]:
    with EmbeddedProcess() as server:
        bar = progress.add_task("memory", total=2 * tasks)
        configuration = Configuration(target=server.target)
        return memory.observe(server, _CLIENT, configuration, tasks, lambda step: progress.advance(bar, step))


def _table(rows: Mapping[str, report.Row]) -> Table:
    result = Table(title="One worker process", show_lines=True)
    result.add_column("server", min_width=20)
    for heading in ("tasks/s", "to real", "server CPU\nms/task", "client CPU\nms/task", "runs"):
        result.add_column(heading, justify="right")
    rate: Callable[[Measurement], float] = lambda run: run.tasks_per_second  # noqa: E731
    real = report.median(rows[REAL], rate) if REAL in rows else None
    for row in rows.values():
        own = report.median(row, rate)
        result.add_row(
            row.name,
            report.spread(row, rate, ".0f"),
            "-" if own is None or real is None else f"{own / real:.1f}",
            report.spread(row, lambda run: run.server_ms_per_task, ".3f"),
            report.spread(row, lambda run: run.client_ms_per_task, ".3f"),
            f"{len(row.runs)}" + (f"\n{len(row.void)} VOID" if row.void else ""),
        )
    return result


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.embedded")
