"""Bugs of other worker SDKs in how they poll: each test fails once the bug is put in here."""

from __future__ import annotations

import itertools
import multiprocessing.process
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, WorkerInterface, worker_task
from conductor_grpc.poller import intake as intake_module
from conductor_grpc.poller import planner
from conductor_grpc.poller.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.pb.model import task_pb2
    from conductor_grpc.pb.services import task_service_pb2


@worker_task("work")
def work(task: Task) -> str:
    return task.task_id


def poller_for(server: ScriptedServer, worker: WorkerInterface = work, **settings: Any) -> TaskPoller:
    return TaskPoller([worker], Configuration("", target=server.target, **{"poll_wait_ms": 50, **settings}))


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(planner, "BACKOFF_LIMIT", 0.001)
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.bug("pyzeebe: errors of a lifetime")
def test_no_number_of_failed_polls_ends_a_poller() -> None:
    numbers = itertools.count()

    def every_other(_request: object, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        if (number := next(numbers)) % 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        yield a_task(str(number))

    with ScriptedServer() as server:
        server.poll = every_other
        with poller_for(server):
            server.wait_for_updates(60)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.bug("pyzeebe: unmapped status")
@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_polling_outlives_every_status(code: grpc.StatusCode) -> None:
    numbers = itertools.count()

    def first_fails(
        request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext
    ) -> Iterator[task_pb2.Task]:
        if next(numbers) == 0:
            context.abort(code, "for a reason of its own")
        yield from server.hand_out(request, context)

    with ScriptedServer() as server:
        server.poll = first_fails
        server.add(a_task("a"))
        with poller_for(server):
            server.wait_for_updates(1)


@pytest.mark.bug("Python: busy wait")
@pytest.mark.feature("conductor-python: waiting for a slot")
def test_a_worker_without_a_free_slot_neither_polls_nor_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    running, release = threading.Event(), threading.Event()
    reservations: list[int] = []
    reserve = Slots.reserve

    def counted(self: Slots, most: int, *arguments: Any, **keywords: Any) -> int:
        reservations.append(most)
        return reserve(self, most, *arguments, **keywords)

    @worker_task("work")
    def slow() -> None:
        running.set()
        release.wait(30)

    monkeypatch.setattr(Slots, "reserve", counted)
    with ScriptedServer() as server, poller_for(server, slow):
        server.add(a_task("a"))
        assert running.wait(20)
        wait_for(lambda: len(reservations) > len(server.polls))
        before = len(reservations), len(server.polls)
        assert not release.wait(0.5)  # nothing is what is to happen
        assert (len(reservations), len(server.polls)) == before
        release.set()


@pytest.mark.bug("Java: sleeps when full")
def test_a_free_slot_and_a_resumption_are_used_at_once() -> None:
    """An idle poll may take five seconds; neither the end of a task nor `resume` waits for anything of that length."""
    began: dict[str, float] = {}
    first, second, release = threading.Event(), threading.Event(), threading.Event()

    @worker_task("work")
    def slow(task: Task) -> None:
        began[task.task_id] = time.monotonic()
        (first if task.task_id == "a" else second).set()
        release.wait(30)

    with ScriptedServer() as server, poller_for(server, slow, poll_wait_ms=5_000) as poller:
        server.add(a_task("a"))
        assert first.wait(20)
        server.add(a_task("b"))
        freed = time.monotonic()
        release.set()
        assert second.wait(20)
        assert began["b"] - freed < 3.0
        poller.pause("work")
        server.add(a_task("c"))  # ends the poll in flight, if there is one
        server.wait_for_updates(2)
        poller.resume("work")
        resumed = time.monotonic()
        server.add(a_task("d"))
        server.wait_for_updates(4)
        assert time.monotonic() - resumed < 3.0


@pytest.mark.bug("D12")
@pytest.mark.bug("python-sdk#384")
@pytest.mark.feature("conductor-python: long poll")
@pytest.mark.feature("conductor-python: cost of an idle worker")
def test_an_idle_worker_asks_once_in_the_time_that_it_was_given() -> None:
    with ScriptedServer() as server, poller_for(server, poll_wait_ms=3_000):
        began = time.monotonic()
        server.wait_for_polls(2)
        assert time.monotonic() - began > 2.5
        assert {poll.timeout for poll in server.polls} == {3_000}


@pytest.mark.bug("python-sdk#348")
def test_no_domain_is_polled_that_nobody_has_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDUCTOR_WORKER_DOMAIN", raising=False)
    with ScriptedServer() as server, poller_for(server):
        server.wait_for_polls(1)
        assert server.polls[0].domain == ""


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.bug("python-sdk#410")
@pytest.mark.feature("Keepalive, reconnection")
@pytest.mark.feature("conductor-python: HTTP/2")
def test_polling_goes_on_over_connections_that_do_not_last() -> None:
    """As behind a load balancer that tells every connection after a moment to go away (GOAWAY), and then cuts it."""
    peers: set[str] = set()
    ids = map(str, itertools.count())

    def noting(request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        peers.add(context.peer())
        yield from server.hand_out(request, context)

    def is_done() -> bool:
        if len(peers) >= 5 and not server.updates:
            server.add(a_task(next(ids)))  # one may be cut off on its way, but not all
        return bool(server.updates)

    age = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 50)]
    with ScriptedServer(age) as server:
        server.poll = noting
        with poller_for(server, poll_wait_ms=300):
            wait_for(is_done)


@pytest.mark.bug("python-sdk#436")
@pytest.mark.feature("conductor-python: threads instead of processes")
def test_a_poller_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError("no processes here")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", forbidden)
    monkeypatch.setattr(subprocess.Popen, "__init__", forbidden)
    monkeypatch.setattr("os.fork", forbidden)
    with ScriptedServer() as server, poller_for(server):
        server.add(a_task("a"))
        server.wait_for_updates(1)
