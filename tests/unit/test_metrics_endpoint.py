"""The endpoint, and both probes in each bad state."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from metrics_text import get, probe, scrape
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, ConfigurationError, MetricsSettings, TaskPoller, worker_task
from conductor_grpc.observe import http_endpoint
from conductor_grpc.poller import planner
from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc import WorkerInterface


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@worker_task("work")
def work() -> None:
    """Done at once."""


def poller_for(server: ScriptedServer, port: int, worker: WorkerInterface = work, **settings: Any) -> TaskPoller:
    metrics = MetricsSettings(http_port=port, **settings)
    return TaskPoller([worker], Configuration("", target=server.target, poll_wait_ms=50), metrics_settings=metrics)


class Stuck:
    """A worker that holds its tasks."""

    def __init__(self, concurrency: int) -> None:
        self.running, self.release = threading.Event(), threading.Event()

        @worker_task("work", concurrency=concurrency)
        def hold() -> None:
            self.running.set()
            self.release.wait(60)

        self.worker = hold

    def __enter__(self) -> Stuck:
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()


def unavailable(_request: object, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "going down")


@pytest.mark.feature("Health endpoint")
def test_a_poller_that_is_well(server: ScriptedServer, port: int) -> None:
    with poller_for(server, port):
        server.wait_for_polls(2)
        for path in ("/livez", "/readyz", "/readyz?verbose"):
            status, document = probe(port, path)
            assert (status, document["status"], document["reasons"]) == (200, "ok", [])
            assert document["health"]["workers"][0]["task_definition_name"] == "work"


@pytest.mark.feature("Health endpoint")
def test_polls_that_fail(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, port: int) -> None:
    """Each of them for a moment only: it is all of them together that takes too long."""
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(planner, "BACKOFF_LIMIT", 0.02)
    server.poll = unavailable
    with poller_for(server, port, poll_overdue_after=0.8):
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        reasons = probe(port, "/readyz")[1]["reasons"]
        assert len(reasons) == 1
        assert "no poll for 'work' has succeeded for" in reasons[0]
        assert "(limit 0.8 s)" in reasons[0]
        assert "going down" in reasons[0]
        assert probe(port, "/livez")[0] == 200, "a new process would not help"
        assert scrape(port).value("conductor_worker_last_successful_poll_timestamp_seconds", taskType="work") == 0
        server.poll = server.hand_out
        wait_for(lambda: probe(port, "/readyz")[0] == 200)


@pytest.mark.feature("conductor-python: health of the worker")
def test_a_poll_that_is_not_answered(server: ScriptedServer, port: int) -> None:
    release = threading.Event()

    def hang(_request: object, _context: object) -> Iterator[Any]:
        release.wait(60)
        return iter(())

    server.poll = hang
    with poller_for(server, port, poll_overdue_after=0.2):
        try:
            wait_for(lambda: probe(port, "/readyz")[0] == 503)
            assert "the poll in flight has not been answered" in probe(port, "/readyz")[1]["reasons"][0]
        finally:
            release.set()


def test_who_may_not_poll_is_not_late(server: ScriptedServer, port: int) -> None:
    """All slots taken for longer than a poll may be overdue, and a pause after polls that failed."""
    with Stuck(1) as stuck, poller_for(server, port, stuck.worker, poll_overdue_after=0.2) as poller:
        server.add(a_task("a"))
        assert stuck.running.wait(20)
        wait_for(lambda: (poller.health().workers[0].seconds_since_poll or 0) > 0.4)
        assert probe(port, "/readyz")[0] == 200
        server.poll = unavailable
        stuck.release.set()
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        poller.pause("work")
        assert probe(port, "/readyz")[0] == 200


def test_a_stuck_outbox(server: ScriptedServer, port: int) -> None:
    failing = threading.Event()
    failing.set()

    def update(_result: object, context: grpc.ServicerContext) -> None:
        if failing.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    server.update = update
    with poller_for(server, port, outbox_stuck_after=0.2):
        server.add(a_task("a"))
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        (reason,) = probe(port, "/readyz")[1]["reasons"]
        assert reason.startswith("the outbox is stuck: 1 results wait for the server, the oldest for")
        assert probe(port, "/livez")[0] == 200
        failing.clear()
        wait_for(lambda: probe(port, "/readyz")[0] == 200)


def test_a_dead_part(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, port: int) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the planner")

    with Stuck(2) as stuck, poller_for(server, port, stuck.worker) as poller:
        server.add(a_task("a"))
        assert stuck.running.wait(20)
        monkeypatch.setattr("conductor_grpc.poller.planner.next_poll", broken)
        wait_for(lambda: probe(port, "/livez")[0] == 503)
        (reason,) = probe(port, "/livez")[1]["reasons"]
        assert reason == "conductor-intake-work died: RuntimeError: a bug in the planner"
        assert reason in probe(port, "/readyz")[1]["reasons"]
        assert scrape(port).value("thread_uncaught_exceptions_total") == 1
        stuck.release.set()
        poller._ended.wait(20)


def test_a_part_that_has_just_ended_is_dead_too(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, port: int
) -> None:
    with poller_for(server, port) as poller:
        monkeypatch.setattr(poller._parts.lanes[0].intake, "_may_poll", lambda: False)
        wait_for(lambda: probe(port, "/livez")[0] == 503)
        assert probe(port, "/livez")[1]["reasons"] == ["conductor-intake-work died: its thread has ended"]


def test_stopping(server: ScriptedServer, port: int) -> None:
    with Stuck(1) as stuck:
        poller = poller_for(server, port, stuck.worker)
        poller.start()
        server.add(a_task("a"))
        assert stuck.running.wait(20)
        stopper = threading.Thread(target=poller.stop)
        stopper.start()
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        assert probe(port, "/readyz")[1]["reasons"] == ["the poller is stopping"]
        assert probe(port, "/livez")[0] == 200, "a drain must not be cut short"
        stuck.release.set()
        stopper.join(20)
    assert not stopper.is_alive()
    with pytest.raises(ConnectionRefusedError):
        get(port, "/livez")
    assert not [each.name for each in threading.enumerate() if each.name.startswith("conductor-")]


def test_a_port_in_use_is_told_and_nothing_is_left_behind(server: ScriptedServer, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        poller = poller_for(server, port)
        with pytest.raises(ConfigurationError, match=rf"http_port={port}\): cannot listen there.*in use.*another port"):
            poller.start()
    assert server.polls == []
    assert not [each.name for each in threading.enumerate() if each.name.startswith("conductor-")]
    with poller_for(server, port):
        assert get(port, "/livez")[0] == 200


def test_only_this_machine_is_listened_to(server: ScriptedServer, port: int) -> None:
    with poller_for(server, port), socket.socket() as outside:
        outside.settimeout(5)
        # All of 127.0.0.0/8 is this machine; only the one address is listened at.
        assert outside.connect_ex(("127.0.0.2", port)) != 0


def test_ipv6(server: ScriptedServer, port: int) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with poller_for(server, port, http_host="::1"):
        assert get(port, "/livez", host="::1")[0] == 200


def test_other_paths_and_clients_that_say_nothing(
    monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, port: int
) -> None:
    monkeypatch.setattr(http_endpoint._Handler, "timeout", 60.0)
    with poller_for(server, port):
        status, text = get(port, "/")
        assert status == 404
        assert "/metrics, /livez, /readyz" in text
        idle = socket.create_connection(("127.0.0.1", port))
        try:
            assert get(port, "/livez")[0] == 200, "a client that says nothing holds up another"
        finally:
            idle.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/metrics")
        assert connection.getresponse().status == 501
        connection.close()


def test_a_reading_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, port: int) -> None:
    def broken() -> None:
        raise RuntimeError("a bug in the health")

    with poller_for(server, port) as poller:
        observer = poller._parts.resources._exit_callbacks[-1][1].__wrapped__.__self__  # type: ignore[attr-defined]
        monkeypatch.setattr(observer, "_health", broken)
        status, text = get(port, "/metrics")
        assert status == 500
        assert "a bug in the health" in text
        monkeypatch.undo()
        assert get(port, "/metrics")[0] == 200
