"""Logs of a task: sent by AddLog, and with an update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import error_of

from conductor_grpc.pb.services.task_service_pb2 import AddLogRequest, GetTaskLogsRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.taskexeclog_pb2 import TaskExecLog

not_kept_on_redis = pytest.mark.differs("redis", "no log is kept: there is no index to keep it in")
UNEXPLAINED = (grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)


def add_log(server: ServerUnderTest, task_id: str, text: str) -> None:
    server.tasks.AddLog(AddLogRequest(task_id=task_id, log=text))


def logs(server: ServerUnderTest, task_id: str) -> list[TaskExecLog]:
    return list(server.tasks.GetTaskLogs(GetTaskLogsRequest(task_id=task_id)).logs)


def kept(server: ServerUnderTest, texts: list[str]) -> list[str]:
    """What of these texts the server keeps."""
    return [] if server.name == "redis" else texts


def texts(server: ServerUnderTest, task_id: str) -> list[str]:
    return [log.log for log in logs(server, task_id)]


def test_a_task_has_no_logs_at_first(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    assert logs(server, server.take(task_type).task_id) == []
    assert logs(server, server.unique()) == []


@not_kept_on_redis
def test_added_logs_are_kept_with_the_time_of_the_server(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    for text in ("first", "", "third é"):
        add_log(server, task.task_id, text)
        server.pass_time(0.002)
    found = logs(server, task.task_id)
    assert [log.log for log in found] == kept(server, ["first", "", "third é"])
    assert all(log.task_id == task.task_id and log.created_time >= task.start_time for log in found)


@not_kept_on_redis
def test_a_log_may_be_added_to_an_unknown_task(server: ServerUnderTest) -> None:
    task_id = server.unique()
    add_log(server, task_id, "nobody looks the task up")
    assert texts(server, task_id) == kept(server, ["nobody looks the task up"])


def test_an_empty_task_id_is_refused(server: ServerUnderTest) -> None:
    assert error_of(lambda: add_log(server, "", "text")) == UNEXPLAINED
    assert error_of(lambda: logs(server, "")) == UNEXPLAINED


@not_kept_on_redis
def test_an_update_brings_ten_logs_at_most(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    sent = [{"log": f"line {number}", "created_time": 1000 + number} for number in range(12)]
    server.update(task, "IN_PROGRESS", logs=sent)
    assert texts(server, task.task_id) == kept(server, [f"line {number}" for number in range(10)])


@not_kept_on_redis
def test_logs_of_an_update_keep_their_time_and_lose_their_task_id(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    sent = [
        {"log": "later", "created_time": 2000, "task_id": "another"},
        {"log": "no time"},
        {"log": "earlier", "created_time": 1000},
    ]
    server.update(task, "COMPLETED", logs=sent)
    found = logs(server, task.task_id)
    assert [log.log for log in found] == kept(server, ["no time", "earlier", "later"])
    assert [log.created_time for log in found] == [0, 1000, 2000][: len(found)]
    assert {log.task_id for log in found} <= {task.task_id}


def test_logs_of_an_update_that_is_ignored_are_dropped(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.complete(task)
    server.update(task, "COMPLETED", logs=[{"log": "too late"}])
    assert logs(server, task.task_id) == []


@not_kept_on_redis
def test_logs_may_be_added_to_a_task_that_has_ended(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.complete(task)
    add_log(server, task.task_id, "afterwards")
    assert texts(server, task.task_id) == kept(server, ["afterwards"])
