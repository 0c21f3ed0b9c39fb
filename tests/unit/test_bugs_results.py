"""Bugs of other worker SDKs in how they report results: each test fails once the bug is put in here."""

from __future__ import annotations

import gc
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, worker_task
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller.outbox_updates import Update
from conductor_grpc.worker.context import TaskContext

if TYPE_CHECKING:
    from conductor_grpc.pb.model import taskresult_pb2


@worker_task("work")
def work(task: Task) -> str:
    return task.task_id


def poller_for(server: ScriptedServer) -> TaskPoller:
    return TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))


@pytest.mark.bug("Go, Python: retries hold the slot")
@pytest.mark.feature("conductor-python: slot and lease while retrying")
def test_results_that_cannot_be_sent_hold_no_slot() -> None:
    """Five tasks in one slot, while the server takes no result."""
    up = threading.Event()

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if not up.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    with ScriptedServer() as server:
        server.update = update
        server.add(*(a_task(str(number)) for number in range(5)))
        with poller_for(server) as poller:
            wait_for(lambda: poller.health().unsent == 5)
            assert server.updates == []
            up.set()
            server.wait_for_updates(5)


@pytest.mark.bug("pubsub: deadlock of pausing and acknowledging")
def test_a_full_outbox_pauses_polls_and_nothing_else() -> None:
    """Four tasks in four slots, room for one result, and a server that takes none: all slots are free again."""
    up = threading.Event()

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if not up.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    def more_than_asked_for(request: Any, context: grpc.ServicerContext) -> Any:
        request.count = 4
        return server.hand_out(request, context)

    wide = worker_task("work", concurrency=4)(lambda: None)
    with ScriptedServer() as server:
        server.update, server.poll = update, more_than_asked_for
        server.add(*(a_task(str(number)) for number in range(4)))
        configuration = Configuration("", target=server.target, poll_wait_ms=50, outbox_limit=1)
        with TaskPoller([wide], configuration) as poller:
            wait_for(lambda: poller.health().unsent == 4)
            up.set()
            server.wait_for_updates(4)


@pytest.mark.bug("D7")
def test_a_task_that_the_server_does_not_know_concerns_no_other() -> None:
    def update(result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if result.task_id == "a":
            context.abort(grpc.StatusCode.NOT_FOUND, "No such task found by id=a")

    with ScriptedServer() as server, poller_for(server) as poller:
        server.update = update
        server.add(*(a_task(task_id) for task_id in "abcd"))
        results = server.wait_for_updates(3)
        wait_for(lambda: poller.health().refused == 1)
        assert (sorted(result.task_id for result in results), server.attempts) == (["b", "c", "d"], 4)


@pytest.mark.bug("Java: fixed pause")
def test_the_pause_between_attempts_grows_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_LIMIT", 0.08)
    caplog.set_level(logging.DEBUG, outbox_module.__name__)
    numbers = itertools.count()

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if next(numbers) < 6:
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    with ScriptedServer() as server, poller_for(server):
        server.update = update
        server.add(a_task("a"))
        server.wait_for_updates(1)
    told = [record.args for record in caplog.records if str(record.msg).startswith("could not send")]
    delays = [args[3] for args in told if isinstance(args, tuple)]
    assert delays == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.08, 0.08], rel=0.25)


@pytest.mark.bug("python-sdk#395")
def test_nothing_holds_a_task_after_its_end() -> None:
    def held() -> list[str]:
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, (TaskContext, Update))]
        return [each.task.task_id for each in kept if str(each.task.task_id).startswith("one of many")]

    with ScriptedServer() as server, poller_for(server) as poller:
        server.add(*(a_task(f"one of many: {number}") for number in range(300)))
        server.wait_for_updates(300)
        wait_for(lambda: poller.health().unsent == 0)
        wait_for(lambda: len(held()) <= 1)  # the slot's thread may still know its last one
