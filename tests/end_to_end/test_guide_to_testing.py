"""What the pages about testing and about the embedded server tell their readers to write and to run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from guide import ROOT, commands, text, write_files

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/testing.md"


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, cwd=folder, text=True, timeout=120
    )


# The tests run with an editable install, and pytest tells each time that it does not rewrite what that is found by.
WITHOUT_WARNING = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def outcome(folder: Path, *arguments: str) -> str:
    """The last line of pytest, run in that folder as its reader does."""
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, folder=folder)
    last = done.stdout.splitlines()[-1]
    assert "failed" not in last, done.stdout
    assert "error" not in last, done.stdout
    return re.sub(r" in .*", "", last)


def test_the_readme(tmp_path: Path) -> None:
    write_files(tmp_path)
    (line,) = commands("python -m pytest test_")
    assert outcome(tmp_path, *shlex.split(line)[3:], *WITHOUT_WARNING) == "2 passed"


@pytest.mark.feature("conductor-python: test helpers")
def test_the_page_about_testing(tmp_path: Path) -> None:
    write_files(tmp_path, PAGE)
    assert outcome(tmp_path, *WITHOUT_WARNING) == "9 passed"
    done = python("-m", "unittest", "without_pytest", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "OK"), done.stderr


def test_the_report_that_it_shows(tmp_path: Path) -> None:
    """But for ids and times, which are another's each time."""
    write_files(tmp_path, PAGE)
    failing = (tmp_path / "test_greeting.py").read_text().replace('{"name": "Ada"})\n', '{"name": 5})\n')
    (tmp_path / "test_greeting.py").write_text(failing)
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_greeting.py", folder=tmp_path)
    shown = [line[2:].strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    (promised,) = re.findall(r"^```text\n(.*?)^```$", text(PAGE), re.MULTILINE | re.DOTALL)
    assert [told(line) for line in shown] == [told(line.strip()) for line in promised.splitlines()]


def told(line: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d\d:\d\d:\d\d\.\d{3}", "#", line)


@pytest.mark.feature("Test server, skipping of time")
def test_the_page_about_the_embedded_server(tmp_path: Path) -> None:
    write_files(tmp_path, "docs/embedded.md")
    (line,) = commands("python in_process.py", "docs/embedded.md")
    done = python(*shlex.split(line)[1:], folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "COMPLETED {'number': 42}\n", "")


@pytest.mark.parametrize("where", [ROOT, ROOT / "examples"], ids=["from the checkout", "from their folder"])
def test_the_tests_of_the_examples(where: Path) -> None:
    assert outcome(where, *(["examples"] if where == ROOT else [])) == "8 passed"
