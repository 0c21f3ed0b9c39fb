"""Imports point downward only: what a room needs when it is imported stands below it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import conductor_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(conductor_grpc.__file__).parent

LEVELS = [
    {"errors", "lazy_names", "headers", "_core", "pb"},
    {"payload"},
    {"transport", "definitions"},
    {"worker"},
    {"configuration"},
    {"clients"},
    {"registration"},
    {"poller"},
    {"observe"},
    {"handler", "doctor", "server"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
ROOMS = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())


def imports(body: list[ast.stmt]) -> Iterator[str]:
    """The modules that are imported along with one: not what only a type checker sees, nor what functions import when
    they are called."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (
                [node.module] if node.module != "conductor_grpc" else [f"{node.module}.{n.name}" for n in node.names]
            )
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from imports([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from imports([*node.body, *(each for handler in node.handlers for each in handler.body)])
        elif isinstance(node, ast.ClassDef):
            yield from imports(node.body)


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in ("pb", "__init__")])
def test_a_room_imports_from_below_only(room: str) -> None:
    assert room in LEVEL, f"say in LEVELS where {room} stands"
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else sorted((PACKAGE / room).rglob("*.py"))
    needed = [
        (file, module.split(".")[1])
        for file in files
        for module in imports(ast.parse(file.read_text("utf-8")).body)
        if module.startswith("conductor_grpc.")
    ]
    upward = [
        f"{file.relative_to(PACKAGE)} imports {other}"
        for file, other in needed
        if other != room and LEVEL[other] >= LEVEL[room]
    ]
    assert not upward
