"""`run_worker` beyond the test that goes well: what it must not let pass in silence."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import PollerError, WorkerDefinitionError, worker_task
from conductor_grpc.testing import WorkerRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.pb.model import taskresult_pb2


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@worker_task("work")
def work() -> None:
    """Done at once."""


@worker_task("other")
def other() -> None:
    """Done at once."""


def test_several_workers_and_lists_of_them(server: ScriptedServer) -> None:
    runner = WorkerRunner(server)
    runner([work], other)
    server.wait_for_polls(2)
    assert {poll.task_type for poll in server.polls[:2]} == {"work", "other"}
    assert runner.stop() == []


def test_settings_are_those_of_the_configuration(server: ScriptedServer) -> None:
    runner = WorkerRunner(server)
    runner(work, domain="eu")
    server.wait_for_polls(1)
    assert server.polls[0].domain == "eu"
    assert runner.stop() == []


def test_the_environment_does_not_lead_it_to_another_server(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDUCTOR_GRPC_TARGET", "localhost:1")
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", "http://localhost:1/api")
    runner = WorkerRunner(server)
    configuration = runner(work).configuration
    assert (configuration.target, configuration.base_url) == (server.target, None)
    server.wait_for_polls(1)
    assert runner.stop() == []


def test_what_is_no_worker_is_told_at_once(server: ScriptedServer) -> None:
    runner = WorkerRunner(server)
    with pytest.raises(WorkerDefinitionError, match=r"is not a worker"):
        runner("work")  # type: ignore[arg-type]
    with pytest.raises(WorkerDefinitionError, match=r"at least one worker"):
        runner()
    assert runner.stop() == []


def test_what_a_worker_raises_is_no_problem_of_the_runner(server: ScriptedServer) -> None:
    @worker_task("work")
    def failing() -> None:
        raise ValueError("as tests want it")

    runner = WorkerRunner(server)
    runner(failing)
    server.add(a_task("t"))
    server.wait_for_updates(1)
    assert runner.stop() == []


def test_a_task_that_does_not_end(server: ScriptedServer) -> None:
    begun, over = threading.Event(), threading.Event()

    @worker_task("work")
    def stuck() -> None:
        begun.set()
        over.wait()

    runner = WorkerRunner(server)
    runner(stuck, drain_timeout=0.1)
    server.add(a_task("t"))
    assert begun.wait(20)
    (problem,) = runner.stop()
    over.set()
    assert problem.startswith("1 task(s) still ran 0.1 s after the test: ")


def test_a_result_that_the_server_refuses(server: ScriptedServer) -> None:
    def refuse(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "No such workflow found by id: w")

    server.update = refuse
    runner = WorkerRunner(server)
    runner(work)
    server.add(a_task("t"))
    server.wait_for_polls(2)  # the slot is free again, so the result is on its way
    assert runner.stop() == ["the server refused 1 result(s); the log says why"]


def test_a_poller_that_dies(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the planner")

    monkeypatch.setattr("conductor_grpc.poller.planner.next_poll", broken)
    runner = WorkerRunner(server)
    poller = runner(work)
    with pytest.raises(PollerError, match="a bug in the planner"):
        poller.join(20)
    assert runner.stop() == ["PollerError: conductor-intake-work died: RuntimeError: a bug in the planner"]


def test_polls_that_fail(server: ScriptedServer) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    server.poll = fail  # type: ignore[assignment]
    runner = WorkerRunner(server)
    poller = runner(work)
    wait_for(lambda: poller.health().workers[0].last_error is not None)
    (problem,) = runner.stop()
    assert problem.startswith("polling 'work' failed: ")
