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
    "differs": "red",
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


_WORDY: Final = {"", "Input", "Output", "Tasks", "Log"}
"""Columns that may be folded; names, ids and states stay whole, for they are there to be copied."""

_LEAST: Final = 12
"""Characters below which folding a cell makes it unreadable."""

_REASON: Final = "Reason"
"""The column of why something failed: too long for a cell."""

_EMPTY: Final = {"", "{}"}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal, one column for each name."""
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        widest = max(cell_len(text) for text in (name, *(row[index] for row in rows)))
        if name in _WORDY:
            result.add_column(name, overflow="fold", min_width=min(_LEAST, widest))
        else:
            result.add_column(name, no_wrap=True, min_width=widest)
    for row in rows:
        result.add_row(*map(coloured, row))
    return result


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty_columns: bool = False) -> None:
    """On a terminal a table with a heading; behind a pipe one line a row, all cells, with tabs between them.

    The table has no column of inputs or outputs that are all empty, unless `empty_columns`. Below it, at full width,
    come the cells of the column "Reason", and inputs and outputs, too, where the terminal is too narrow for them.
    """
    screen = Console()
    if screen.is_terminal:
        _print_for_people(screen, columns, rows, empty_columns)
        return
    for row in rows:
        click.echo("\t".join(cell.translate(_ON_ONE_LINE) for cell in row))


def _print_for_people(
    screen: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], empty_columns: bool
) -> None:
    indexes = range(len(columns))
    told = [
        index
        for index in indexes
        if empty_columns or not columns[index] or any(row[index] not in _EMPTY for row in rows)
    ]
    names = [index for index in indexes if columns[index] not in _WORDY and columns[index] != _REASON]
    inside = [index for index in indexes if index in names or (index in told and columns[index] != _REASON)]
    unlimited = screen.options.update_width(10 * screen.width)  # a measurement never exceeds what there is
    if screen.measure(_part(columns, rows, inside), options=unlimited).minimum > screen.width:
        inside = names
    screen.print(_part(columns, rows, inside), crop=False)
    for row in rows:
        for index in told:
            if index not in inside and (row[index] not in _EMPTY or (empty_columns and row[index])):
                line = f"{row[0]}: {columns[index].lower()}: {row[index]}"
                screen.print(line, markup=False, highlight=False, soft_wrap=True)


def _part(columns: Sequence[str], rows: Sequence[Sequence[str]], indexes: Sequence[int]) -> Table:
    return table([columns[index] for index in indexes], [[row[index] for index in indexes] for row in rows])


def print_json(document: object) -> None:
    """JSON, indented."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def compact_json(document: object) -> str:
    """JSON on one line."""
    return json.dumps(document, ensure_ascii=False)
