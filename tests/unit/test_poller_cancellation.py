"""Running tasks that nobody waits for any more: what the poller notices, and what their workers see of it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import struct_pb2
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import (
    Configuration,
    MetadataClient,
    TaskCancelledError,
    TaskPoller,
    TaskStatus,
    WorkerInterface,
    WorkflowClient,
    current_task,
    worker_task,
)
from conductor_grpc.pb.model import task_pb2
from conductor_grpc.poller import lease as lease_module
from conductor_grpc.poller.parts import Parts
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.transport.server_version import LeaseSupport

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = 0.1

TASK = {
    "name": "work",
    "ownerEmail": "a@example.com",
    "retryCount": 1,
    "retryDelaySeconds": 0,
    "responseTimeoutSeconds": 60,
    "timeoutSeconds": 600,
}
WORKFLOW = {
    "name": "works",
    "ownerEmail": "a@example.com",
    "tasks": [{"name": "work", "taskReferenceName": "work_ref"}],
}


def poller_at(target: str, *workers: WorkerInterface, check: float | None = CHECK, **settings: Any) -> TaskPoller:
    return TaskPoller(workers, Configuration("", target=target, poll_wait_ms=100, cancellation_check=check, **settings))


@pytest.fixture(params=[True, False], ids=["strict", "lenient"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=request.param) as server:
        with MetadataClient(Configuration("", target=server.target)) as metadata:
            metadata.register_task(TASK)
            metadata.register_workflow(WORKFLOW)
        yield server


@pytest.fixture
def workflows(server: EmbeddedServer) -> Iterator[WorkflowClient]:
    with WorkflowClient(Configuration("", target=server.target)) as client:
        yield client


class Waiting:
    """A worker that waits for its task's cancellation, and what it saw."""

    def __init__(self, *, give_up: bool = True, **options: Any) -> None:
        self.running = threading.Event()
        self.release = threading.Event()
        self.ended = threading.Event()
        self.reason: str | None = None

        @worker_task("work", **options)
        def work() -> dict[str, str]:
            cancelled = current_task().cancelled
            cancelled.call_when_set(self.release.set)
            self.running.set()
            try:
                assert self.release.wait(60)
                self.reason = cancelled.reason
                if give_up:
                    cancelled.raise_if_set()
                return {"ended": "normally"}
            finally:
                self.ended.set()

        self.worker = work


def test_a_worker_ends_when_its_workflow_is_terminated_and_nothing_is_sent(
    server: EmbeddedServer, workflows: WorkflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "conductor_grpc")
    waiting = Waiting()
    with poller_at(server.target, waiting.worker) as poller:
        workflow_id = workflows.start("works", {})
        assert waiting.running.wait(20)
        workflows.terminate(workflow_id, "enough")
        began = time.monotonic()
        assert waiting.ended.wait(20)
        assert time.monotonic() - began < 10 * CHECK, "within an interval and a quarter, on a quiet machine"
        wait_for(lambda: len(poller._parts.custody) == 0)
        health = poller.health()
        assert health.cancelled == {"terminated": 1}
        assert (health.late, health.unsent, health.refused) == ({}, 0, 0)
    assert waiting.reason is not None
    assert waiting.reason.startswith("its workflow was terminated or has failed (task status CANCELED")
    (task,) = workflows.get(workflow_id).tasks
    assert (task.status, task.output_data) == (TaskStatus.CANCELED, {})
    assert "is cancelled: its workflow was terminated" in caplog.text
    assert "was given up by its worker: its workflow was terminated" in caplog.text


@pytest.mark.feature("Cancellation reaches the worker")
def test_an_async_worker_is_cancelled_where_it_waits(server: EmbeddedServer, workflows: WorkflowClient) -> None:
    running, ended = threading.Event(), threading.Event()

    @worker_task("work")
    async def work() -> None:
        running.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
            raise

    with poller_at(server.target, work) as poller:
        workflow_id = workflows.start("works", {})
        assert running.wait(20)
        workflows.terminate(workflow_id)
        assert ended.wait(20)
        wait_for(lambda: len(poller._parts.custody) == 0)
        health = poller.health()
        assert (health.cancelled, health.late) == ({"terminated": 1}, {})


