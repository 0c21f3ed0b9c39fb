"""`conductor-grpc demo`: one command from nothing to two completed workflows."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from guide import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_server


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conductor_grpc", "demo", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_both_examples_complete() -> None:
    done = demo()
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert sorted(row[:4] for row in rows) == [
        ["workflow_with_cpp_task_example", "COMPLETED", "{}", '{"workerOutput": {"sum": 3}}'],
        ["workflow_with_python_task_example", "COMPLETED", "{}", '{"workerOutput": {"key": "value"}}'],
    ]
    assert "workflow_with_cpp_task_example RUNNING: cpp_task_example_ref_0 SCHEDULED" in done.stderr


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
