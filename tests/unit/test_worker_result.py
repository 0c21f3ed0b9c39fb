"""TaskResult: what its bytes mean to the server."""

from __future__ import annotations

import time

import pytest

from conductor_grpc.errors import PayloadEncodeError
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.worker import TaskLog, TaskResult, TaskResultStatus
from conductor_grpc.worker.result import MAX_LOG_BYTES, MAX_REASON_BYTES


def parsed(result: TaskResult) -> taskresult_pb2.TaskResult:
    return task_service_pb2.UpdateTaskRequest.FromString(result.to_wire()).result


def completed(**fields: object) -> TaskResult:
    return TaskResult("w", "t", TaskResultStatus.COMPLETED, **fields)  # type: ignore[arg-type]


def test_every_field_is_on_the_wire() -> None:
    result = TaskResult(
        workflow_instance_id="w",
        task_id="t",
        status=TaskResultStatus.IN_PROGRESS,
        reason_for_incompletion="because",
        callback_after_seconds=9,
        worker_id="me",
        logs=[TaskLog("line", 1234)],
    )
    result.add_output_data("key", [1, "x", None])
    expected = taskresult_pb2.TaskResult(
        workflow_instance_id="w",
        task_id="t",
        status=taskresult_pb2.TaskResult.IN_PROGRESS,
        reason_for_incompletion="because",
        callback_after_seconds=9,
        worker_id="me",
    )
    expected.logs.add(log="line", task_id="t", created_time=1234)
    items = expected.output_data["key"].list_value.values
    items.add(number_value=1)
    items.add(string_value="x")
    items.add(null_value=0)  # type: ignore[arg-type]
    assert parsed(result) == expected


@pytest.mark.parametrize("status", TaskResultStatus)
def test_statuses(status: TaskResultStatus) -> None:
    assert parsed(TaskResult("w", "t", status)).status == taskresult_pb2.TaskResult.Status.Value(status.value)


def test_without_a_status_nothing_is_sent() -> None:
    with pytest.raises(ValueError, match=r"'t' has no status"):
        TaskResult("w", "t").to_wire()


def test_a_log_has_the_time_in_milliseconds() -> None:
    result = completed()
    before = time.time_ns() // 1_000_000
    result.log("hello")
    assert before <= parsed(result).logs[0].created_time <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 20, 25, 1003])
def test_no_log_vanishes_and_their_order_stays(count: int) -> None:
    logs = parsed(completed(logs=[TaskLog(f"line {n}", 1_000 * n) for n in range(count)])).logs
    assert len(logs) == min(count, 10)
    lines = "\n".join(entry.log for entry in logs).split("\n")
    assert [line[line.index("line") :] for line in lines] == [f"line {n}" for n in range(count)]
    assert [entry.created_time for entry in logs] == sorted(entry.created_time for entry in logs)


def test_joined_logs_keep_their_times() -> None:
    logs = parsed(completed(logs=[TaskLog("x", n) for n in range(20)])).logs
    assert logs[9].log == "1970-01-01T00:00:00.018+00:00 x\n1970-01-01T00:00:00.019+00:00 x"
    assert logs[9].created_time == 18


def test_long_texts_are_cut_in_the_middle() -> None:
    result = completed(reason_for_incompletion="a" * 100_000 + "end", logs=[TaskLog("é" * 200_000 + "last", 1)])
    message = parsed(result)
    assert len(message.reason_for_incompletion) <= MAX_REASON_BYTES + 60
    assert message.reason_for_incompletion.startswith("aaa")
    assert message.reason_for_incompletion.endswith("aend")
    assert f"[... {100_003 - MAX_REASON_BYTES} bytes left out ...]" in message.reason_for_incompletion
    assert len(message.logs[0].log.encode()) <= MAX_LOG_BYTES + 60
    assert message.logs[0].log.endswith("élast")


def test_lone_surrogates_in_texts_are_sent_as_escapes() -> None:
    message = parsed(completed(reason_for_incompletion="file \udcff", logs=[TaskLog("log \ud800", 1)]))
    assert message.reason_for_incompletion == "file \\udcff"
    assert message.logs[0].log == "log \\ud800"


def test_an_output_key_that_the_server_would_blank_survives() -> None:
    assert parsed(completed(output_data={"subWorkflowId": "s-1"})).sub_workflow_id == "s-1"
    assert parsed(completed(output_data={"subWorkflowId": None})).sub_workflow_id == ""
    with pytest.raises(PayloadEncodeError, match="keeps text only") as caught:
        completed(output_data={"subWorkflowId": 5}).to_wire()
    assert caught.value.path == "output.subWorkflowId"


def test_what_cannot_be_encoded_is_named_by_its_path() -> None:
    with pytest.raises(PayloadEncodeError) as caught:
        completed(output_data={"items": [{"price": float("nan")}]}).to_wire()
    assert caught.value.path == "output.items[0].price"


def test_big_integers_as_the_user_asks() -> None:
    with pytest.raises(PayloadEncodeError):
        completed(output_data={"n": 2**53 + 1}).to_wire()
    wire = completed(output_data={"n": 2**53 + 1}).to_wire("string")
    message = task_service_pb2.UpdateTaskRequest.FromString(wire).result
    assert message.output_data["n"].string_value == str(2**53 + 1)