def test_nothing_is_sent_for_a_task_that_is_given_up() -> None:
    """Not even an update that the server would ignore."""
    waiting = Waiting()
    with ScriptedServer() as server, poller_at(server.target, waiting.worker) as poller:
        server.get = lambda task_id: a_task(task_id, status=task_pb2.Task.CANCELED)
        server.add(a_task("a"))
        assert waiting.ended.wait(20)
        wait_for(lambda: len(poller._parts.custody) == 0)
        poller.stop()
        assert server.attempts == 0


def test_the_late_result_of_a_worker_that_does_not_care_is_counted(
    server: EmbeddedServer, workflows: WorkflowClient
) -> None:
    running, release = threading.Event(), threading.Event()

    @worker_task("work")
    def work() -> dict[str, str]:
        running.set()
        assert release.wait(60)
        return {"ended": "normally"}

    with poller_at(server.target, work) as poller:
        workflow_id = workflows.start("works", {})
        assert running.wait(20)
        workflows.terminate(workflow_id)
        wait_for(lambda: poller.health().cancelled == {"terminated": 1})
        release.set()
        wait_for(lambda: poller.health().late == {"ignored": 1})
        assert poller.health().cancelled == {"terminated": 1}, "told once"
    (task,) = workflows.get(workflow_id).tasks
    assert task.status is TaskStatus.CANCELED


def test_a_task_that_timed_out_is_cancelled_while_its_next_attempt_runs(
    server: EmbeddedServer, workflows: WorkflowClient
) -> None:
    first, second = Waiting(lease=False), threading.Event()

    @worker_task("work")
    def other() -> None:
        second.set()

    with poller_at(server.target, first.worker) as poller:
        workflow_id = workflows.start("works", {})
        assert first.running.wait(20)
        poller.pause("work")
        server.clock.advance(61)
        workflows.decide(workflow_id)
        with poller_at(server.target, other):
            assert second.wait(20)
            assert first.ended.wait(20)
        assert poller.health().cancelled == {"timed_out": 1}
    assert first.reason is not None
    assert first.reason.startswith("it has timed out (task status TIMED_OUT")


def test_a_server_in_trouble_cancels_nothing_and_is_told_rarely(caplog: pytest.LogCaptureFixture) -> None:
    waiting, looks = Waiting(), threading.Semaphore(0)

    class Troubled(ScriptedServer):
        def GetTask(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
            looks.release()
            if in_trouble:
                context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
            return super().GetTask(request, context)

    in_trouble = True
    with Troubled() as server, poller_at(server.target, waiting.worker) as poller:
        server.add(a_task("a"))
        assert waiting.running.wait(20)
        for _ in range(4):
            assert looks.acquire(timeout=20)
        assert poller.health().cancelled == {}
        assert not waiting.release.is_set()
        told = [record for record in caplog.records if "is still wanted" in record.getMessage()]
        assert [record.levelno for record in told if record.levelno > logging.DEBUG] == [logging.WARNING]
        in_trouble = False  # and then the server knows no such task
        assert waiting.ended.wait(20)
        assert poller.health().cancelled == {"gone": 1}


def test_a_server_that_is_down_cancels_nothing() -> None:
    waiting = Waiting()
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target)
        with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as client:
            metadata.register_task(TASK)
            metadata.register_workflow(WORKFLOW)
            client.start("works", {})
        poller = poller_at(server.target, waiting.worker)
        poller.start()
        assert waiting.running.wait(20)
        watch = poller._parts.cancellations
        assert watch is not None
        server.stop()
        before = watch._failures._next
        wait_for(lambda: watch._failures._next > before)  # it has looked, and failed
    assert not waiting.release.is_set()
    waiting.release.set()
    poller.stop(0.5)


