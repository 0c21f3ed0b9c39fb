"""Answers to an update, or to a look before it is repeated, that must not be believed at once."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest
from scripted_server import ScriptedServer

from conductor_grpc import Configuration, Task, TaskResult, TaskResultStatus, worker_task
from conductor_grpc.errors import InvalidRequestError, NotFoundError
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller.outbox import Outbox, hand_back, result_update

COMPLETED = taskresult_pb2.TaskResult.COMPLETED
POISON = "cannot map to Value type: 7"


@worker_task("work", concurrency=4)
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


@pytest.mark.parametrize("leaf", [NotFoundError, InvalidRequestError])
def test_a_look_up_that_is_refused_does_not_lose_the_update(leaf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    left = threading.Semaphore(1)

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        if left.acquire(blocking=False):
            context.abort(grpc.StatusCode.UNAVAILABLE, "in doubt")

    def find(_task_id: str) -> Task:
        raise leaf("no static resource: base_url is wrong", code=grpc.StatusCode.NOT_FOUND, method="GET", details="x")

    with ScriptedServer() as server:
        server.update = update
        outbox = Outbox(Configuration(target=server.target), lambda _: None, find, lambda *_: None)
        outbox.start()
        outbox.put(hand_back(Task(task_id="a", workflow_instance_id="w", worker_id="me", poll_count=1)))
        assert outbox.flush(10)
        outbox.stop()
        assert outbox.join(10)
        assert (outbox.refused, len(server.updates)) == (0, 1)


def test_a_result_is_not_dropped_because_of_one_odd_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    left = threading.Semaphore(1)

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        if left.acquire(blocking=False):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404")

    with ScriptedServer() as server:
        server.update = update
        outbox = Outbox(Configuration(target=server.target), lambda _: None, lambda _: None, lambda *_: None)
        outbox.start()
        result = TaskResult(workflow_instance_id="w", task_id="a", status=TaskResultStatus.COMPLETED)
        outbox.put(result_update(Task(task_id="a", workflow_instance_id="w"), result, result.to_wire()))
        assert outbox.flush(10)
        outbox.stop()
        assert outbox.join(10)
        assert (outbox.refused, len(server.updates)) == (0, 1)


def test_an_odd_answer_that_stays_the_same_is_believed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_LIMIT", 0.02)

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404")

    with ScriptedServer() as server:
        server.update = update
        outbox = Outbox(Configuration(target=server.target), lambda _: None, lambda _: None, lambda *_: None)
        outbox.start()
        result = TaskResult(workflow_instance_id="w", task_id="a", status=TaskResultStatus.COMPLETED)
        outbox.put(result_update(Task(task_id="a", workflow_instance_id="w"), result, result.to_wire()))
        assert outbox.flush(10)
        outbox.stop()
        assert outbox.join(10)
    assert (outbox.refused, server.attempts) == (1, outbox_module.DOUBTFUL_ATTEMPTS)
