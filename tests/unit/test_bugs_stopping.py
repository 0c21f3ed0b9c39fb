"""Bugs of other worker SDKs in how they stop: each test fails once the bug is put in here."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, DrainReport, TaskPoller, WorkerInterface, worker_task
from conductor_grpc.poller.parts import Parts
from conductor_grpc.transport.server_version import LeaseSupport


def poller_for(server: ScriptedServer, *workers: WorkerInterface) -> TaskPoller:
    return TaskPoller(workers, Configuration("", target=server.target, poll_wait_ms=50))


@pytest.mark.bug("Java: leases end before the drain")
@pytest.mark.bug("Python: lease ends before the update")
def test_leases_are_extended_until_the_last_task_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "_lease_support", lambda _: LeaseSupport.YES)
    running, release = threading.Event(), threading.Event()
    reports: list[DrainReport] = []

    @worker_task("work")
    def slow() -> None:
        running.set()
        release.wait(60)

    with ScriptedServer() as server:
        server.add(a_task("a", response_timeout_seconds=1))
        poller = poller_for(server, slow)
        poller.start()
        assert running.wait(20)
        stopping = threading.Thread(target=lambda: reports.append(poller.stop(60)))
        stopping.start()
        wait_for(lambda: poller.health().state == "stopping")
        before = len(server.updates)
        assert all(update.extend_lease for update in server.wait_for_updates(before + 3))
        release.set()
        stopping.join(30)
    assert reports == [DrainReport(done=1)]


@pytest.mark.bug("Java: deadlines add up")
def test_all_workers_share_one_deadline() -> None:
    begun, release = threading.Semaphore(0), threading.Event()

    def stuck() -> None:
        begun.release()
        release.wait(60)

    names = [f"stuck {number}" for number in range(4)]
    with ScriptedServer() as server:
        poller = poller_for(server, *(worker_task(name)(stuck) for name in names))
        server.poll = lambda request, context: (
            iter([a_task(request.task_type, request.task_type)])
            if sum(each.task_type == request.task_type for each in server.polls) == 1
            else server.hand_out(request, context)
        )
        poller.start()
        assert all(begun.acquire(timeout=20) for _ in names)
        began = time.monotonic()
        report = poller.stop(1.0)
        took = time.monotonic() - began
        release.set()
    assert report == DrainReport(cancelled=4)
    assert took < 3.0


@pytest.mark.bug("D1")
@pytest.mark.bug("python-sdk#224")
@pytest.mark.bug("python-sdk#243")
def test_sigterm_lets_a_running_task_end_and_sends_its_result() -> None:
    running, release = threading.Event(), threading.Event()

    @worker_task("work")
    def slow() -> str:
        running.set()
        assert release.wait(60)
        return "to its end"

    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = poller_for(server, slow)

        def terminate() -> None:
            assert running.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: poller.health().state == "stopping")
            release.set()

        terminating = threading.Thread(target=terminate)
        terminating.start()
        report = poller.run()
        terminating.join(20)
        (result,) = server.updates
    assert report == DrainReport(done=1)
    assert result.output_data["result"].string_value == "to its end"


@pytest.mark.bug("D8")
@pytest.mark.feature("conductor-python: embedding in an application")
def test_no_thread_is_left_after_the_stop() -> None:
    before = set(threading.enumerate())

    @worker_task("async")
    async def coroutine() -> None:
        pass

    @worker_task("plain")
    def plain() -> None:
        pass

    def ours() -> set[str]:
        return {each.name for each in threading.enumerate() if each not in before}

    with ScriptedServer() as server:
        poller = poller_for(server, coroutine, plain)
        poller.start()
        server.add(a_task("a", "async"), a_task("b", "plain"))
        server.wait_for_updates(2)
        served = len(server.polls)
        assert {"conductor-outbox", "plain-0"} <= ours()
        poller.stop(10)
        wait_for(lambda: not any(name.startswith(("conductor", "plain")) for name in ours()), 5)
        assert len(server.polls) <= served + 2, "the poll in flight of each worker"
