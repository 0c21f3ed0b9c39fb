"""The table in docs/embedded.md of what one server does and another does not, made from the cases' markers.

``python tests/contract/differences.py`` writes it into the page; a case of ``test_differences.py`` fails as long as
the page has another. A marker ``differs(backend, how)`` says how that server differs from what the case is named
for; it may stand on a case, on one set of its parameters, or on a whole module.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if __name__ == "__main__":  # pytest has it on its path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from markers import DOCS, imported, marks, replaced

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

CASES = Path(__file__).parent
PAGE = DOCS / "embedded.md"

SERVERS = {
    "embedded": "The embedded server, strict",
    "redis": "The real server on Redis",
    "sqlite": "The real server on SQLite",
}
"""By the backend that a marker names, in the order of the table."""


class Difference(NamedTuple):
    """One row: what a server does differently, and the cases that see it."""

    backend: str
    how: str
    cases: tuple[str, ...]


def differences(modules: Iterable[ModuleType]) -> list[Difference]:
    """The differences that the markers of these modules' cases name; those of the same words are one."""
    cases: dict[tuple[str, str], list[str]] = {}
    for module in modules:
        for case, mark in marks(module, "differs"):
            backend, how = mark.args
            if backend not in SERVERS:
                raise ValueError(f"{case} differs on {backend!r}, which is none of {', '.join(SERVERS)}")
            cases.setdefault((backend, how), []).append(case)
    found = [Difference(*key, tuple(dict.fromkeys(names))) for key, names in cases.items()]
    order = list(SERVERS)
    return sorted(found, key=lambda each: (order.index(each.backend), each.cases))


def table(found: Iterable[Difference]) -> str:
    """The rows as Markdown."""
    lines = ["| server | how it differs | seen by |", "|---|---|---|"]
    for each in found:
        cases = "<br>".join(f"`{case}`" for case in each.cases)
        lines.append(f"| {SERVERS[each.backend]} | {_sentence(each.how)} | {cases} |")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}".replace("|", r"\|")


def with_table(page: str, rows: str) -> str:
    """The page with these rows as its table."""
    return replaced(page, "differences", rows)


def case_modules() -> list[ModuleType]:
    """The modules of all contract cases, imported anew."""
    return imported(CASES.glob("test_*.py"), [CASES])


def main() -> None:
    page = PAGE.read_text("utf-8")
    PAGE.write_text(with_table(page, table(differences(case_modules()))), "utf-8")


if __name__ == "__main__":
    main()
