"""run_worker: whatever a worker does, there is a result that can be sent."""

from __future__ import annotations

import enum
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_grpc.errors import ConductorError, InputError, NonRetryableError
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.worker import (
    Task,
    TaskLog,
    TaskResult,
    TaskResultStatus,
    WorkerInterface,
    run_to_wire,
    run_worker,
    worker_task,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TERMINAL = TaskResultStatus.FAILED_WITH_TERMINAL_ERROR


class Worker(WorkerInterface):
    """Runs a function on the task and on the result made for it."""

    def __init__(self, function: Callable[[Task, TaskResult], Any]) -> None:
        super().__init__("t")
        self._function = function

    def execute(self, task: Task) -> Any:
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return self._function(task, result)


def a_task(**fields: Any) -> Task:
    return Task(task_id="t1", workflow_instance_id="w1", task_def_name="t", **fields)


def run(function: Callable[[Task, TaskResult], Any]) -> TaskResult:
    """Runs it, and checks what holds for every outcome."""
    result, wire = run_to_wire(Worker(function), a_task(), "me")
    assert (result.task_id, result.workflow_instance_id, result.worker_id) == ("t1", "w1", "me")
    message = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    assert message.status == taskresult_pb2.TaskResult.Status.Value(result.status.value)  # type: ignore[union-attr]
    assert wire == result.to_wire()
    return result


def setting(**attributes: Any) -> Callable[[Task, TaskResult], TaskResult]:
    def function(_: Task, result: TaskResult) -> TaskResult:
        for name, value in attributes.items():
            setattr(result, name, value)
        return result

    return function


def raising(error: BaseException) -> TaskResult:
    def function(_: Task, __: TaskResult) -> None:
        raise error

    return run(function)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("text"), TaskResultStatus.FAILED, "ValueError: text"),
        (ValueError(), TaskResultStatus.FAILED, "ValueError"),
        (KeyError(5), TaskResultStatus.FAILED, "KeyError: 5"),
        (ConductorError("x"), TaskResultStatus.FAILED, "ConductorError: x"),
        (NonRetryableError("no card"), TERMINAL, "NonRetryableError: no card"),
        (InputError("a.b", "too small"), TERMINAL, "InputError: a.b: too small"),
        (SystemExit(3), TaskResultStatus.FAILED, "SystemExit: 3"),
        (KeyboardInterrupt(), TaskResultStatus.FAILED, "KeyboardInterrupt"),
        (GeneratorExit(), TaskResultStatus.FAILED, "GeneratorExit"),
        (UnicodeError("\udcff\0é"), TaskResultStatus.FAILED, "UnicodeError: \\udcff\0é"),
    ],
)
def test_an_exception_becomes_a_failure_with_its_traceback(
    error: BaseException, status: TaskResultStatus, reason: str
) -> None:
    result = raising(error)
    assert result.status is status
    assert result.reason_for_incompletion == reason
    assert "raise error" in result.logs[-1].log


@pytest.mark.feature("conductor-python: non-retryable failures")
def test_a_subclass_of_non_retryable_is_terminal_too() -> None:
    class CardRefusedError(NonRetryableError):
        """The card was refused."""

    assert raising(CardRefusedError("x")).status is TERMINAL


@pytest.mark.bug("Go: recovered panic")
@pytest.mark.bug("D10")
def test_sys_exit_in_a_worker_thread_is_a_failure_and_the_thread_goes_on() -> None:
    results: list[TaskResult] = []

    def body() -> None:
        results.append(run(lambda _, __: sys.exit("bye")))
        results.append(run(lambda _, result: result))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    assert [each.status for each in results] == [TaskResultStatus.FAILED, TaskResultStatus.COMPLETED]
    assert results[0].reason_for_incompletion == "SystemExit: bye"


def test_the_traceback_has_user_frames_only_and_the_causes() -> None:
    def inner() -> None:
        try:
            raise LookupError("first")
        except LookupError as error:
            raise ValueError("second") from error

    @worker_task("t")
    def function() -> None:
        inner()

    log = run_worker(function, a_task(), "me").logs[-1].log
    assert "LookupError: first" in log
    assert log.endswith("ValueError: second")
    assert "in inner" in log
    assert "in function" in log
    assert "run_to_wire" not in log
    assert "_call" not in log


def test_a_deep_recursion_and_a_long_message_stay_bounded() -> None:
    def recurse(n: int) -> int:
        return recurse(n + 1) + recurse(n + 2)

    result = run(lambda _, __: recurse(0))
    assert result.reason_for_incompletion.startswith("RecursionError")
    assert len(result.logs[-1].log) < 70_000
    result = raising(ValueError("x" * 10_000_000))
    assert len(result.reason_for_incompletion) < 5_000
    assert len(result.logs[-1].log) < 70_000


def test_an_exception_that_cannot_be_printed_is_still_reported() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("never")

    assert raising(BrokenError()).reason_for_incompletion.startswith("BrokenError: (its text cannot be read")


def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="conductor_grpc.worker"):
        raising(ValueError("text"))
    message = caplog.messages[-1]
    assert message.startswith("Task t1 (t) of workflow w1 failed: ValueError: text\nTraceback")
    assert "raise error" in message
    assert "run_to_wire" not in message
    assert caplog.records[-1].exc_info is None


@pytest.mark.parametrize("error", [NonRetryableError("no card"), InputError("a.b", "too small")])
def test_a_failure_that_says_it_all_is_logged_in_one_line(
    error: ConductorError, caplog: pytest.LogCaptureFixture
) -> None:
    raising(error)
    assert caplog.messages == [f"Task t1 (t) of workflow w1 failed: {type(error).__name__}: {error}"]
    assert caplog.records[0].exc_info is None


