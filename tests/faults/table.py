"""The fault table, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from faults.row import Twice, verdict

if TYPE_CHECKING:
    from faults.row import Row
    from faults.scene import Outcome, Scale

METHOD = (
    "Lost: finished by a worker, says its ledger, and in the end not COMPLETED with that output on the server. "
    "Stranded: IN_PROGRESS on the server for more than 10 s with no living worker running it, the time of the fault "
    "itself not counted; or still open in the end. Ran twice: workflows of one task with more than one execution in "
    "the ledger; in brackets, of those, how many although an earlier execution was finished and on record. A fault "
    "that was not seen to fire is a failure."
)


def title(row: Row, scale: Scale) -> str:
    return row.title.format(outage=scale.outage, blackhole=scale.blackhole)


def new_table() -> Table:
    table = Table(title="Faults in the middle of load", title_justify="left")
    table.add_column("server")
    table.add_column("fault", ratio=2)
    table.add_column("fired", ratio=2)
    for name in ("tasks", "results lost", "stranded over 10 s", "ran twice"):
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("verdict")
    return table


def add(table: Table, server: str, row: Row, outcome: Outcome, scale: Scale) -> None:
    why = verdict(row, outcome)
    ran_twice = str(outcome.twice)
    if row.twice is not Twice.NONE:
        ran_twice = f"{outcome.twice} ({outcome.needlessly})"
    table.add_row(
        server,
        title(row, scale),
        f"{outcome.fired} {outcome.fault}",
        str(outcome.tasks),
        str(outcome.lost),
        str(outcome.stranded),
        ran_twice,
        f"{outcome.seconds:.0f}",
        "[red]FAILED[/red]" if why else "[green]ok[/green]",
    )
