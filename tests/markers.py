"""Tables in docs/ that are made from the markers of tests: what marks stand where, and the page's part they fill."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"


def imported(paths: Iterable[Path], folders: Iterable[Path] = ()) -> list[ModuleType]:
    """These test modules, imported anew, with the folders of their helpers on the path."""
    sys.path += [str(folder) for folder in (TESTS, *folders) if str(folder) not in sys.path]
    return [_imported(path) for path in sorted(paths)]


def _imported(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"marks_of_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for the names in their annotations
    specification.loader.exec_module(module)
    return module


def marks(module: ModuleType, name: str) -> Iterator[tuple[str, Any]]:
    """Every mark of this name in a module, with the case or file that it stands on; one on a set of parameters
    counts for its case."""
    file = Path(str(module.__file__)).name
    yield from ((file, mark) for mark in _named(name, getattr(module, "pytestmark", [])))
    for case, function in vars(module).items():
        if case.startswith("test_"):
            own = getattr(function, "pytestmark", [])
            nested = [mark for each in own if each.name == "parametrize" for mark in _of_parameters(each)]
            yield from ((f"{file}::{case}", mark) for mark in _named(name, [*own, *nested]))


def _of_parameters(parametrize: Any) -> Iterator[Any]:
    values = parametrize.args[1] if len(parametrize.args) > 1 else parametrize.kwargs["argvalues"]
    for value in values:
        yield from getattr(value, "marks", ())  # only `pytest.param` has them


def _named(name: str, found: Any) -> list[Any]:
    listed = found if isinstance(found, list) else [found]
    unwrapped = [getattr(mark, "mark", mark) for mark in listed]  # `pytest.mark.x` holds the mark itself
    return [mark for mark in unwrapped if mark.name == name]


def replaced(page: str, name: str, rows: str) -> str:
    """The page with these rows between its comments `<!-- name: begin -->` and `<!-- name: end -->`.

    Raises ValueError if it does not have both, once.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs one {begin} and one {end}, for the table to go between")
    return re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{rows}\n{end}", page, flags=re.DOTALL)
