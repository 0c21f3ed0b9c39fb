"""Bugs of other worker SDKs in what surrounds a worker's code: each test fails once the bug is put in here.

This module has postponed annotations, which conductor-python cannot read.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any, Dict, List  # noqa: UP035 - people write these

import pytest

from conductor_grpc import NonRetryableError, Task, TaskResultStatus, worker_task
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.context import Cancellation

TERMINAL = TaskResultStatus.FAILED_WITH_TERMINAL_ERROR


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int


@worker_task("async by task")
async def async_by_task(task: Task, number: int) -> str:
    return f"{task.task_id} {number}"


@worker_task("annotated")
def annotated(plain: list, anything: Any, mapping: Dict[str, int], listed: List[Any], task: Task) -> list[Any]:  # type: ignore[type-arg]  # noqa: UP006
    return [plain, anything, mapping, listed, task.task_id]


@worker_task("unannotated")
def unannotated(first, second):  # type: ignore[no-untyped-def]
    return [first, second]


@pytest.mark.bug("D4")
def test_an_async_function_gets_its_task() -> None:
    assert call_worker(async_by_task, {"number": 3}, task_id="a").output_data == {"result": "a 3"}


@pytest.mark.bug("D9")
@pytest.mark.feature("conductor-python: inputs by parameter name")
def test_common_annotations_work_and_so_do_none_at_all() -> None:
    inputs = {"plain": [1, "a"], "anything": None, "mapping": {"a": 1}, "listed": []}
    assert call_worker(annotated, inputs, task_id="t").output_data == {"result": [[1, "a"], None, {"a": 1}, [], "t"]}
    assert call_worker(unannotated, {"first": 1, "second": "b"}).output_data == {"result": [1, "b"]}


@pytest.mark.bug("D10")
@pytest.mark.parametrize(
    ("error", "reason"), [(KeyError(5), "KeyError: 5"), (ValueError(), "ValueError"), (SystemExit(3), "SystemExit: 3")]
)
def test_whatever_is_raised_becomes_a_reason_in_text(error: BaseException, reason: str) -> None:
    @worker_task("raising")
    def raising() -> None:
        raise error

    result = call_worker(raising)
    assert (result.status, result.reason_for_incompletion) == (TaskResultStatus.FAILED, reason)


@pytest.mark.bug("D11")
@pytest.mark.parametrize(("value", "path"), [(math.nan, "output.a[0]"), (math.inf, "output.a[0]"), (1j, "output.a[0]")])
def test_an_output_without_a_json_form_fails_its_task_at_once(value: object, path: str) -> None:
    result = call_worker(worker_task("odd")(lambda: {"a": [value]}))
    assert (result.status, path in result.reason_for_incompletion) == (TERMINAL, True)


@pytest.mark.bug("D11")
def test_an_enum_in_the_output_is_its_value_and_a_set_a_list() -> None:
    values = worker_task("values")(lambda: {"a": {"b": [Colour.RED], "c": {2, 1}}})
    assert call_worker(values).output_data == {"a": {"b": ["red"], "c": [1, 2]}}


@pytest.mark.feature("conductor-python: outputs by kind of value")
@pytest.mark.parametrize(
    ("value", "output"),
    [(Point(1, 2), {"x": 1, "y": 2}), ({"a": 1}, {"a": 1}), (None, {}), ([1], {"result": [1]}), (5, {"result": 5})],
)
def test_plain_and_async_functions_have_the_same_output(value: object, output: dict[str, object]) -> None:
    def plain() -> object:
        return value

    async def coroutine() -> object:
        return value

    assert call_worker(worker_task("plain")(plain)).output_data == output
    assert call_worker(worker_task("coroutine")(coroutine)).output_data == output


@pytest.mark.feature("conductor-python: non-retryable failures")
def test_a_function_that_forbids_a_retry_shows_where() -> None:
    @worker_task("refusing")
    def refusing() -> None:
        raise NonRetryableError("nobody to greet")

    result = call_worker(refusing)
    assert result.status is TERMINAL
    assert "in refusing" in result.logs[-1].log


@pytest.mark.bug("Temporal: exception after the end")
@pytest.mark.bug("Hatchet: killed threads")
def test_a_cancellation_is_raised_nowhere_but_where_the_worker_asks() -> None:
    cancellation = Cancellation()

    @worker_task("careless")
    def careless() -> str:
        cancellation.set("its workflow was terminated")
        return "to its end"

    assert call_worker(careless, cancelled=cancellation).output_data == {"result": "to its end"}
    assert cancellation.set("again") is False
    assert call_worker(worker_task("next")(lambda: 1)).output_data == {"result": 1}
