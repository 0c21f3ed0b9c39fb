"""The embedded server's life: arguments, start, stop, what is left of it, and the services beside Conductor's."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from waiting import wait_for

from conductor_grpc.errors import LauncherError
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.services import (
    metadata_service_pb2,
    metadata_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from conductor_grpc.server.embedded.server import THREADS, EmbeddedServer
from conductor_grpc.server.embedded.services.task import MOST_WAITING_POLLS
from conductor_grpc.server.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLLS = 20


class Connection:
    """Stubs for one server, over a connection of their own."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.channel = grpc.insecure_channel(server.target, [("grpc.use_local_subchannel_pool", 1)])
        self.tasks = task_service_pb2_grpc.TaskServiceStub(self.channel)
        self.metadata = metadata_service_pb2_grpc.MetadataServiceStub(self.channel)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def define(self, name: str) -> None:
        definition = TaskDef(name=name, response_timeout_seconds=60, backoff_scale_factor=1)
        self.metadata.CreateTasks(metadata_service_pb2.CreateTasksRequest(defs=[definition]), wait_for_ready=True)

    def knows(self, name: str) -> bool:
        call = self.metadata.GetTask.future(metadata_service_pb2.GetTaskRequest(task_type=name), wait_for_ready=True)
        assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND)
        return call.code() is grpc.StatusCode.OK


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    server = EmbeddedServer()
    yield server
    server.stop()


def test_it_answers_once_it_is_started(server: EmbeddedServer) -> None:
    assert not server.running
    with server as started:
        assert started is server
        assert server.running
        with Connection(server) as connection:
            connection.define("t")
            assert connection.knows("t")
            assert not connection.knows("u")
    assert not server.running


def test_a_second_start_is_refused(server: EmbeddedServer) -> None:
    server.start()
    with pytest.raises(LauncherError, match=f"already runs, at {server.target}; stop it first"):
        server.start()


def test_stop_is_always_fine(server: EmbeddedServer) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_many_threads_may_stop_it_at_once(server: EmbeddedServer) -> None:
    server.start()
    threads = [threading.Thread(target=server.stop) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not server.running


def test_a_port_is_known_from_the_first_start_on(server: EmbeddedServer) -> None:
    with pytest.raises(LauncherError, match="start it before"):
        server.target  # noqa: B018
    server.start()
    target = server.target
    server.stop()
    assert server.target == target
    server.start()
    assert server.target == target
    (port,) = free_ports(1)
    assert EmbeddedServer(port).target == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": 65536}, "port is 65536, expected 1 to 65535, or 0"),
        ({"port": -1}, "port is -1"),
        ({"port": "8090"}, "port is '8090'"),
        ({"port": True}, "port is True"),
        ({"host": ""}, "host is '', expected a name or an IP address"),
        ({"host": None}, "host is None"),
        ({"keep_finished": -1}, "keep_finished is -1, expected a number of workflows"),
        ({"keep_finished": "all"}, "keep_finished is 'all'"),
    ],
)
def test_arguments_that_cannot_work(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LauncherError, match=message):
        EmbeddedServer(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "no-such-host.invalid"}, "host is 'no-such-host.invalid', which cannot be resolved"),
        ({"host": "203.0.113.1"}, "cannot listen on 203.0.113.1:0: Cannot assign requested address"),
        ({"database": "/no/such/folder/x.db"}, "no folder /no/such/folder"),
    ],
)
def test_starts_that_cannot_work(arguments: dict[str, Any], message: str) -> None:
    server = EmbeddedServer(**arguments)
    threads = threading.active_count()
    with pytest.raises(LauncherError, match=message):
        server.start()
    assert not server.running
    assert threading.active_count() == threads


def test_a_port_that_is_taken(server: EmbeddedServer) -> None:
    server.start()
    port = int(server.target.rpartition(":")[2])
    with pytest.raises(LauncherError, match=f"port {port} of 127.0.0.1 is taken by another program; stop that, or"):
        EmbeddedServer(port).start()
    with Connection(server) as connection:
        connection.define("still here")


