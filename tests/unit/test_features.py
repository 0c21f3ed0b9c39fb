"""The tables of features and bugs: how they are made of markers, and that docs/features.md has the latest."""

from __future__ import annotations

import re
from types import ModuleType, SimpleNamespace

import pytest
from features.catalogue import BUGS, FEATURES
from features.page import PAGE, bug_table, cases_of, feature_table, modules_with_tests, problems, with_tables
from features.row import Bug, Feature
from markers import DOCS

ROWS = [row for rows in FEATURES.values() for row in rows]
BUG_ROWS = [row for rows in BUGS.values() for row in rows]


@pytest.fixture(scope="module")
def modules() -> list[ModuleType]:
    return modules_with_tests()


def test_markers_are_gathered_by_the_name_they_give() -> None:
    module = ModuleType("test_some")
    module.__file__ = "/somewhere/test_some.py"
    vars(module)["test_one"] = SimpleNamespace(pytestmark=[pytest.mark.feature("Lease").mark])
    vars(module)["test_two"] = SimpleNamespace(pytestmark=[pytest.mark.feature("Lease").mark])
    assert cases_of("feature", [module]) == {"Lease": ["test_some.py::test_one", "test_some.py::test_two"]}


@pytest.mark.parametrize(
    ("rows", "cases", "wrong"),
    [
        ([Feature("a", "so")], {"a": ["test_a"]}, []),
        ([Feature("a", "since", absent=True)], {}, []),
        ([Feature("a", "so")], {}, ["no test shows 'a': mark one, or say why there is none (absent=True)"]),
        ([Feature("a", "", absent=True)], {"a": ["test_a"]}, ["'a' is said to be absent, but test_a shows it"]),
        ([], {"b": ["test_b"]}, ["test_b names 'b', which is no row"]),
        ([Feature("a", ""), Feature("a", "")], {"a": ["test_a"]}, ["'a' is there twice"]),
    ],
)
def test_rows_and_markers_that_do_not_fit(rows: list[Feature], cases: dict[str, list[str]], wrong: list[str]) -> None:
    assert problems(rows, cases) == wrong


def test_a_row_without_a_test_is_there_and_says_so() -> None:
    rows = feature_table([Feature("a|b", "since", "x.md", absent=True), Feature("conductor-python: c", "so")], {})
    assert rows.splitlines()[2:] == [r"| a\|b | **Not there.** since ([more](x.md)) | none |", "| c | so | none |"]
    assert bug_table([Bug("a", "there", "here")], {"a": ["t", "u"]}).splitlines()[2:] == [
        "| a | there | here | `t`<br>`u` |"
    ]


def test_every_feature_has_a_test_or_a_reason(modules: list[ModuleType]) -> None:
    assert problems(ROWS, cases_of("feature", modules)) == []


def test_every_bug_has_a_test_or_a_reason(modules: list[ModuleType]) -> None:
    assert problems(BUG_ROWS, cases_of("bug", modules)) == []


def test_the_page_has_the_latest_tables(modules: list[ModuleType]) -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page, modules) == page, "it is out of date: run `PYTHONPATH=tests python -m features`"


@pytest.mark.parametrize("link", sorted({row.page for row in ROWS if row.page}))
def test_links_lead_to_a_page_and_its_heading(link: str) -> None:
    file, _, anchor = link.partition("#")
    headings = re.findall(r"^#+ (.*)$", (DOCS / file).read_text("utf-8"), flags=re.MULTILINE)
    assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
