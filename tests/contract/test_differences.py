"""The table of differences: how it is made of markers, and that docs/embedded.md has the latest."""

from __future__ import annotations

import inspect
import re
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from differences import PAGE, SERVERS, Difference, case_modules, differences, table, with_table

if TYPE_CHECKING:
    from collections.abc import Iterator


def module(**members: object) -> ModuleType:
    made = ModuleType("test_some")
    made.__file__ = "/somewhere/test_some.py"
    vars(made).update(members)
    return made


def case(*marks: pytest.MarkDecorator) -> object:
    return SimpleNamespace(pytestmark=[each.mark for each in marks])


def test_markers_of_the_same_words_are_one_difference() -> None:
    slow, fast = pytest.mark.differs("redis", "is slow"), pytest.mark.differs("embedded", "is fast")
    parametrized = pytest.mark.parametrize("n", [1, pytest.param(2, marks=[slow])])
    found = differences([module(test_one=case(slow), test_two=case(fast, parametrized), test_three=case())])
    assert found == [
        Difference("embedded", "is fast", ("test_some.py::test_two",)),
        Difference("redis", "is slow", ("test_some.py::test_one", "test_some.py::test_two")),
    ]


@pytest.mark.parametrize("marks", [pytest.mark.differs("redis", "is slow"), [pytest.mark.differs("redis", "is slow")]])
def test_a_module_may_differ_as_a_whole(marks: object) -> None:
    assert differences([module(pytestmark=marks)]) == [Difference("redis", "is slow", ("test_some.py",))]


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"test_some\.py::test_one differs on 'mysql'"):
        differences([module(test_one=case(pytest.mark.differs("mysql", "is slow")))])


def test_the_table() -> None:
    rows = table([Difference("redis", "is a|b", ("one", "two"))]).splitlines()
    assert rows[2:] == [r"| The real server on Redis | Is a\|b | `one`<br>`two` |"]


def test_the_table_takes_the_place_of_the_old_one() -> None:
    begin, end = "<!-- differences: begin -->", "<!-- differences: end -->"
    assert with_table(f"before\n{begin}\nold\n{end}\nafter", "new") == f"before\n{begin}\nnew\n{end}\nafter"
    with pytest.raises(ValueError, match="the page needs one"):
        with_table(f"{begin}\n", "new")


@pytest.fixture(scope="module")
def modules() -> list[ModuleType]:
    return case_modules()


def test_the_page_has_the_latest_table(modules: list[ModuleType]) -> None:
    rows = table(differences(modules))
    page = PAGE.read_text("utf-8")
    assert with_table(page, rows) == page, "it is out of date: run `python tests/contract/differences.py`"


def test_a_case_that_asks_for_a_backend_by_name_says_so(modules: list[ModuleType]) -> None:
    """Who tells servers apart carries the marker, or the table would not know of it."""
    assert [name for each in modules for name in unmarked(each)] == []


def unmarked(module: ModuleType) -> Iterator[str]:
    """Cases that compare the server's name with a backend's without a marker for that backend."""
    for name, function in vars(module).items():
        if name.startswith("test_") and inspect.isfunction(function):
            asked = re.findall(r"server\.name [!=]= \"(\w+)\"", inspect.getsource(function))
            alone = module_of(module, name)
            for backend in set(asked) & SERVERS.keys():
                if not any(each.backend == backend for each in differences([alone])):
                    yield f"{module.__name__}: {name} asks for {backend}"


def module_of(module: ModuleType, name: str) -> ModuleType:
    """This case alone, with what stands on its module as a whole."""
    alone = ModuleType(module.__name__)
    alone.__file__ = module.__file__
    vars(alone).update({name: vars(module)[name], "pytestmark": getattr(module, "pytestmark", [])})
    return alone
