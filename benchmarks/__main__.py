"""`python -m benchmarks`: all clients against one real server, in one run."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.rest_sdk_environment import VERSION, rest_sdk_python
from benchmarks.run import Contender, measure
from benchmarks.workload import VoidRunError
from conductor_grpc import ConductorError, Configuration
from conductor_grpc.server.ports import free_ports
from conductor_grpc.server.real.launcher import RealServer

# Where Linux has it, the database goes into memory: a disk that others use makes the rates jump about.
_MEMORY = Path("/dev/shm")

_PROGRAMS = Path(__file__).parent / "contenders"

# What a user can set to do without the threads of gRPC's event engine, see docs/performance.md.
_NO_EVENT_ENGINE = {"GRPC_EXPERIMENTS": "-event_engine_client"}

_CONTENDERS: dict[str, tuple[str, int, dict[str, str]]] = {
    "ours, concurrency 50": ("ours", 50, {}),
    "ours, concurrency 20": ("ours", 20, {}),
    "ours, concurrency 1": ("ours", 1, {}),
    "ours, concurrency 50, no event engine": ("ours", 50, _NO_EVENT_ENGINE),
    report.BARE: ("bare_grpc", 50, {}),
    f"{report.BARE}, no event engine": ("bare_grpc", 50, _NO_EVENT_ENGINE),
    f"conductor-python {VERSION}, thread_count 1": ("rest_sdk", 1, {}),
    f"conductor-python {VERSION}, thread_count 20": ("rest_sdk", 20, {}),
}


@click.command()
@click.option("--tasks", default=2000, show_default=True, type=click.IntRange(100), help="Measured tasks of each run.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Runs of each client.")
@click.option("--only", multiple=True, help="Clients whose name contains this; repeatable. Default: all.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(tasks: int, rounds: int, only: tuple[str, ...], json_file: Path | None) -> None:
    """Compare the cost of a task: this client, conductor-python over REST, and bare gRPC calls.

    Starts a server of its own. Exit code 1 if any run was void.
    """
    console = Console()
    names = [name for name in _CONTENDERS if not only or any(part in name for part in only)]
    if not names:
        raise click.BadParameter(f"{only} matches none of: {'; '.join(_CONTENDERS)}", param_hint="--only")
    contenders = [_contender(name, console) for name in names]
    rows = {name: report.Row(name) for name in names}
    warm_up = max(100, tasks // 10)
    grpc_port, rest_port = free_ports(2)
    memory = _MEMORY if _MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="conductor-grpc-benchmark-", dir=memory) as folder,
        RealServer(folder, grpc_port, rest_port) as server,
    ):
        _run_all(contenders, rows, server, tasks, warm_up, rounds, console)
    settings = {
        "tasks": tasks,
        "warm_up": warm_up,
        "rounds": rounds,
        "database": "disk" if memory is None else "memory",
    }
    console.print(report.table(list(rows.values())))
    console.print(report.METHOD)
    console.print(", ".join(f"{key} {value}" for key, value in {**report.machine(), **settings}.items()))
    if json_file is not None:
        json_file.write_text(json.dumps(report.document(list(rows.values()), settings), indent=2) + "\n")
    sys.exit(any(row.void for row in rows.values()))


def _contender(name: str, console: Console) -> Contender:
    program, concurrency, environment = _CONTENDERS[name]
    python = sys.executable
    if program == "rest_sdk":
        with console.status(f"conductor-python {VERSION} in an environment of its own"):
            python = str(rest_sdk_python())
    return Contender(name, [python, str(_PROGRAMS / f"{program}.py")], concurrency, environment)


def _run_all(
    contenders: list[Contender],
    rows: dict[str, report.Row],
    server: RealServer,
    tasks: int,
    warm_up: int,
    rounds: int,
    console: Console,
) -> None:
    configuration = Configuration(server.base_url, target=server.target)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=2 * (tasks + warm_up) * rounds * len(contenders))
        for number in range(rounds):
            shift = number % len(contenders)  # whoever comes first meets a colder server
            for index, contender in enumerate(contenders[shift:] + contenders[:shift]):
                progress.update(bar, description=f"round {number + 1}, {contender.name}")
                if server.pid is None:
                    raise click.ClickException(str(server.death(server.wait(0))))
                try:
                    run = measure(
                        contender,
                        f"benchmark_{number}_{index}",
                        configuration,
                        server.pid,
                        tasks,
                        warm_up,
                        lambda step: progress.advance(bar, step),
                    )
                except (VoidRunError, ConductorError) as error:
                    rows[contender.name].void.append(str(error))
                    progress.console.print(f"VOID: {contender.name}: {error}")
                    continue
                rows[contender.name].runs.append(run)
                progress.console.print(
                    f"round {number + 1}, {contender.name}: {run.tasks_per_second:.0f} tasks/s, "
                    f"{run.client_ms_per_task:.3f} ms client CPU per task, load {run.load:.1f}"
                )


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