@pytest.mark.parametrize("value", [None, {"a": 1}, "COMPLETED", TaskResult])
def test_a_class_worker_must_return_a_task_result(value: Any) -> None:
    result = run(lambda _, __: value)
    assert result.status is TERMINAL
    assert "expected a TaskResult" in result.reason_for_incompletion


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"status": None}, "has the status None"),
        ({"status": "DONE"}, "has the status 'DONE'"),
        ({"status": []}, "has the status []"),
        ({"task_id": "other"}, "returned the result of task 'other'"),
        ({"workflow_instance_id": "other"}, "of workflow 'other'"),
        ({"status": TaskResultStatus.IN_PROGRESS}, "callback_after_seconds 0"),
        ({"status": TaskResultStatus.IN_PROGRESS, "callback_after_seconds": -1}, "is -1"),
        ({"callback_after_seconds": 1.5}, "is 1.5"),
        ({"callback_after_seconds": True}, "is True"),
        ({"callback_after_seconds": 2**31}, "whole number"),
        ({"output_data": [1]}, "output_data is [1], expected a dict"),
        ({"output_data": {"a": [{"b": float("nan")}]}}, "output.a[0].b"),
        ({"output_data": {"a": 1j}}, "output.a"),
        ({"output_data": {"a": object()}}, "output.a"),
        ({"output_data": {"a": 2**60}}, "output.a"),
        ({"output_data": {1: "a"}}, "output"),
        ({"output_data": {"a": "x" * 5_000_000}}, "the server takes 4,194,304 at most"),
    ],
)
def test_a_result_that_cannot_be_used_is_a_terminal_failure_that_says_why(
    attributes: dict[str, Any], text: str
) -> None:
    result = run(setting(logs=[TaskLog("mine", 5)], **attributes))
    assert result.status is TERMINAL
    assert text in result.reason_for_incompletion
    assert result.output_data == {}


def test_the_logs_of_a_result_that_cannot_be_encoded_are_kept() -> None:
    result = run(setting(logs=[TaskLog("mine", 5)], output_data={"a": object()}))
    assert result.logs[0] == TaskLog("mine", 5)
    assert len(result.logs) == 2


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"status": "FAILED"}, {"status": TaskResultStatus.FAILED}),
        ({"status": TaskResultStatus.CANCELED}, {"status": TaskResultStatus.CANCELED}),
        ({"output_data": None}, {"output_data": {}}),
        ({"reason_for_incompletion": 5}, {"reason_for_incompletion": "5"}),
        ({"reason_for_incompletion": None}, {"reason_for_incompletion": ""}),
        ({"worker_id": "other"}, {"worker_id": "me"}),
        ({"task_id": "", "workflow_instance_id": ""}, {"task_id": "t1", "workflow_instance_id": "w1"}),
        ({"logs": None}, {"logs": []}),
        (
            {"status": TaskResultStatus.IN_PROGRESS, "callback_after_seconds": 1},
            {"status": TaskResultStatus.IN_PROGRESS, "callback_after_seconds": 1},
        ),
    ],
)
def test_what_is_meant_clearly_is_taken(attributes: dict[str, Any], expected: dict[str, Any]) -> None:
    result = run(setting(**attributes))
    for name, value in expected.items():
        assert getattr(result, name) == value


def test_logs_given_as_plain_values_are_logs() -> None:
    odd = [TaskLog("x", time) for time in (None, 1.5, -1, 2**63, 2**70)]  # type: ignore[arg-type]
    result = run(setting(logs=["text", 5, *odd, *odd]))
    assert [entry.log for entry in result.logs] == ["text", "5", *["x"] * 10]
    assert all(entry.created_time > 1_600_000_000_000 for entry in result.logs)


@pytest.mark.bug("D11")
def test_enums_in_the_output_are_sent() -> None:
    class Color(enum.Enum):
        RED = "red"

    wire = run_to_wire(Worker(setting(output_data={"c": Color.RED})), a_task(), "me")[1]
    message = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    assert message.output_data["c"].string_value == "red"


def test_big_integers_as_strings_if_asked_for() -> None:
    result, wire = run_to_wire(Worker(setting(output_data={"n": 2**60})), a_task(), "me", big_integers="string")
    assert result.status is TaskResultStatus.COMPLETED
    message = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    assert message.output_data["n"].string_value == str(2**60)


def test_an_input_in_external_storage_is_not_run_on() -> None:
    calls: list[Task] = []
    task = a_task(external_input_payload_storage_path="2024/input.json")
    result = run_worker(Worker(lambda task, result: calls.append(task) or result), task, "me")
    assert result.status is TERMINAL
    assert "'2024/input.json'" in result.reason_for_incompletion
    assert calls == []


def test_a_missing_input_names_the_parameter() -> None:
    @worker_task("t")
    def function(order: dict[str, int]) -> None: ...

    result = run_worker(function, a_task(input_data={"order": {"n": "x"}}), "me")
    assert result.status is TERMINAL
    assert result.reason_for_incompletion == "InputError: order['n']: expected int, got str 'x'"


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.just(object())),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner), st.sets(st.integers())
    ),
    max_leaves=10,
)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_no_result_whatever_makes_it_raise(output: Any, status: Any, reason: Any, callback: Any, logs: Any) -> None:
    attributes = {
        "output_data": output,
        "status": status if callback else TaskResultStatus.COMPLETED,
        "reason_for_incompletion": reason,
        "callback_after_seconds": callback,
        "logs": logs,
    }
    assert run(setting(**attributes)).status in TaskResultStatus
    assert run(lambda _, __: output).status is TERMINAL
