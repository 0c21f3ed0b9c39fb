"""A server behind nginx, which asks for TLS, a client certificate and a token: what gets through, and what is told."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from command import conductor_grpc
from conftest import ServerAddress
from tls_stand import Certificates, Nginx, TokenService
from waiting import wait_for

from conductor_grpc import (
    AuthenticationError,
    AuthenticationSettings,
    Configuration,
    MetadataClient,
    TaskClient,
    TaskPoller,
    TlsError,
    TlsSettings,
    UnavailableError,
    WorkflowClient,
    worker_task,
)
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.transport.channel import open_aio_channel
from conductor_grpc.transport.methods import UPDATE_TASK, raw_aio_unary
from conductor_grpc.transport.rest import open_rest_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = AuthenticationSettings("the-key", "the-s3cret")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority that this server knows nothing of."""
    return Certificates(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=True) as server:
        yield server


@pytest.fixture
def service() -> Iterator[TokenService]:
    with TokenService("good") as running:
        yield running


def call_by_grpc(configuration: Configuration) -> None:
    with TaskClient(configuration) as client:
        assert client.batch_poll("nothing", count=1, wait_ms=1).tasks == ()


def call_by_asyncio(configuration: Configuration) -> None:
    async def call() -> None:
        async with open_aio_channel(configuration) as channel:
            await raw_aio_unary(channel, UPDATE_TASK)(b"")

    asyncio.run(call())


def call_by_rest(configuration: Configuration) -> None:
    with open_rest_client(configuration) as client:  # type: ignore[union-attr]
        client.pending_tasks("nothing")


ANY_CALL = pytest.mark.parametrize("call", [call_by_grpc, call_by_asyncio, call_by_rest])


def configuration_of(nginx: Nginx, tls: TlsSettings, **settings: Any) -> Configuration:
    return Configuration(nginx.base_url, target=nginx.target, tls=tls, **{"call_timeout": 10, **settings})


@ANY_CALL
def test_a_server_certificate_that_is_not_to_be_trusted(
    call: Callable[[Configuration], None],
    ours: Certificates,
    theirs: Certificates,
    embedded: EmbeddedServer,
    tmp_path: Path,
) -> None:
    with Nginx(tmp_path / "nginx", ours, embedded.target) as nginx:
        for tls in (TlsSettings(theirs.ca), TlsSettings()):
            with pytest.raises(TlsError, match=r"authority that is not trusted here: give TlsSettings\(ca="):
                call(configuration_of(nginx, tls))
    expired = ours.issue("expired-server", "127.0.0.1", expired=True)
    with (
        Nginx(tmp_path / "expired", ours, embedded.target, server_certificate=expired) as nginx,
        pytest.raises(TlsError, match="The server's certificate has expired"),
    ):
        call(configuration_of(nginx, TlsSettings(ours.ca)))
    other = ours.issue("other-server", "conductor.example")
    with Nginx(tmp_path / "other", ours, embedded.target, server_certificate=other) as nginx:
        with pytest.raises(TlsError, match=r"for another name: .*server_name"):
            call(configuration_of(nginx, TlsSettings(ours.ca)))
        call_by_grpc(configuration_of(nginx, TlsSettings(ours.ca, server_name="conductor.example")))


@pytest.mark.parametrize(
    ("call", "speaks_grpc"),
    [
        (call_by_grpc, False),
        (call_by_grpc, True),
        (call_by_asyncio, False),
        (call_by_asyncio, True),
        (call_by_rest, False),
    ],
)
@pytest.mark.feature("TLS, client certificates, keys")
def test_a_client_certificate_that_is_not_accepted(
    call: Callable[[Configuration], None],
    speaks_grpc: bool,
    ours: Certificates,
    theirs: Certificates,
    embedded: EmbeddedServer,
    tmp_path: Path,
) -> None:
    expired = ours.issue("expired", "client", expired=True)
    wrong = theirs.issue("wrong", "client")
    # grpcio sees nginx's page for what it is, or now and then only that the answer broke off.
    error: Any = TlsError if speaks_grpc or call is call_by_rest else (TlsError, UnavailableError)
    with Nginx(tmp_path / "nginx", ours, embedded.target, client_ca=ours.ca, speaks_grpc=speaks_grpc) as nginx:
        for tls, says in (
            (TlsSettings(ours.ca), r"No client certificate was sent: give TlsSettings\(certificate=\.\.\., key="),
            (TlsSettings(ours.ca, *expired), rf"The client certificate '{expired[0]}' has expired on 20.*renew"),
            (TlsSettings(ours.ca, *wrong), rf"'{wrong[0]}' has not expired .* authority that is not trusted there"),
        ):
            with pytest.raises(error, match=says):
                call(configuration_of(nginx, tls))
        call_by_grpc(configuration_of(nginx, TlsSettings(ours.ca, *ours.issue("good", "client"))))


@ANY_CALL
def test_a_token_that_is_missing_or_stale(
    call: Callable[[Configuration], None],
    ours: Certificates,
    service: TokenService,
    embedded: EmbeddedServer,
    tmp_path: Path,
) -> None:
    def refused(says: str, **settings: Any) -> None:
        with pytest.raises(AuthenticationError, match=says):
            call(configuration_of(nginx, TlsSettings(ours.ca), **settings))

    with Nginx(tmp_path / "nginx", ours, embedded.target, tokens=("good",), token_service=service.base_url) as nginx:
        refused("No token was sent: give")
        refused(r"the headers are not enough: check the values", headers={"x-authorization": "made-up"})
        service.give = ["stale"]
        refused("The token is not accepted although it was obtained", authentication_settings=KEY)
        assert len(service.requests) == 2, "the first one, and another after the refusal"
        service.status, service.give = 401, ["unknown"]
        wrong_key = AuthenticationSettings("wrong-key", "the-s3cret")
        refused("unknown.*Check key_id 'wrong-key' and its key_secret", authentication_settings=wrong_key)


