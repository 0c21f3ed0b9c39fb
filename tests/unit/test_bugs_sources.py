"""Bugs of other worker SDKs that show in the sources themselves, or as soon as they are imported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "conductor_grpc"
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if "pb" not in path.relative_to(PACKAGE).parts]

_PLACEHOLDER = re.compile(r"(?<![{$])\{[a-z_][\w.]*(\([^{}]*\))?(![rsa])?(:[^{}]*)?\}(?!\})")


_LOGGING = ("debug", "info", "warning", "error", "critical", "exception", "log")


def unfilled(source: str) -> Iterator[str]:
    """Texts with `{name}` in what is logged or raised, outside of f-strings."""
    for each in ast.walk(ast.parse(source)):
        name = getattr(each.func, "attr", getattr(each.func, "id", "")) if isinstance(each, ast.Call) else ""
        if name in _LOGGING or isinstance(each, ast.Raise):
            filled = {id(part) for f in ast.walk(each) if isinstance(f, ast.JoinedStr) for part in ast.walk(f)}
            for part in ast.walk(each):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in filled:
                    yield from (found.group() for found in _PLACEHOLDER.finditer(part.value))


@pytest.mark.bug("pubsub: literal braces")
def test_no_text_has_a_placeholder_that_nobody_fills() -> None:
    example = 'logger.info("retrying {len(requests)}", f"{filled}", "{}", "${workflow.input.x}"); raise E("{name!r}")'
    assert sorted(unfilled(example)) == ["{len(requests)}", "{name!r}"]
    assert {path.name: found for path in SOURCES if (found := list(unfilled(path.read_text("utf-8"))))} == {}


@pytest.mark.bug("Hatchet: killed threads")
@pytest.mark.bug("Temporal: exception after the end")
def test_nobody_raises_anything_in_another_thread() -> None:
    native = [path for folder in ("cpp", "src") for path in (ROOT / folder).rglob("*.[ch]pp")]
    texts = {path.name: path.read_text("utf-8") for path in (*SOURCES, *native)}
    assert [name for name, text in texts.items() if "SetAsyncExc" in text] == []


@pytest.mark.feature("conductor-python: import without side effects")
def test_an_import_changes_nothing_in_the_process() -> None:
    program = """
import logging, multiprocessing, os, signal, threading
before = dict(os.environ), [signal.getsignal(each) for each in signal.valid_signals()], logging.root.handlers[:]
from conductor_grpc import *
assert before == (
    dict(os.environ), [signal.getsignal(each) for each in signal.valid_signals()], logging.root.handlers
)
assert multiprocessing.get_start_method(allow_none=True) is None
assert threading.active_count() == 1, threading.enumerate()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
