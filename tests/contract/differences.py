"""The table in docs/embedded.md of what one server does and another does not, made from the cases' markers.

``python tests/contract/differences.py`` writes it into the page; a case of ``test_differences.py`` fails as long as
the page has another. A marker ``differs(backend, how)`` says how that server differs from what the case is named
for; it may stand on a case, on one set of its parameters, or on a whole module.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

CASES = Path(__file__).parent
PAGE = CASES.parents[1] / "docs" / "embedded.md"
BEGIN = "<!-- differences: begin -->"
END = "<!-- differences: end -->"

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
        for case, mark in _marks(module):
            backend, how = mark.args
            if backend not in SERVERS:
                raise ValueError(f"{case} differs on {backend!r}, which is none of {', '.join(SERVERS)}")
            cases.setdefault((backend, how), []).append(case)
    found = [Difference(*key, tuple(dict.fromkeys(names))) for key, names in cases.items()]
    order = list(SERVERS)
    return sorted(found, key=lambda each: (order.index(each.backend), each.cases))


def _marks(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Every `differs` marker of a module, with the case or file that it stands on."""
    file = Path(str(module.__file__)).name
    yield from ((file, mark) for mark in _differing(getattr(module, "pytestmark", [])))
    for name, function in vars(module).items():
        if name.startswith("test_"):
            marks = getattr(function, "pytestmark", [])
            nested = [mark for each in marks if each.name == "parametrize" for mark in _of_parameters(each)]
            yield from ((f"{file}::{name}", mark) for mark in _differing([*marks, *nested]))


def _of_parameters(parametrize: Any) -> Iterator[Any]:
    values = parametrize.args[1] if len(parametrize.args) > 1 else parametrize.kwargs["argvalues"]
    for value in values:
        yield from getattr(value, "marks", ())  # only `pytest.param` has them


def _differing(marks: Any) -> list[Any]:
    listed = marks if isinstance(marks, list) else [marks]
    unwrapped = [getattr(mark, "mark", mark) for mark in listed]  # `pytest.mark.x` holds the mark itself
    return [mark for mark in unwrapped if mark.name == "differs"]


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
    """The page with these rows between its two marks. Raises ValueError if it does not have both, once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs one {BEGIN} and one {END}, for the table to go between")
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n{rows}\n{END}", page, flags=re.DOTALL)


def case_modules() -> list[ModuleType]:
    """The modules of all contract cases, imported anew."""
    for folder in (CASES, CASES.parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return [_imported(path) for path in sorted(CASES.glob("test_*.py"))]


def _imported(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"differences_of_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for the names in their annotations
    specification.loader.exec_module(module)
    return module


def main() -> None:
    page = PAGE.read_text("utf-8")
    PAGE.write_text(with_table(page, table(differences(case_modules()))), "utf-8")


if __name__ == "__main__":
    main()
