"""The guide from conductor-python: it has every public name, and every name of ours that it mentions exists."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
from pathlib import Path

import click
import pytest

import conductor_grpc
from conductor_grpc.cli.root import root

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "migration.md"
SOURCES = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))

NAMES: dict[str, list[str]] = json.loads(Path(__file__).with_name("conductor_python_names.json").read_text("utf-8"))
"""By the section of the guide: what `inspect` found in conductor-python 2.0.0, attributes and parameters included."""

_SPAN = re.compile(r"`([^`]+)`")


def cells(section: str, column: int) -> set[str]:
    """The names in code that a column of the tables of a section holds."""
    sections = re.split(r"^## ", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    (text,) = (each for each in sections if each.startswith(f"{section}\n"))
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in _SPAN.findall(row[column])}


OURS = sorted({name for section in NAMES for name in cells(section, 1)})


@pytest.mark.parametrize("section", NAMES)
def test_the_guide_has_every_name_and_no_other(section: str) -> None:
    assert cells(section, 0) == set(NAMES[section])


@pytest.mark.parametrize("name", OURS)
def test_names_of_ours_exist(name: str) -> None:
    if name.startswith("conductor-grpc "):
        assert isinstance(root, click.Group)
        assert name.split()[1] in root.commands
    elif name.startswith("CONDUCTOR_"):
        assert f'"{name}"' in SOURCES
    elif "(" in name:
        owner, parameter = re.fullmatch(r"(\w+)\((\w+)=\)", name).groups()  # type: ignore[union-attr]
        assert parameter in parameters(getattr(conductor_grpc, owner))
    else:
        assert resolved(name)


def parameters(owner: object) -> set[str]:
    assert callable(owner)
    taken = inspect.signature(owner).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values()):
        assert dataclasses.is_dataclass(owner)
        return {each.name for each in dataclasses.fields(owner)}
    return set(taken)


def resolved(name: str) -> bool:
    """Whether `Class.attribute`, `Class` or `module.Class` leads somewhere from the package."""
    first, _, last = name.partition(".")
    if not last:
        return first in conductor_grpc.__all__
    owner = getattr(conductor_grpc, first, None) or importlib.import_module(f"conductor_grpc.{first}")
    return hasattr(owner, last) or (dataclasses.is_dataclass(owner) and last in owner.__dataclass_fields__)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", GUIDE.read_text("utf-8")))))
def test_links_lead_somewhere(link: str) -> None:
    assert (GUIDE.parent / link).exists()
