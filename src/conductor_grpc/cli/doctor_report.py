"""The doctor's report for people, and what is shown while they wait for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conductor_grpc.cli.output import print_table
from conductor_grpc.doctor import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from conductor_grpc.doctor import Finding

_STYLES = {Severity.OK: "green", Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}

_PLURALS = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.NOTE: "notes"}


class Progress:
    """On a terminal the name of the check that is made, on stderr; elsewhere nothing."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("checking") if self._console.is_terminal else None

    def __call__(self, name: str) -> None:
        if self._status is not None:
            self._status.update(f"checking {name}")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def print_report(findings: Sequence[Finding]) -> None:
    """On a terminal a table, the worst last, where it is seen; behind a pipe one line a finding, with tabs."""
    ordered = sorted(findings, key=lambda finding: finding.severity)
    screen = Console()
    if not screen.is_terminal:
        columns = ("Severity", "Code", "Found", "Expected", "Remedy")
        rows = [(each.severity.name.lower(), each.code, each.found, each.expected, each.remedy) for each in ordered]
        print_table(columns, rows)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("Check", no_wrap=True)
    table.add_column("Found", overflow="fold")
    for each in ordered:
        severity = Text(each.severity.name.lower(), style=_STYLES[each.severity])
        table.add_row(severity, Text(each.code), _cell(each))
    screen.print(table)
    click.echo(_sum(findings))


def _cell(finding: Finding) -> Text:
    cell = Text(finding.found)
    if finding.expected:
        cell.append(f"\nexpected: {finding.expected}", style="dim")
    if finding.remedy:
        cell.append(f"\nremedy: {finding.remedy}", style="bold")
    return cell


def _sum(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.severity for finding in findings)
    told = [
        f"{counts[each]} {name if counts[each] > 1 else name[:-1]}" for each, name in _PLURALS.items() if counts[each]
    ]
    return ", ".join(told) or "all is well"
