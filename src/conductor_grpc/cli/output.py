"""What goes to stdout: tables for people on a terminal, plain text for programs behind a pipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLES = {
    "COMPLETED": "green",
    "created": "green",
    "RUNNING": "cyan",
    "IN_PROGRESS": "cyan",
    "SCHEDULED": "yellow",
    "PAUSED": "yellow",
    "updated": "yellow",
    "FAILED": "red",
    "FAILED_WITH_TERMINAL_ERROR": "red",
    "TIMED_OUT": "red",
    "TERMINATED": "red",
    "CANCELED": "red",
}


_ON_ONE_LINE = dict.fromkeys(map(ord, "\t\n\r\v\f"), " ")
"""For `str.translate`: a reason may be a whole traceback."""


def coloured(word: str) -> Text:
    """A word, in its colour if it is a state or an outcome."""
    return Text(word, style=_STYLES.get(word, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose cells keep their words whole: names and ids are there to be copied."""
    result = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in result.columns:
        column.overflow = "fold"
    for row in rows:
        result.add_row(*map(coloured, row))
    return result


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """On a terminal a table with a heading; behind a pipe one line a row, tabs between the cells."""
    screen = Console()
    if screen.is_terminal:
        screen.print(table(columns, rows))
        return
    for row in rows:
        click.echo("\t".join(cell.translate(_ON_ONE_LINE) for cell in row))


def print_json(document: object) -> None:
    """JSON, indented."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def compact_json(document: object) -> str:
    """JSON on one line."""
    return json.dumps(document, ensure_ascii=False)
