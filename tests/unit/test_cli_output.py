"""What the commands print behind a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.cli.output import print_table

if TYPE_CHECKING:
    import pytest


def test_a_row_is_one_line_whatever_its_cells_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("Task", "Reason"), [("a", "first\n\tsecond\r\n"), ("b", "[red]x[/red]")])
    assert capsys.readouterr().out == "a\tfirst  second  \nb\t[red]x[/red]\n"
