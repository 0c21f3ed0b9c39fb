"""The example workers do what the guide says."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc.worker import Task, TaskResult, TaskResultStatus, run_worker

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / "workers" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names in their annotations
    spec.loader.exec_module(module)
    return module


def run(worker: Any, **inputs: Any) -> TaskResult:
    return run_worker(worker, Task(task_id="t", workflow_instance_id="w", input_data=inputs), "me")


def test_simple_python_worker() -> None:
    result = run(example("python_task_example").SimplePythonWorker("python_task_example"))
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == {"key": "value"}


@pytest.mark.parametrize(
    ("inputs", "total"), [({}, 3), ({"a": 40, "b": 2}, 42), ({"a": 5.0}, 7), ({"a": None, "b": -1}, 0)]
)
def test_simple_cpp_worker(inputs: dict[str, Any], total: int) -> None:
    result = run(example("cpp_task_example").SimpleCppWorker("cpp_task_example"), **inputs)
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == {"sum": total}


@pytest.mark.parametrize("value", ["1", 1.5, True, [1]])
def test_simple_cpp_worker_refuses_other_inputs(value: Any) -> None:
    result = run(example("cpp_task_example").SimpleCppWorker("cpp_task_example"), a=value)
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert result.reason_for_incompletion.startswith("InputError: a: expected a whole number")


@pytest.mark.parametrize("value", [2**31, 2**31 - 1])
def test_simple_cpp_worker_fails_on_what_does_not_fit_in_32_bits(value: int) -> None:
    assert run(example("cpp_task_example").SimpleCppWorker("x"), a=value).status is TaskResultStatus.FAILED


def test_greet() -> None:
    greet = example("greet").greet
    result = run(greet, person={"name": "Ada", "titles": ["Dr."]}, greeting=None)
    assert result.output_data == {"message": "Hello Dr. Ada"}
    result = run(greet, person={"name": "Ada", "titles": ["Dr.", 5]})
    assert result.reason_for_incompletion == "InputError: person.titles[1]: expected str, got int 5"


@pytest.mark.parametrize("name", ["python_task_example", "cpp_task_example"])
def test_definitions_name_each_other(name: str) -> None:
    definition = json.loads((EXAMPLES / "definitions" / f"{name}.json").read_text())
    workflow = json.loads((EXAMPLES / "definitions" / f"workflow_with_{name}.json").read_text())
    assert definition["name"] == name
    assert workflow["name"] == f"workflow_with_{name}"
    (task,) = workflow["tasks"]
    assert task["name"] == name
    assert workflow["outputParameters"] == {"workerOutput": f"${{{task['taskReferenceName']}.output}}"}
