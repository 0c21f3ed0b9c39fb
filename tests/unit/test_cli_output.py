"""What the commands print behind a pipe."""

from __future__ import annotations

import re

import pytest

from conductor_grpc.cli.output import print_table


def test_a_row_is_one_line_whatever_its_cells_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("Task", "Reason"), [("a", "first\n\tsecond\r\n"), ("b", "[red]x[/red]")])
    assert capsys.readouterr().out == "a\tfirst  second  \nb\t[red]x[/red]\n"


ROWS = [
    ("python_task_example_ref_1", "python_task_example", "COMPLETED", "{}", '{"key": "value"}', ""),
    ("other", "other_task", "FAILED_WITH_TERMINAL_ERROR", "{}", "{}", "NonRetryableError: " + "why " * 40),
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_names_and_states_stay_whole_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("Task", "Type", "Status", "Input", "Output", "Reason"), ROWS)
    shown = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()]
    assert shown[0].split() == ["Task", "Type", "Status"]
    assert [line.split() for line in shown[2:4]] == [[*row[:3]] for row in ROWS]
    assert shown[4:] == [
        f'{ROWS[0][0]}: output: {{"key": "value"}}',
        f"other: reason: {ROWS[1][-1]}".rstrip(),
    ]


@pytest.mark.usefixtures("terminal")
def test_an_output_with_room_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("Task", "Input", "Output"), [("first", "{}", '{"key": "value"}'), ("second", "{}", "{}")])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert shown[0].split() == ["Task", "Output"]  # no column of inputs that are all empty
    assert [line.split() for line in shown[2:]] == [["first", '{"key":', '"value"}'], ["second", "{}"]]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("columns", ["80", "40"])
def test_what_is_empty_is_shown_if_it_matters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows = [("a_task_with_a_name_of_its_own", "{}", '{"key": "value"}')]
    print_table(("Task", "Input", "Output"), rows, empty_columns=True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    if columns == "80":
        assert shown[2].split() == [rows[0][0], "{}", '{"key":', '"value"}']
    else:
        assert shown[3:] == [f"{rows[0][0]}: input: {{}}", f'{rows[0][0]}: output: {{"key": "value"}}']