def test_plaintext_and_tls_that_do_not_meet(ours: Certificates, embedded: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="does not speak TLS"):
        call_by_grpc(Configuration("", target=embedded.target, tls=TlsSettings(ours.ca)))
    with Nginx(tmp_path / "nginx", ours, embedded.target) as nginx:
        with pytest.raises(UnavailableError, match=r"If it is one that wants TLS: Configuration\(tls="):
            call_by_grpc(Configuration("", target=nginx.target))
        plain = Configuration(nginx.base_url.replace("https", "http"), target=nginx.target)
        with pytest.raises(Exception, match="This port wants TLS: give base_url with https"):
            call_by_rest(plain)


def test_a_poller_that_trusts_another_authority_says_so_aloud_and_once_in_a_while(
    ours: Certificates, theirs: Certificates, embedded: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @worker_task("tls_untrusted")
    def work() -> None: ...

    with Nginx(tmp_path / "nginx", ours, embedded.target) as nginx:
        poller = TaskPoller([work], configuration_of(nginx, TlsSettings(theirs.ca), poll_wait_ms=50))
        with caplog.at_level(logging.DEBUG), poller:
            wait_for(lambda: caplog.text.count("polling 'tls_untrusted' failed") >= 4)
            assert "give TlsSettings(ca=...)" in str(poller.health().workers[0].last_error)
    told = [each for each in caplog.records if "polling 'tls_untrusted' failed" in each.getMessage()]
    assert [each.levelno for each in told[:4]] == [logging.ERROR] * 3 + [logging.DEBUG]
    assert "give TlsSettings(ca=...)" in told[0].getMessage()
    assert "look for stranded" not in caplog.text, "such a poll has taken nothing"


@pytest.mark.feature("TLS, client certificates, keys")
@pytest.mark.feature("conductor-python: TLS and proxies")
@pytest.mark.bug("D12")
def test_workers_before_the_real_server_with_everything_asked_for(
    ours: Certificates,
    service: TokenService,
    real_server: ServerAddress,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Certificates of both ends, and a token, of which the first one is stale."""
    caplog.set_level(logging.DEBUG)
    name = f"tls_{uuid.uuid4().hex[:8]}"

    @worker_task(name)
    def double(number: int) -> dict[str, int]:
        return {"doubled": 2 * number}

    service.give = ["stale", "good"]
    with Nginx(
        tmp_path / "nginx",
        ours,
        real_server.target,
        real_server.base_url,
        client_ca=ours.ca,
        tokens=("good",),
        token_service=service.base_url,
    ) as nginx:
        tls = TlsSettings(ours.ca, *ours.issue("worker", "client"))
        configuration = configuration_of(nginx, tls, authentication_settings=KEY, poll_wait_ms=500)
        with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as workflows:
            task = {"name": name, "retryCount": 0, "ownerEmail": "a@example.com"}
            metadata.register_task(task)
            step = {"name": name, "taskReferenceName": "step", "type": "SIMPLE", "inputParameters": {"number": 21}}
            metadata.register_workflow({"name": name, "version": 1, "tasks": [step], "ownerEmail": "a@example.com"})
            with TaskPoller([double], configuration) as poller:
                ended = workflows.start_and_wait(name, {"number": 21}, timeout=60)
                assert ended.tasks[0].output_data == {"doubled": 42}
                assert poller.health().workers[0].last_error is None
        call_by_rest(configuration)
    assert [each["keySecret"] for each in service.requests] == ["the-s3cret"] * 2
    assert "s3cret" not in caplog.text


def test_the_command_line(
    ours: Certificates,
    theirs: Certificates,
    service: TokenService,
    embedded: EmbeddedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONDUCTOR_AUTH_KEY", "the-key")
    monkeypatch.setenv("CONDUCTOR_AUTH_SECRET", "the-s3cret")
    with Nginx(tmp_path / "nginx", ours, embedded.target, tokens=("good",), token_service=service.base_url) as nginx:
        server = ServerAddress(nginx.target, nginx.base_url)
        unknown = ("status", "no-such-workflow", "--debug")
        done = conductor_grpc(server, *unknown, "--tls-ca", str(ours.ca))
        assert "No such workflow" in done.stderr + done.stdout
        done = conductor_grpc(server, *unknown, "--tls-ca", str(theirs.ca))
        assert "give TlsSettings(ca=...)" in done.stderr
        assert done.returncode != 0
        monkeypatch.delenv("CONDUCTOR_AUTH_KEY")
        monkeypatch.delenv("CONDUCTOR_AUTH_SECRET")
        secret = tmp_path / "token"
        secret.write_text("good\n")
        done = conductor_grpc(server, *unknown, "--tls-ca", str(ours.ca), "--header", f"x-authorization=@{secret}")
        assert "No such workflow" in done.stderr + done.stdout
        done = conductor_grpc(server, *unknown, "--tls-ca", str(ours.ca), "--header", "s3cret")
        assert "expected NAME=VALUE or NAME=@FILE" in done.stderr
        assert "s3cret" not in done.stderr
