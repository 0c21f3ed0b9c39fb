"""Workers that register themselves, while their poller polls already."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING
from unittest.mock import Mock

import grpc
import pytest
from waiting import wait_for

from conductor_grpc import Configuration, MetadataClient, TaskDefinition, TaskPoller, worker_task
from conductor_grpc.errors import InvalidRequestError, UnavailableError, UnknownServerError, WorkerDefinitionError
from conductor_grpc.poller import planner
from conductor_grpc.poller.registration import WorkerRegistration
from conductor_grpc.registration import Registrar, declared_by
from conductor_grpc.server import EmbeddedServer, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator


@worker_task("greet", register=True, definition=TaskDefinition(retry_count=2))
def greet(name: str) -> None:
    del name


@worker_task("plain", register=True)
def plain() -> None: ...


@worker_task("silent", definition=TaskDefinition(retry_count=2))
def silent() -> None: ...


WORKERS = [greet, plain, silent]


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=True) as server:
        yield server


def registration(registrar: Registrar) -> WorkerRegistration:
    return WorkerRegistration(declared_by(WORKERS), registrar, lambda *_: pytest.fail("died"))


def run_to_its_end(configuration: Configuration) -> None:
    with Registrar(configuration) as registrar:
        part = registration(registrar)
        part.start()
        assert part.join(30)


@pytest.mark.feature("conductor-python: registration of task definitions")
def test_those_that_ask_for_it_are_created(server: EmbeddedServer) -> None:
    configuration = Configuration("", target=server.target)
    run_to_its_end(configuration)
    with MetadataClient(configuration) as client:
        assert client.get_task("greet")["retryCount"] == 2
        assert client.get_task("plain")["responseTimeoutSeconds"] == 600
    with Registrar(configuration) as registrar:
        (_, _, left_out) = declared_by(WORKERS)
        assert registrar.register_declared(left_out, dry_run=True).outcome.value == "created"


@pytest.mark.feature("conductor-python: registration of task definitions")
def test_one_that_differs_is_told_of_and_left(server: EmbeddedServer, caplog: pytest.LogCaptureFixture) -> None:
    configuration = Configuration("", target=server.target)
    with MetadataClient(configuration) as client:
        client.register_task({"name": "greet", "retryCount": 7, "inputKeys": ["name"]})
        client.register_task({"name": "plain", "retryCount": 7})
        run_to_its_end(configuration)
        assert client.get_task("greet")["retryCount"] == 7
        assert client.get_task("plain")["retryCount"] == 7
    (told,) = [record for record in caplog.records if record.name.startswith("conductor_grpc.poller")]
    assert told.levelno == logging.WARNING
    assert told.getMessage() == (
        "task definition 'greet' on the server is not that of the worker here, and was left as it is:"
        " responseTimeoutSeconds: 3600 on the server, 600 here; retryCount: 7 on the server, 2 here. To replace it:"
        f" conductor-grpc apply --from {__name__} --overwrite"
    )


def test_a_server_that_comes_later_is_waited_for() -> None:
    (port,) = free_ports(1)
    configuration = Configuration("", target=f"127.0.0.1:{port}")
    with Registrar(configuration) as registrar:
        tried, register = threading.Event(), registrar.register_declared

        def note(*args: object) -> object:
            try:
                return register(*args)  # type: ignore[arg-type]
            finally:
                tried.set()

        registrar.register_declared = note  # type: ignore[assignment,method-assign]
        part = registration(registrar)
        part.start()
        assert tried.wait(30)
        assert part.alive
        with EmbeddedServer(port, strict=True), MetadataClient(configuration) as client:
            assert part.join(60)
            assert client.get_task("greet")["retryCount"] == 2
            assert client.get_task("plain")["retryCount"] == 3


def test_one_that_is_refused_is_an_error_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    refused = InvalidRequestError("it is too small", code=grpc.StatusCode.UNKNOWN)
    registrar = Mock(register_declared=Mock(side_effect=[refused, Mock()]))
    part = registration(registrar)
    part.start()
    assert part.join(30)
    assert [call.args[0].name for call in registrar.register_declared.call_args_list] == ["greet", "plain"]
    (told,) = caplog.records
    assert (told.levelno, told.getMessage()) == (
        logging.ERROR,
        "task definition 'greet' is not registered: it is too small",
    )
    assert told.exc_info is None


def test_it_does_not_wait_for_a_server_when_it_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "pause", lambda *_: 600.0)
    tried = threading.Event()

    def fail(_: object) -> None:
        tried.set()
        raise UnavailableError("not there", code=grpc.StatusCode.UNAVAILABLE)

    part = registration(Mock(register_declared=fail))
    part.start()
    assert tried.wait(30)
    part.stop()
    assert part.join(30)
    assert not part.died


def test_a_poller_registers_its_workers_and_polls_meanwhile() -> None:
    """The server comes after the start, which waits for none, and neither does the stop."""
    (port,) = free_ports(1)
    configuration = Configuration("", target=f"127.0.0.1:{port}", poll_wait_ms=100)
    with (
        TaskPoller(WORKERS, configuration) as poller,
        EmbeddedServer(port, strict=True),
        MetadataClient(configuration) as client,
    ):
        wait_for(lambda: knows(client, "greet") and knows(client, "plain"))
        assert not knows(client, "silent")
        wait_for(lambda: poller.health().healthy)
        assert poller.stop(10).unsent == 0


def test_a_poller_without_a_server_stops_while_it_registers(caplog: pytest.LogCaptureFixture) -> None:
    poller = TaskPoller(WORKERS, Configuration("", target="127.0.0.1:1", poll_wait_ms=100))
    poller.start()
    poller.stop(0)
    assert poller.health().dead_parts == ()
    assert poller.join(30)
    wait_for(lambda: all(thread.name != "conductor-registration" for thread in threading.enumerate()))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_two_definitions_of_one_type_are_refused_before_the_start() -> None:
    other = worker_task("greet", domain="other", definition=TaskDefinition(retry_count=3))(plain.__wrapped__)
    said = "two workers of 'greet' have definitions that differ, .* one: retry_count [0-9]+ and 3.* Give it to one"
    with pytest.raises(WorkerDefinitionError, match=said):
        TaskPoller([greet, other], Configuration("", target="127.0.0.1:1"))


def knows(client: MetadataClient, name: str) -> bool:
    try:
        return client.get_task(name)["name"] == name
    except UnknownServerError:
        return False


def test_a_fault_of_its_own_is_a_death(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    part = WorkerRegistration(
        declared_by(WORKERS), Mock(register_declared=Mock(side_effect=RuntimeError)), lambda name, _: told.append(name)
    )
    part.start()
    assert part.join(30)
    assert told == ["conductor-registration"]
    assert "conductor-registration died" in caplog.text
