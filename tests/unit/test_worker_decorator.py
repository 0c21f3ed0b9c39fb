"""worker_task: functions that are workers and stay functions."""

from __future__ import annotations

import copy
import functools
import inspect
import multiprocessing
import pickle
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker import (
    FunctionWorker,
    Task,
    TaskResult,
    TaskResultStatus,
    WorkerInterface,
    run_worker,
    worker_task,
)


@dataclass
class Point:
    x: int
    label: str = "p"


@worker_task("module_level", concurrency=3, domain="blue")
def module_level(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


def outcome(function: Any, **inputs: Any) -> TaskResult:
    worker = worker_task("t")(function)
    return run_worker(worker, Task(task_id="t1", workflow_instance_id="w1", input_data=inputs), "me")


@pytest.mark.feature("conductor-python: decorator")
def test_the_decorated_function_still_works_as_one() -> None:
    assert module_level(1, b=5) == 6
    assert module_level.__name__ == "module_level"
    assert module_level.__doc__ == "Adds."
    assert list(inspect.signature(module_level).parameters) == ["a", "b"]
    assert repr(module_level) == f"<worker 'module_level': {__name__}.module_level>"


def test_it_is_a_worker() -> None:
    assert isinstance(module_level, WorkerInterface)
    assert module_level.task_definition_name == "module_level"
    assert (module_level.concurrency, module_level.domain) == (3, "blue")
    plain = worker_task("x")(lambda: None)
    assert (plain.concurrency, plain.domain) == (1, None)


def test_it_runs_with_the_inputs_of_the_task() -> None:
    task = Task(task_id="t1", workflow_instance_id="w1", input_data={"a": 1.0, "b": 3})
    assert run_worker(module_level, task, "me") == TaskResult(
        "w1", "t1", TaskResultStatus.COMPLETED, {"result": 4}, worker_id="me"
    )


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Point(1), {"x": 1, "label": "p"}),
        (0, {"result": 0}),
        (False, {"result": False}),
        ("", {"result": ""}),
        (2.5, {"result": 2.5}),
        ([1, "x"], {"result": [1, "x"]}),
    ],
)
@pytest.mark.feature("conductor-python: outputs by kind of value")
def test_what_a_function_returns_becomes_the_output(value: Any, output: dict[str, object]) -> None:
    result = outcome(lambda: value)
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == output


def test_a_returned_value_without_json_form_is_a_terminal_failure() -> None:
    result = outcome(lambda: 1j)
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert result.reason_for_incompletion.startswith("PayloadEncodeError: output.result: a value of type complex")


def test_a_task_result_is_taken_as_it_is_and_gets_the_ids() -> None:
    given = TaskResult(status=TaskResultStatus.FAILED, reason_for_incompletion="no", output_data={"k": 1})
    assert outcome(lambda: given) == TaskResult("w1", "t1", TaskResultStatus.FAILED, {"k": 1}, "no", worker_id="me")
    assert given.task_id == ""


def test_a_task_parameter_gets_the_task() -> None:
    def function(task: Task, n: int) -> str:
        return f"{task.task_id} {n}"

    assert outcome(function, n=7).output_data == {"result": "t1 7"}


def test_a_returned_coroutine_is_a_terminal_failure() -> None:
    async def inner() -> int:
        return 1

    result = outcome(lambda: inner())  # noqa: PLW0108 - inner itself would be refused
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert "returned a coroutine" in result.reason_for_incompletion


@pytest.mark.feature("conductor-python: several task types in one worker")
@pytest.mark.feature("conductor-python: function worker")
def test_one_function_can_serve_two_task_types() -> None:
    def function() -> str:
        return "same"

    a, b = worker_task("a")(function), worker_task("b", concurrency=2)(function)
    assert (a.task_definition_name, b.task_definition_name) == ("a", "b")
    assert (a.concurrency, b.concurrency) == (1, 2)
    assert a() == b() == function() == "same"


def test_stacking_is_refused() -> None:
    with pytest.raises(WorkerDefinitionError, match=r"is a worker already.*module_level\.__wrapped__"):
        worker_task("other")(module_level)
    assert worker_task("other")(module_level.__wrapped__)(1) == 3  # type: ignore[attr-defined]


def test_the_name_is_needed() -> None:
    with pytest.raises(WorkerDefinitionError, match=r'write @worker_task\("name"\), not @worker_task'):

        @worker_task  # type: ignore[arg-type]
        def function() -> None: ...


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_a_name_must_be_a_name(name: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match="expected the name of the task definition, a non-empty string"):
        worker_task(name)(lambda: None)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "2"])
def test_a_concurrency_must_be_a_number(concurrency: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"concurrency .*whole number of at least 1"):
        worker_task("t", concurrency=concurrency)(lambda: None)


@pytest.mark.parametrize("domain", ["", " ", 5])
def test_a_domain_must_be_a_name(domain: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match="has domain"):
        worker_task("t", domain=domain)(lambda: None)


async def async_generator_function() -> Any:
    yield 1


def generator_function() -> Any:
    yield 1


class Methods:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (async_generator_function, "is a generator"),
        (generator_function, "is a generator"),
        (Methods.method, "is a method"),
        (Methods().method, "decorates functions, not method"),
        (len, "does not say what its parameters are"),
        (functools.partial(print, 1), "decorates functions, not partial"),
        (Methods, "decorates functions, not type"),
        (5, "decorates functions, not int"),
    ],
)
def test_what_is_no_function_to_call_is_refused(function: Any, text: str) -> None:
    with pytest.raises(WorkerDefinitionError, match=text):
        worker_task("t")(function)


def test_it_pickles_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's importlib mode may leave this module out of sys.modules, where pickle looks for it.
    monkeypatch.setitem(sys.modules, __name__, types.SimpleNamespace(module_level=module_level))
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    assert copy.deepcopy(module_level) is module_level
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(worker_task("t")(lambda: None))


@pytest.mark.feature("conductor-python: workers cross to a spawned process")
def test_it_reaches_another_process_by_reference(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickled_worker.py").write_text(
        "from conductor_grpc.worker import worker_task\n"
        "@worker_task('remote')\ndef remote(a: int) -> int:\n    return a * 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import pickled_worker  # type: ignore[import-not-found]

    assert isinstance(pickled_worker.remote, FunctionWorker)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(pickled_worker.remote, 21).result(timeout=60) == 42
