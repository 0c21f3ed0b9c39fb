"""Functions of a pybind11 extension as workers, bound by what its docstrings say."""

from __future__ import annotations

import importlib
import os
import pickle
import shlex
import subprocess
import sys
import sysconfig
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from executor_bench import Bench

from conductor_grpc import InputError, Task, TaskResult, WorkerDefinitionError, _core, get_include, worker_task
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.native import plan_native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = r"""
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>
#include "conductor_grpc/pybind11_cancellation.hpp"
namespace py = pybind11;
std::atomic<int> inside{0};
int together(int count) {  // returns only once so many calls are inside at the same time
    ++inside;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (inside < count && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return inside;
}
bool wait(const conductor_grpc::Cancellation& cancellation, int seconds) {
    ++inside;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) {
        cancellation.throw_if_cancelled();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
}
PYBIND11_MODULE(native_workers, module) {
    const py::call_guard<py::gil_scoped_release> unlocked;
    module.def("add", [](int a, int b) { return a + b; }, py::arg("a"), py::arg("b") = 2, unlocked);
    module.def("join", [](const std::vector<std::string>& words, const std::string& by) {
        std::string text; for (const auto& word : words) text += word + by; return text;
    }, py::arg("words"), py::arg("by") = ", :) ", "Joins words.\n\nReally.");
    module.def("together", &together, py::arg("count"), unlocked);
    module.def("wait", &wait, py::arg("cancellation"), py::arg("seconds"), unlocked);
    module.def("inside", [] { return inside.load(); });
    module.def("fails", [](int a) -> int { throw std::runtime_error("no " + std::to_string(a)); }, py::arg("a"));
    module.def("refuses", [](py::object a) -> int { throw py::type_error("a is no good"); }, py::arg("a"));
    module.def("unnamed", [](int a) { return a; });
    module.def("overloaded", [](int a) { return a; }, py::arg("a"));
    module.def("overloaded", [](const std::string& a) { return a; }, py::arg("a"));
    module.def("several", [](py::args a) { return a.size(); });
}
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("native_workers")
    source = folder / "native_workers.cpp"
    source.write_text(SOURCE)
    includes = subprocess.run(
        [sys.executable, "-m", "pybind11", "--includes"], check=True, capture_output=True, text=True
    )
    library = folder / f"native_workers{sysconfig.get_config_var('EXT_SUFFIX')}"
    compiler = [*shlex.split(os.environ.get("CXX", "c++")), "-std=c++17", "-shared", "-fPIC"]
    headers = [*shlex.split(includes.stdout), f"-I{get_include()}"]
    command = [*compiler, *headers, str(source), "-o", str(library)]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("native_workers")
        patch.delitem(sys.modules, "native_workers")


def output(function: Any, **inputs: Any) -> object:
    result = call_worker(worker_task("t")(function), inputs)
    assert result.output_data is not None, result.reason_for_incompletion
    return result.output_data.get("result")


def reason(function: Any, **inputs: Any) -> str:
    result: TaskResult = call_worker(worker_task("t")(function), inputs)
    return f"{result.status}: {result.reason_for_incompletion}"


def test_inputs_are_bound_by_name(extension: Any) -> None:
    assert output(extension.add, b=30, a=12, other="ignored") == 42
    assert output(extension.add, a=1) == 3
    assert output(extension.add, a=1, b=None) == 3, "null counts as absent where there is a default"
    assert output(extension.join, words=["a", "b"]) == "a, :) b, :) "
    assert output(_core.get_sum, a=1, b=2) == 3


def test_an_input_that_does_not_fit_is_an_input_error_that_says_what_was_expected(extension: Any) -> None:
    said = reason(extension.add, a="x", b=1)
    assert said.startswith("FAILED_WITH_TERMINAL_ERROR: InputError: a, b: expected add(a: ")
    assert said.endswith("got a = 'x' (str), b = 1 (int)")
    assert "InputError: a: missing, and it has no default (given: 'c'); the function is add(" in reason(
        extension.add, c=1
    )


def test_what_the_function_itself_throws_stays_as_it_is(extension: Any) -> None:
    assert reason(extension.fails, a=1) == "FAILED: RuntimeError: no 1"
    assert reason(extension.refuses, a=1) == "FAILED: TypeError: a is no good"


def test_it_stays_a_function_and_pickles_with_its_settings(extension: Any) -> None:
    worker = worker_task("plus", concurrency=3, domain="blue", lease=False)(extension.add)
    assert worker(1, b=5) == 6
    assert (worker.executor, repr(worker)[:17]) == ("native", "<worker 'plus': n")
    again = pickle.loads(pickle.dumps(worker))
    assert (again.task_definition_name, again.concurrency, again.domain, again.lease) == ("plus", 3, "blue", False)
    assert again(1) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unnamed", r"has the parameter 'arg0', and inputs are bound by name: .*py::arg\(\"a\"\)"),
        ("several", r"has the parameter '\*args'"),
        ("overloaded", "overloaded has overloads"),
    ],
)
def test_what_has_no_names_is_refused(extension: Any, name: str, text: str) -> None:
    with pytest.raises(WorkerDefinitionError, match=text):
        worker_task("t")(getattr(extension, name))


@pytest.mark.parametrize(
    ("signature", "required", "optional"),
    [
        ("f() -> int", [], []),
        ("f(a: int, /, *, b: str = ')') -> None", ["a"], ["b"]),
        ("f(a: dict[str, tuple[int, int]], b: list[int] = [1, 2], c: object = None) -> int", ["a"], ["b", "c"]),
        ("f(a: typing.Annotated[list[float], 'Fixed(3, \\'x\\')'], b: str = 'it\\'s, b') -> int", ["a"], ["b"]),
        ("f(a: collections.abc.Callable[[int, int], int] = <built-in function f(x, y)>) -> int", [], ["a"]),
    ],
)
def test_signatures(signature: str, required: list[str], optional: list[str]) -> None:
    function: Any = SimpleNamespace(__name__="f", __doc__=f"{signature}\n\nSays more, (and) more.")
    plan = plan_native(function)
    assert [each.name for each in plan.entries if each.required] == required
    assert [each.name for each in plan.entries if not each.required] == optional


def test_a_missing_input_is_found_before_the_call() -> None:
    function: Any = SimpleNamespace(__name__="f", __doc__="f(a: int) -> int")
    with pytest.raises(InputError, match="a: missing") as refused:
        plan_native(function).bind(Task())
    assert refused.value.parameter == "a"


@pytest.mark.feature("Executors: threads, asyncio, processes")
@pytest.mark.bug("Temporal: deadlock with the interpreter's lock")
def test_calls_run_at_the_same_time_in_threads_and_the_cancellation_reaches_them(extension: Any) -> None:
    together = worker_task("together", concurrency=3)(extension.together)
    wait: Any = worker_task("wait")(extension.wait)
    assert wait._plan.cancellations == ("cancellation",)

    @worker_task("seconds", executor="native")
    def seconds(value: int) -> str:
        return f"{value} in {threading.current_thread().name}"

    with Bench(together, wait, seconds) as bench:
        bench.client.register(
            *(
                {
                    "name": name,
                    "tasks": [{"name": name, "taskReferenceName": "it", "inputParameters": {key: number}}],
                    "outputParameters": {"it": "${it.output.result}"},
                    "ownerEmail": "someone@example.com",
                }
                for name, key, number in (("together", "count", 3), ("wait", "seconds", 20))
            )
        )
        runs = [bench.start(together) for _ in range(3)]
        assert all(run.assert_completed().output["it"] == 3 for run in runs)
        assert bench.output(seconds, 5) == "5 in seconds-0"
        run = bench.start(wait)
        (running,) = bench.running(wait)
        bench.client.workflow.terminate(run.workflow_id)
        running.cancelled.set("its workflow was terminated")
        assert bench.slots(wait).wait_idle(10), "the function has not noticed"
