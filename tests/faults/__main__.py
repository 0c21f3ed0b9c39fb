"""`python -m faults`: the fault table, every row on a real server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from faults import soak, table
from faults.processes import EmbeddedProcess
from faults.row import EMBEDDED, REDIS, SQLITE, run_row
from faults.rows import ROWS
from faults.scene import SMALL, Scale
from faults.stand import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

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
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table to this file, too.")
def main(
    tasks: int,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    small: bool,
    soaked: int | None,
    folder: Path | None,
    markdown: Path | None,
) -> None:
    """Break everything between the server's queue and the acknowledged result, and print what became of it.

    Starts servers and workers of its own. Exit code 1 if a row failed.
    """
    unknown = sorted(set(names) - {row.name for row in ROWS})
    if unknown:
        raise click.BadParameter(f"there is no row {', '.join(unknown)}", param_hint="--row")
    scale = SMALL if small else Scale.of(tasks)
    console = Console(width=None if sys.stdout.isatty() else 160)
    results = []
    with tempfile.TemporaryDirectory(prefix="conductor-grpc-faults-") as temporary:
        where = folder or Path(temporary)
        for result in _soaked(soaked, where, scale, console) if soaked else _rows(kinds, names, where, scale):
            results.append(result)
            console.print(result.told(), highlight=False, markup=False)
            if markdown is not None:  # now, since a later row may be interrupted
                markdown.write_text(table.as_markdown(results))
    console.print(table.for_the_terminal(results))
    console.print(table.METHOD)
    console.print(table.summary(results), soft_wrap=True)
    sys.exit(any(result.why for result in results))


def _rows(kinds: tuple[str, ...], names: tuple[str, ...], folder: Path, scale: Scale) -> Iterator[table.Result]:
    for kind in kinds:
        rows = [row for row in ROWS if kind in row.servers and (not names or row.name in names)]
        with running_server(kind, folder / kind / "server") as server:
            for row in rows:
                yield table.Result(kind, row, run_row(row, server, folder / kind / row.name, scale), scale)


def _soaked(tasks: int, folder: Path, scale: Scale, console: Console) -> Iterator[table.Result]:
    folder.mkdir(parents=True, exist_ok=True)
    with EmbeddedProcess(folder, database=False) as server:
        outcome = soak.soak(server, folder / "soak", tasks, console)
        yield table.Result(EMBEDDED, soak.ROW, outcome, scale)


if __name__ == "__main__":
    main()
