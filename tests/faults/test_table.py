"""The command says how it went: a line for each row, a sum, an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from faults import __main__ as command
from faults.row import Row, Twice
from faults.scene import SMALL, Outcome
from faults.table import Result, summary

if TYPE_CHECKING:
    from pathlib import Path


def result(may_repeat: Twice = Twice.NONE, **counts: int) -> Result:
    row = Row("hail", "hail for {outage:.0f} s", lambda _scene: None, may_repeat)
    return Result("sqlite", row, Outcome(tasks=100, fired=3, fault="stones", notes=["it hailed"], **counts), SMALL)


@pytest.mark.parametrize(
    ("rows", "code", "last"),
    [
        ([result(), result()], 0, "2 rows, 0 failed; 200 tasks, 0 results lost, 0 stranded, 0 ran twice (0)"),
        (
            [result(Twice.UNFINISHED, twice=5)],
            0,
            "1 rows, 0 failed; 100 tasks, 0 results lost, 0 stranded, 5 ran twice (0)",
        ),
        (
            [result(lost=2, stranded=1), result(Twice.UNFINISHED, twice=4, needlessly=1), result()],
            1,
            "3 rows, 2 failed (hail, hail); 300 tasks, 2 results lost, 1 stranded, 4 ran twice (1)",
        ),
        ([result(twice=1)], 1, "1 rows, 1 failed (hail); 100 tasks, 0 results lost, 0 stranded, 1 ran twice (0)"),
    ],
)
def test_the_last_line_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows: list[Result], code: int, last: str
) -> None:
    monkeypatch.setattr(command, "_rows", lambda *_: rows)
    file = tmp_path / "table.md"
    ended = CliRunner().invoke(command.main, ["--markdown", str(file)])
    assert ended.exit_code == code
    assert ended.output.splitlines()[-1] == last == summary(rows)
    assert last in file.read_text().splitlines()


def test_the_table_as_markdown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    monkeypatch.setattr(command, "_rows", lambda *_: [result(), result(lost=2)])
    CliRunner().invoke(command.main, ["--markdown", str(file)])
    lines = file.read_text().splitlines()
    assert lines[0].startswith("| server | fault | fired | tasks | results lost |")
    assert lines[2] == "| sqlite | hail for 2 s | 3 stones | 100 | 0 | 0 | 0 | 0 | ok |"
    assert lines[3] == "| sqlite | hail for 2 s | 3 stones | 100 | 2 | 0 | 0 | 0 | FAILED |"
    assert lines[6] == "* sqlite, hail for 2 s: 2 results lost; it hailed"
