"""The README and the pages in docs/ as data: their files and their command lines, so that the tests run what the
reader is told to."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

_TITLED = re.compile(r'^( *)```\w+ title="([^"]+)"\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)


def files(page: str = "README.md") -> dict[str, str]:
    """The blocks with a title, by title."""
    return {title: textwrap.dedent(content) for _, title, content in _TITLED.findall(text(page))}


def write_files(folder: Path, page: str = "README.md") -> None:
    """Makes a folder as it is when the reader has typed everything."""
    for name, content in files(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def commands(beginning: str, page: str = "README.md") -> list[str]:
    """The lines `$ ...` of its shell blocks that begin so, in their order."""
    return [line for line in _COMMAND.findall(text(page)) if line.startswith(beginning)]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")
