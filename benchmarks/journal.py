"""`python -m benchmarks.journal`: what the journal costs, side by side in one run."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import report
from benchmarks.embedded_process import EmbeddedProcess
from benchmarks.run import Contender, measure
from benchmarks.workload import VoidRunError
from conductor_grpc import ConductorError, Configuration
from conductor_grpc.configuration import JOURNAL_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.run import Measurement

ALLOWED: Final = 1.15
"""How much more client CPU a task may cost with a journal."""

MOST: Final = 2_200
"""Tasks of one run: the embedded server must still know those of both, with their warm-up, when they are checked."""

METHOD: Final = (
    "One TaskPoller process with concurrency 50 does workflows of one SIMPLE task that does nothing, started "
    "beforehand, against an embedded server in a process of its own; the journal is on a disk. CPU is user and system "
    "time, read from outside. Both run at the same time, so that what else the machine does falls on both alike, and "
    "the ratio is that of one round's pair. The server's CPU is that for both together."
)

_PROGRAM: Final = [sys.executable, str(Path(__file__).parent / "contenders" / "ours.py")]
_WITHOUT: Final = "without a journal"
_WITH: Final = "with a journal"


@click.command()
@click.option(
    "--tasks", default=2000, show_default=True, type=click.IntRange(100, MOST), help="Measured tasks of a run."
)
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1), help="Pairs of runs.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(tasks: int, rounds: int, json_file: Path | None) -> None:
    """Measure the client's CPU per task with and without a journal.

    Exit code 1 if a run was void, or the median of the ratios is more than 1.15.
    """
    console = Console()
    warm_up = max(100, tasks // 10)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="conductor-grpc-journal-") as folder,
        EmbeddedProcess() as server,
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(2) as threads,
    ):
        contenders = [
            Contender(_WITHOUT, _PROGRAM, 50, {JOURNAL_VARIABLE: ""}),
            Contender(_WITH, _PROGRAM, 50, {JOURNAL_VARIABLE: folder}),
        ]
        rows = {contender.name: report.Row(contender.name) for contender in contenders}
        configuration = Configuration("", target=server.target)
        bar = progress.add_task("", total=4 * (tasks + warm_up) * rounds)

        def run(number: int, contender: Contender) -> Measurement:
            name = f"benchmark_{number}_{contenders.index(contender)}"
            return measure(
                contender, name, configuration, server.pid, tasks, warm_up, lambda step: progress.advance(bar, step)
            )

        for number in range(rounds):
            progress.update(bar, description=f"round {number + 1}")
            pair = [threads.submit(run, number, contender) for contender in contenders]
            for row, pending in zip(rows.values(), pair, strict=True):
                _take(row, pending)
            if any(row.void for row in rows.values()):
                break
            before, after = (row.runs[-1].client_ms_per_task for row in rows.values())
            progress.console.print(f"round {number + 1}: {before:.3f} and {after:.3f} ms of client CPU per task")
    void = [reason for row in rows.values() for reason in row.void]
    ratios = [] if void else _ratios(rows[_WITHOUT].runs, rows[_WITH].runs)
    for reason in void:
        console.print(f"VOID: {reason}")
    console.print(report.table(list(rows.values())))
    console.print(METHOD)
    if ratios:
        console.print(
            f"with / without: {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f}), "
            f"{ALLOWED} allowed"
        )
    settings = {"tasks": tasks, "warm_up": warm_up, "rounds": rounds}
    console.print(", ".join(f"{key} {value}" for key, value in {**report.machine(), **settings}.items()))
    if json_file is not None:
        figures = {**report.document(list(rows.values()), settings), "method": METHOD, "ratios": ratios}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(bool(void) or statistics.median(ratios) > ALLOWED)


def _take(row: report.Row, pending: Future[Measurement]) -> None:
    try:
        row.runs.append(pending.result())
    except (VoidRunError, ConductorError) as error:
        row.void.append(f"{row.name}: {error}")


def _ratios(without: Sequence[Measurement], with_journal: Sequence[Measurement]) -> list[float]:
    pairs = zip(without, with_journal, strict=True)
    return [after.client_ms_per_task / before.client_ms_per_task for before, after in pairs]


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.journal")
