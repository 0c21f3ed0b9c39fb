"""The pytest plugin as its users have it: a folder with tests, and pytest."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import conductor_grpc
from conductor_grpc import server, testing
from conductor_grpc.server import embedded
from conductor_grpc.testing import client, workers

if TYPE_CHECKING:
    from types import ModuleType

pytest_plugins = ["pytester"]

# An inner run in this process forgets the modules that it was the first to import, so that there would be two of each.
LOADED_BEFORE = (embedded, client, workers)

DEFINITIONS = """
TASK = {"name": "double", "retryCount": 0, "ownerEmail": "a@example.com"}
WORKFLOW = {
    "name": "doubling",
    "ownerEmail": "a@example.com",
    "tasks": [{"name": "double", "taskReferenceName": "ref", "inputParameters": {"x": "${workflow.input.x}"}}],
    "outputParameters": {"x": "${ref.output.x}"},
}
"""

WORKER = """
import threading

from conductor_grpc import worker_task

@worker_task("double")
def double(x: int):
    return {"x": 2 * x}
"""


def test_the_fixtures_are_there(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        DEFINITIONS
        + WORKER
        + """
def test_doubling(conductor_client, run_worker):
    conductor_client.register(TASK, WORKFLOW)
    run_worker(double)
    run = conductor_client.start("doubling", {"x": 21})
    run.assert_completed()
    assert run.output == {"x": 42}
"""
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_each_test_has_a_server_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        DEFINITIONS
        + """
import time
import pytest
from conductor_grpc import NotFoundError

@pytest.mark.parametrize("_", [1, 2])
def test_nothing_is_left_of_another(conductor_server, conductor_client, _):
    with pytest.raises(NotFoundError):
        conductor_client.start("doubling")
    assert abs(conductor_server.clock.now() / 1000 - time.time()) < 60
    conductor_client.register(TASK, WORKFLOW)
    conductor_client.start("doubling", {"x": 1})
    conductor_server.clock.advance(3600)
"""
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_a_test_that_fails_shows_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        DEFINITIONS
        + WORKER
        + """
def test_doubling(conductor_client, run_worker):
    conductor_client.register(TASK, WORKFLOW)
    run_worker(double)
    conductor_client.start("doubling", {"x": "many"}).assert_completed()
"""
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r">\s+conductor_client.start\(\"doubling\", \{\"x\": \"many\"\}\).assert_completed\(\)",
            r"E\s+AssertionError: workflow 'doubling' is FAILED, expected COMPLETED",
            r"E\s+input:  \{\"x\": \"many\"\}",
            r"E\s+TASK  TYPE    TRY  STATE\s+INPUT\s+OUTPUT",
            r"E\s+ref   double  0    FAILED_WITH_TERMINAL_ERROR  \{\"x\": \"many\"\}  \{\}",
            r"E\s+reason: InputError: x: expected int, got str 'many'",
            r"E\s+log \d\d:\d\d:\d\d\.\d\d\d ",
        ]
    )
    # The traceback ends in the user's line: what is below it is ours.
    assert "workflow_run.py" not in result.stdout.str()


def test_a_worker_that_does_not_end_fails_its_test_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        DEFINITIONS
        + """
import threading

from conductor_grpc import worker_task

over = threading.Event()

def test_stuck(conductor_client, run_worker):
    begun = threading.Event()

    @worker_task("double")
    def double():
        begun.set()
        over.wait()

    conductor_client.register(TASK, WORKFLOW)
    run_worker(double, drain_timeout=0.1)
    conductor_client.start("doubling")
    assert begun.wait(20)

def test_another(conductor_client):
    over.set()
    conductor_client.register(TASK, WORKFLOW)
"""
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.re_match_lines(
        [
            r"\*?.*ERROR at teardown of test_stuck",
            r"the workers of this test had problems:",
            r"1 task\(s\) still ran 0\.1 s after the test: ",
        ]
    )


def test_another_server_in_its_place(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import pytest
from conductor_grpc.server.embedded import EmbeddedServer

@pytest.fixture(scope="session")
def conductor_server():
    with EmbeddedServer(strict=True) as server:
        yield server
"""
    )
    pytester.makepyfile(
        DEFINITIONS
        + WORKER
        + """
def test_one(conductor_client):
    conductor_client.register(TASK, WORKFLOW)

def test_two(conductor_server, conductor_client, run_worker):
    assert conductor_server.strict
    run_worker(double)
    conductor_client.start("doubling", {"x": 1}).assert_completed()
"""
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_who_does_not_use_it_does_not_pay_for_it(pytester: pytest.Pytester) -> None:
    """And whoever measures coverage misses nothing: what is not loaded yet can still be measured."""
    pytester.makeconftest(
        """
import sys

def pytest_sessionfinish():
    print("loaded:", *sorted(name for name in sys.modules if name.partition(".")[0] in ("conductor_grpc", "grpc")))
"""
    )
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("-s", "-p", "no:cov")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*loaded: conductor_grpc conductor_grpc.lazy_names conductor_grpc.testing conductor_grpc.testing.plugin"]
    )


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(conductor_server): pass")
    result = pytester.runpytest_subprocess("-p", "no:conductor_grpc")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'conductor_server' not found"])


@pytest.mark.parametrize("module", [conductor_grpc, server, testing], ids=lambda module: module.__name__)
def test_names_that_are_loaded_late_are_those_that_are_declared(module: ModuleType) -> None:
    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    declared = {}
    for node in checked.body:
        if isinstance(node, ast.ImportFrom):
            declared.update({alias.name: node.module for alias in node.names})
    assert set(module.__all__) - {"__version__"} == declared.keys() == module._HOMES.keys()
    for name, home in declared.items():
        assert getattr(module, name) is getattr(sys.modules[str(home)], name)
    assert set(module.__all__) <= set(dir(module))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'conductor_grpc\.testing' has no attribute 'nonsense'"):
        testing.nonsense  # type: ignore[attr-defined]  # noqa: B018
