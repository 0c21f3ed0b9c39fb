"""From the catalogue and the markers to the tables of docs/features.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markers import DOCS, TESTS, imported, marks, replaced

from features.catalogue import BUGS, FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType

    from features.row import Bug, Feature

    Cases = Mapping[str, Sequence[str]]

PAGE = DOCS / "features.md"
FOLDERS = ("unit", "contract", "end_to_end", "faults", "simulation")


def modules_with_tests() -> list[ModuleType]:
    """All modules of tests, imported anew."""
    paths = (path for folder in FOLDERS for path in (TESTS / folder).glob("test_*.py"))
    return imported(paths, [TESTS / "contract", TESTS / "end_to_end"])


def cases_of(marker: str, modules: Iterable[ModuleType]) -> dict[str, list[str]]:
    """The cases that carry this marker, by the name that it gives."""
    found: dict[str, list[str]] = {}
    for module in modules:
        for case, mark in marks(module, marker):
            (name,) = mark.args
            found.setdefault(name, []).append(case)
    return {name: list(dict.fromkeys(cases)) for name, cases in found.items()}


def problems(rows: Iterable[Feature | Bug], cases: Cases) -> list[str]:
    """What is wrong with the rows and the markers, in words; nothing if they fit."""
    rows = list(rows)
    names = [row.name for row in rows]
    wrong = [f"{name!r} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for row in rows:
        if row.absent and row.name in cases:
            wrong.append(f"{row.name!r} is said to be absent, but {cases[row.name][0]} shows it")
        if not row.absent and row.name not in cases:
            wrong.append(f"no test shows {row.name!r}: mark one, or say why there is none (absent=True)")
    wrong += [f"{cases[name][0]} names {name!r}, which is no row" for name in cases if name not in names]
    return wrong


def feature_table(rows: Iterable[Feature], cases: Cases) -> str:
    """The rows as Markdown."""
    lines = ["| feature | here | shown by |", "|---|---|---|"]
    for row in rows:
        here = f"**Not there.** {row.here}" if row.absent else row.here
        here += f" ([more]({row.page}))" if row.page else ""
        lines.append(_line(_short(row), here, _shown(cases.get(row.name, ()))))
    return "\n".join(lines)


def bug_table(rows: Iterable[Bug], cases: Cases) -> str:
    """The rows as Markdown."""
    lines = ["| bug of | there | here | fails with the bug |", "|---|---|---|---|"]
    lines += [_line(_short(row), row.what, row.here, _shown(cases.get(row.name, ()))) for row in rows]
    return "\n".join(lines)


def _short(row: Feature | Bug) -> str:
    # The table says already which SDK it is about.
    return row.name.removeprefix("conductor-python: ")


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _shown(cases: Sequence[str]) -> str:
    return "<br>".join(f"`{case}`" for case in cases) or "none"


def with_tables(page: str, modules: Sequence[ModuleType]) -> str:
    """The page with the latest tables."""
    features, bugs = cases_of("feature", modules), cases_of("bug", modules)
    for name, rows in FEATURES.items():
        page = replaced(page, name, feature_table(rows, features))
    for name, found in BUGS.items():
        page = replaced(page, name, bug_table(found, bugs))
    return page


def write() -> None:
    """Write the tables into the page."""
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), modules_with_tests()), "utf-8")