@pytest.mark.parametrize(
    ("host", "target"),
    [("localhost", "localhost:"), ("0.0.0.0", "127.0.0.1:"), ("127.0.0.1", "127.0.0.1:")],
)
def test_hosts(host: str, target: str) -> None:
    with EmbeddedServer(host=host) as server, Connection(server) as connection:
        assert server.target.startswith(target)
        connection.define("t")


@pytest.mark.parametrize("strict", [False, True])
def test_polls_that_wait_end_when_it_stops_and_no_thread_is_left(strict: bool) -> None:
    before = set(threading.enumerate())
    server = EmbeddedServer(strict=strict)
    server.start()
    with Connection(server) as connection:
        connection.define("t")
        requests = (task_service_pb2.BatchPollRequest(task_type=f"t{n}", count=2, timeout=5000) for n in range(POLLS))
        polls = [connection.tasks.BatchPoll(request) for request in requests]
        # A poll that waits has a thread to itself.
        wait_for(lambda: sum(each.name.startswith("embedded-server") for each in threading.enumerate()) > POLLS)
        server.stop()
        # Not one was cut off: then the call would fail.
        assert [list(poll) for poll in polls] == [[]] * POLLS
    wait_for(lambda: set(threading.enumerate()) <= before)


def test_however_many_polls_wait_other_calls_are_answered(server: EmbeddedServer) -> None:
    server.start()
    with Connection(server) as crowd, Connection(server) as connection:
        connection.define("t")
        requests = (task_service_pb2.BatchPollRequest(task_type=f"t{n}", timeout=60_000) for n in range(THREADS + 1))
        polls = [crowd.tasks.BatchPoll(request) for request in requests]
        # One more than there are threads: those that find no place to wait have empty answers at once.
        wait_for(lambda: sum(poll.done() for poll in polls) >= THREADS + 1 - MOST_WAITING_POLLS)
        assert connection.knows("t")
        assert not all(poll.done() for poll in polls)
        server.stop()
        assert all(list(poll) == [] for poll in polls)


def test_what_is_in_memory_is_gone_after_a_stop(server: EmbeddedServer) -> None:
    server.start()
    with Connection(server) as connection:
        connection.define("t")
        server.stop()
        server.start()
        assert not connection.knows("t")


def test_what_is_in_a_database_stays(tmp_path: Path) -> None:
    path = tmp_path / "conductor.db"
    with EmbeddedServer(database=path) as server, Connection(server) as connection:
        connection.define("t")
        server.stop()
        server.start()
        assert connection.knows("t")
    with EmbeddedServer(database=str(path)) as other, Connection(other) as connection:
        assert connection.knows("t")


def test_a_database_has_one_server(tmp_path: Path) -> None:
    path = tmp_path / "conductor.db"
    with EmbeddedServer(database=path):
        second = EmbeddedServer(database=path)
        with pytest.raises(LauncherError, match="in use by another server"):
            second.start()
    second.start()
    second.stop()


def test_time_does_not_go_back_over_a_restart(server: EmbeddedServer) -> None:
    server.start()
    server.clock.advance(3600)
    moved_on = server.clock.now()
    server.stop()
    server.start()
    assert server.clock.now() >= moved_on


@pytest.mark.parametrize("service", ["", "conductor.grpc.tasks.TaskService", "anything"])
def test_health_of_every_service_is_serving(server: EmbeddedServer, service: str) -> None:
    server.start()
    name = service.encode()
    with Connection(server) as connection:
        check = connection.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01"


def test_without_its_package_reflection_says_so(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc_reflection.v1alpha.reflection_pb2", None)
    server.start()
    with Connection(server) as connection:
        ask = connection.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as caught:
            next(ask(iter([b""])))
        connection.define("all else works")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "pip install grpcio-reflection" in caught.value.details()
