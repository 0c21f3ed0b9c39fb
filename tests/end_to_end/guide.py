"""The README as data: its files and its command lines, so that the tests run what the reader is told to."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_TITLED = re.compile(r'^( *)```\w+ title="([^"]+)"\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)


def files() -> dict[str, str]:
    """The blocks with a title, by title."""
    return {title: textwrap.dedent(content) for _, title, content in _TITLED.findall(README)}


def commands(beginning: str) -> list[str]:
    """The lines `$ ...` of its shell blocks that begin so, in their order."""
    return [line for line in _COMMAND.findall(README) if line.startswith(beginning)]
