"""`conductor-grpc run MODULE[:name]`: which workers that means, and what is said when it means none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.errors import WorkerDefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMPORTS = """
from conductor_grpc import TaskResult, WorkerInterface, worker_task

class Idle(WorkerInterface):
    def execute(self, task):
        return self.get_task_result_from_task(task)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def types_of(where: str) -> list[str]:
    return [worker.task_definition_name for worker in find_workers(where)]


@pytest.mark.feature("conductor-python: discovery of workers")
def test_all_workers_of_a_module_each_once(folder: Path) -> None:
    (folder / "several.py").write_text(
        IMPORTS
        + """
first = Idle("first")
listed = [Idle("second"), first]
tupled = (Idle("third"),)
mixed = [Idle("not me"), "text"]
nothing = []

@worker_task("fourth")
def fourth():
    pass
"""
    )
    assert types_of("several") == ["first", "second", "third", "fourth"]
    assert types_of("several.py") == types_of(str(folder / "several.py")) == types_of("several")


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("one", ["one"]),
        ("some", ["one", "two"]),
        ("make_one", ["made"]),
        ("make_some", ["made", "too"]),
        ("plain", ["f"]),
    ],
)
def test_a_named_one(folder: Path, name: str, types: list[str]) -> None:
    (folder / "named.py").write_text(
        IMPORTS
        + """
one = Idle("one")
some = [one, Idle("two")]
def make_one():
    return Idle("made")
def make_some():
    return [Idle("made"), Idle("too")]
@worker_task("f")
def plain():
    raise AssertionError("called")
"""
    )
    assert types_of(f"named:{name}") == types


def test_a_module_in_a_package_of_the_current_folder(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "orders.py").write_text(IMPORTS + "order = Idle('order')\n")
    assert types_of("shop.orders") == ["order"]


def test_a_file_imports_its_neighbours(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "neighbour.py").write_text(IMPORTS + "found = Idle('neighbour')\n")
    (folder / "deep" / "front.py").write_text("from neighbour import found\n")
    assert types_of("deep/front.py") == ["neighbour"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("good_worker", r"no module named 'good_worker' .*did you mean good_workers\?"),
        ("good_worker.py", r"there is no file .*good_worker\.py \(did you mean good_workers\.py\?\)"),
        ("nowhere/workers.py", r"there is no file .*nowhere/workers\.py$"),
        ("package.wrong", r"no module named 'package\.wrong' .*did you mean package\.wrongs\?"),
        ("good_workers:idel", r"good_workers has no 'idel' \(did you mean idle\?\)"),
        ("good_workers:xyz", r"good_workers has no 'xyz'; its workers are \w+"),
        ("package:xyz", r"package has no 'xyz'; it is a package, so name a module of it: package\.\w+"),
        ("good_workers:number", r"7 is not a worker: expected an instance of WorkerInterface"),
        ("good_workers:Idle", r"is not a worker: give an instance, Idle\('task_definition_name'\)"),
        ("good_workers:make_nothing", r"good_workers:make_nothing\(\) returned None, expected a worker"),
        ("good_workers:needs", r"good_workers:needs\(\) fails: TypeError: .*missing 1 required positional"),
        ("good_workers:empty", r"good_workers has no workers"),
        (
            "only_a_class",
            r"only_a_class has no workers: it has the class Mine, so add .*workers = \[Mine\('TASK_TYPE'\)\]",
        ),
        ("bare", r"bare has no workers: decorate a function with @worker_task"),
        ("raises", r"importing raises fails: ZeroDivisionError: .*raises\.py, line 2\)"),
        ("bad_syntax.py", r"importing bad_syntax\.py fails: SyntaxError: [^()]* \(\S*bad_syntax\.py, line 1\)$"),
        ("misses", r"importing misses fails: ModuleNotFoundError: No module named 'surely_not_there' .*line 1\)"),
        ("leaves", r"importing leaves fails: SystemExit: 3"),
        ("declares", r"importing declares fails: WorkerDefinitionError: .* \(\S*declares\.py, line 4\)$"),
        ("good_workers:breaks", r"good_workers:breaks\(\) fails: ZeroDivisionError: .*good_workers\.py, line 12\)$"),
        ("far.py", r"there is no file .*far\.py$"),
        ("json.py", r"json\.py cannot be imported: Python has another module named 'json'"),
        ("", r"'' is no name of a module"),
        ("..up", r"'\.\.up' is no name of a module"),
    ],
)
def test_what_is_said(folder: Path, where: str, said: str) -> None:
    (folder / "good_workers.py").write_text(
        IMPORTS + "idle = Idle('idle')\nnumber = 7\nempty = []\ndef make_nothing(): pass\ndef needs(value): pass\n"
        "def breaks(): 1 / 0\n"
    )
    (folder / "package").mkdir()
    (folder / "package" / "wrongs.py").touch()
    (folder / "only_a_class.py").write_text(IMPORTS + "class Mine(Idle): pass\n" + "del Idle\n")
    (folder / "bare.py").write_text("import json\n")
    (folder / "raises.py").write_text("\n1 / 0\n")
    (folder / "bad_syntax.py").write_text("def :\n")
    (folder / "misses.py").write_text("import surely_not_there\n")
    (folder / "leaves.py").write_text("raise SystemExit(3)\n")
    (folder / "declares.py").write_text(
        "from conductor_grpc import worker_task\n\ndef nameless():\n    return worker_task('')\n\nnameless()\n"
    )
    (folder / "json.py").touch()
    with pytest.raises(WorkerDefinitionError, match=said):
        find_workers(where)


def test_a_function_is_announced_before_it_is_called(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "loud.py").write_text(
        IMPORTS + "import sys\ndef main():\n    print('in main', file=sys.stderr)\n    return Idle('a')\n"
    )
    assert types_of("loud:main") == ["a"]
    assert capsys.readouterr().err.splitlines() == ["calling loud:main for its workers", "in main"]