def test_what_cannot_be_seen_is_left_alone() -> None:
    """An integer in the task, and no REST."""
    unseen, seen = Waiting(), Waiting()

    with ScriptedServer() as server, poller_at(server.target, unseen.worker) as poller:
        server.unmappable.add("a")
        server.add(a_task("a"))
        assert unseen.running.wait(20)
        with poller_at(server.target, seen.worker):
            server.add(a_task("b"))
            assert seen.ended.wait(20)
        watch = poller._parts.cancellations
        assert watch is not None
        wait_for(lambda: float("inf") in watch._looked.values())
        assert poller.health().cancelled == {}
        assert not unseen.release.is_set()
        unseen.release.set()
        server.wait_for_updates(1)


@pytest.mark.feature("conductor-python: lost lease")
def test_a_lost_lease_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "SHARE", (0.002, 0.004))
    monkeypatch.setattr(lease_module, "RETRY_SHARE", 0.01)
    monkeypatch.setattr(Parts, "_lease_support", lambda _: LeaseSupport.YES)
    waiting = Waiting(give_up=False)

    def refuse(result: Any, context: grpc.ServicerContext) -> None:
        if result.extend_lease:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    with ScriptedServer() as server, poller_at(server.target, waiting.worker, check=None) as poller:
        server.update = refuse
        server.add(a_task("a", response_timeout_seconds=1))
        assert waiting.ended.wait(30)
        assert poller.health().leases_lost == 1
    assert waiting.reason == "it could not be kept beyond its response timeout of 1 s"


