"""`python -m faults`: the fault table, every row on a real server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from faults import soak, table
from faults.processes import EmbeddedProcess
from faults.row import EMBEDDED, REDIS, SQLITE, run_row, verdict
from faults.rows import ROWS
from faults.scene import SMALL, Outcome, Scale
from faults.stand import running_server

_KINDS = (SQLITE, REDIS, EMBEDDED)


@click.command()
@click.option("--tasks", default=Scale().tasks, show_default=True, type=click.IntRange(100), help="Tasks of each row.")
@click.option("--row", "names", multiple=True, help=f"Only these; repeatable: {', '.join(row.name for row in ROWS)}.")
@click.option(
    "--server", "kinds", multiple=True, type=click.Choice(_KINDS), default=(SQLITE,), show_default=True,
    help="Repeatable.",
)  # fmt: skip
@click.option("--small", is_flag=True, help="Short faults and few tasks, as in the tests.")
@click.option(
    "--soak", "soaked", type=click.IntRange(1), metavar="TASKS",
    help="Instead: so many against the embedded server while 1 % of all calls fail; 1000000, say.",
)  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), help="Keep ledgers, journals and logs here.")
def main(
    tasks: int, names: tuple[str, ...], kinds: tuple[str, ...], small: bool, soaked: int | None, folder: Path | None
) -> None:
    """Break everything between the server's queue and the acknowledged result, and print what became of it.

    Starts servers and workers of its own. Exit code 1 if a row failed.
    """
    unknown = sorted(set(names) - {row.name for row in ROWS})
    if unknown:
        raise click.BadParameter(f"there is no row {', '.join(unknown)}", param_hint="--row")
    scale = SMALL if small else Scale.of(tasks)
    console = Console(width=None if sys.stdout.isatty() else 160)
    results = table.new_table()
    failed = total = 0
    with tempfile.TemporaryDirectory(prefix="conductor-grpc-faults-") as temporary:
        if soaked:
            kinds = ()
            with EmbeddedProcess(Path(temporary), database=False) as server:
                where = (folder or Path(temporary)) / "soak"
                outcome = soak.soak(server, where, soaked, lambda whole: console.print(_so_far(whole)))
                failed, total = int(bool(verdict(soak.ROW, outcome))), outcome.tasks
                table.add(results, EMBEDDED, soak.ROW, outcome, scale)
        for kind in kinds:
            where = (folder or Path(temporary)) / kind
            rows = [row for row in ROWS if kind in row.servers and (not names or row.name in names)]
            with running_server(kind, where / "server") as server:
                for row in rows:
                    outcome = run_row(row, server, where / row.name, scale)
                    why = verdict(row, outcome)
                    failed += bool(why)
                    total += outcome.tasks
                    table.add(results, kind, row, outcome, scale)
                    console.print(
                        f"{kind}, {table.title(row, scale)}: {why or 'ok'}; " + "; ".join(outcome.notes),
                        highlight=False, markup=False,
                    )  # fmt: skip
    console.print(results)
    console.print(table.METHOD)
    console.print(f"{total} tasks in all, {failed} rows failed")
    sys.exit(failed > 0)


def _so_far(outcome: Outcome) -> str:
    why = verdict(soak.ROW, outcome)
    return f"{outcome.tasks} tasks, {outcome.fired} calls failed, {why or 'nothing lost'}, {outcome.seconds:.0f} s"


if __name__ == "__main__":
    main()
