"""Where a server is, for those who want to connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


def show_server(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """On a terminal a table; behind a pipe one line a row with a tab between, without the title."""
    # A path wider than the terminal would be cut, in the middle of what one wants to copy.
    console = Console(soft_wrap=True)
    if console.is_terminal:
        table = Table(title=title, title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        for row in rows:
            click.echo("\t".join(row))
    click.echo("Ctrl-C stops it.")