def test_the_lease_of_a_cancelled_task_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be that of the worker which has the task now, and undo its result."""
    monkeypatch.setattr(lease_module, "SHARE", (0.002, 0.004))
    monkeypatch.setattr(Parts, "_lease_support", lambda _: LeaseSupport.YES)
    release = threading.Event()

    @worker_task("work", concurrency=2)
    def work() -> None:
        assert release.wait(60)

    def get(task_id: str) -> task_pb2.Task:
        return a_task(task_id, worker_id="another" if task_id == "a" else server.polls[0].worker_id)

    with ScriptedServer() as server, poller_at(server.target, work) as poller:
        server.get = get
        server.add(a_task("a", response_timeout_seconds=1), a_task("b", response_timeout_seconds=1))
        wait_for(lambda: poller.health().cancelled == {"reassigned": 1})
        before = len(server.updates)
        server.wait_for_updates(before + 30)
        sent = [result.task_id for result in server.updates[before:]]
        assert sent.count("a") <= 1, "at most the one that was on its way"
        release.set()


def test_the_deadline_of_the_drain_cancels() -> None:
    waiting = Waiting()
    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = poller_at(server.target, waiting.worker, check=None)
        poller.start()
        assert waiting.running.wait(20)
        assert poller.stop(0.2).cancelled == 1
        assert waiting.ended.wait(20)
    assert waiting.reason == "its poller has stopped and handed the task back"


def test_a_callback_that_raises_stops_neither_the_drain_nor_the_other_callbacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, called, release = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def broken() -> None:
        raise RuntimeError("event loop is closed")

    @worker_task("work", concurrency=2)
    def work() -> None:
        current_task().cancelled.call_when_set(broken)
        current_task().cancelled.call_when_set(called.release)
        begun.release()
        release.wait(60)

    with ScriptedServer() as server:
        server.add(a_task("a"), a_task("b"))
        poller = poller_at(server.target, work, check=None)
        poller.start()
        assert all(begun.acquire(timeout=20) for _ in range(2))
        report = poller.stop(0.2)
        release.set()
        assert (report.cancelled, report.unsent) == (2, 0)
        assert {result.task_id for result in server.updates} == {"a", "b"}
    assert all(called.acquire(timeout=20) for _ in range(2))
    assert poller.join(0), "raises what has died"
    assert sum("a callback given to call_when_set failed" in each for each in caplog.messages) == 2


def test_a_task_that_is_given_up_and_still_ours_keeps_its_output() -> None:
    """The server replaces it by that of the hand-back."""
    waiting = Waiting()
    output = {"progress": struct_pb2.Value(string_value="half")}

    with ScriptedServer() as server, poller_at(server.target, waiting.worker, check=None) as poller:
        server.get = lambda task_id: a_task(task_id, worker_id=server.polls[0].worker_id, status="IN_PROGRESS")
        server.add(a_task("a", output_data=output, reason_for_incompletion="not yet", output_message={"value": b"x"}))
        assert waiting.running.wait(20)
        (run,) = poller._parts.lanes[0].slots.long_running(0)
        run.cancelled.set("the test says so")
        (result,) = server.wait_for_updates(1)
        assert (result.output_data["progress"].string_value, result.reason_for_incompletion) == ("half", "not yet")
        assert result.output_message.value == b"x"


def test_the_drain_asks_before_it_hands_back_what_was_cancelled() -> None:
    """By then another worker has it, from which a hand-back would take it away."""
    release = threading.Event()

    @worker_task("work")
    def stuck() -> None:
        release.wait(60)

    with ScriptedServer() as server:
        server.get = lambda task_id: a_task(task_id, worker_id="another")
        server.add(a_task("a"))
        poller = poller_at(server.target, stuck)
        poller.start()
        wait_for(lambda: poller.health().cancelled == {"reassigned": 1})
        report = poller.stop(0.2)
        release.set()
        assert (report.cancelled, report.unsent, server.attempts) == (1, 0, 0)


def test_a_look_in_flight_does_not_delay_the_stop() -> None:
    waiting, looking, answer = Waiting(), threading.Event(), threading.Event()

    def get(_task_id: str) -> None:
        looking.set()
        answer.wait(60)

    with ScriptedServer() as server:
        server.get = get
        server.add(a_task("a"))
        poller = poller_at(server.target, waiting.worker)
        poller.start()
        assert looking.wait(20)
        waiting.release.set()
        server.wait_for_updates(1)
        began = time.monotonic()
        report = poller.stop()
        assert time.monotonic() - began < 5
        assert report.unsent == 0
        watch = poller._parts.cancellations
        assert watch is not None
        assert watch.join(20)
        assert poller.join(0), "raises if the end was taken for a death"
        answer.set()


def test_never_to_look_is_a_choice() -> None:
    poller = poller_at("127.0.0.1:9", Waiting().worker, check=None)
    with poller:
        assert poller._parts.cancellations is None
        assert poller.health().cancelled == {}


@pytest.mark.parametrize("server", [True], ids=["strict"], indirect=True)
def test_a_cancellation_that_was_none_is_a_failure(server: EmbeddedServer, workflows: WorkflowClient) -> None:
    @worker_task("work")
    def work() -> None:
        current_task().add_log("about to give up")
        raise TaskCancelledError("I do not feel like it")

    with poller_at(server.target, work):
        workflow_id = workflows.start("works", {})
        workflow = workflows.wait(workflow_id, timeout=20)
    assert [task.status for task in workflow.tasks] == [TaskStatus.FAILED] * 2
    assert workflow.tasks[0].reason_for_incompletion == "TaskCancelledError: I do not feel like it"


def test_threads_of_a_worker_see_its_cancellation() -> None:
    seen: list[str | None] = []

    @worker_task("work")
    def work() -> None:
        def helper() -> None:
            assert current_task().cancelled.wait(30)
            seen.append(current_task().cancelled.reason)

        thread = threading.Thread(target=contextvars.copy_context().run, args=(helper,))
        thread.start()
        thread.join(30)

    with ScriptedServer() as server, poller_at(server.target, work):
        server.add(a_task("a"))
        server.wait_for_updates(1)
    assert seen == ["the server knows no such task any more"]
