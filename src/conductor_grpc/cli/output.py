"""What goes to stdout: tables for people on a terminal, plain text for programs behind a pipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

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


_WORDY: Final = {"", "Input", "Output", "Tasks"}
"""Columns that may be folded; names, ids and states stay whole, for they are there to be copied."""

_REASON: Final = "Reason"
"""The column of why something failed: too long for a cell."""

_EMPTY: Final = {"", "{}"}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal, without the reasons and without inputs and outputs that are all empty."""
    kept = [
        index
        for index, name in enumerate(columns)
        if name != _REASON and not (name in _WORDY and name and all(row[index] in _EMPTY for row in rows))
    ]
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index in kept:
        if columns[index] in _WORDY:
            result.add_column(columns[index], overflow="fold")
        else:
            widest = max((cell_len(row[index]) for row in rows), default=0)
            result.add_column(columns[index], no_wrap=True, min_width=widest)
    for row in rows:
        result.add_row(*(coloured(row[index]) for index in kept))
    return result


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """On a terminal a table with a heading, and the cells of the column "Reason" below it at full width.

    Behind a pipe one line a row, all cells, with tabs between them.
    """
    screen = Console()
    if screen.is_terminal:
        screen.print(table(columns, rows), crop=False)
        if _REASON in columns:
            for row in rows:
                if reason := row[columns.index(_REASON)]:
                    screen.print(f"\n{row[0]}: {reason}", markup=False, highlight=False, soft_wrap=True)
        return
    for row in rows:
        click.echo("\t".join(cell.translate(_ON_ONE_LINE) for cell in row))


def print_json(document: object) -> None:
    """JSON, indented."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def compact_json(document: object) -> str:
    """JSON on one line."""
    return json.dumps(document, ensure_ascii=False)
