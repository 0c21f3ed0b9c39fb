"""Each worker alone, without a server: what it makes of an input."""

from __future__ import annotations

import pytest

from conductor_grpc import TaskResultStatus
from conductor_grpc.testing import call_worker
from workers.cpp_task_example import SimpleCppWorker
from workers.greet import greet
from workers.python_task_example import SimplePythonWorker


def test_python_task_example() -> None:
    result = call_worker(SimplePythonWorker("python_task_example"))
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == {"key": "value"}


@pytest.mark.parametrize(("inputs", "total"), [({}, 3), ({"a": 40, "b": 2}, 42), ({"a": 5.0}, 7)])
def test_cpp_task_example(inputs: dict[str, object], total: int) -> None:
    result = call_worker(SimpleCppWorker("cpp_task_example"), inputs)
    assert result.status is TaskResultStatus.COMPLETED
    assert result.output_data == {"sum": total}


def test_cpp_task_example_refuses_what_is_no_whole_number() -> None:
    result = call_worker(SimpleCppWorker("cpp_task_example"), {"a": "one"})
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert result.reason_for_incompletion == "InputError: a: expected a whole number, got 'one'"


def test_greet() -> None:
    result = call_worker(greet, {"person": {"name": "Ada", "titles": ["Dr."]}})
    assert result.output_data == {"message": "Hello Dr. Ada"}
