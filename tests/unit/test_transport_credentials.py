"""What calls carry over gRPC, and what a refusal means to them and to a poller."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from tls_stand import TokenService
from waiting import wait_for

from conductor_grpc import AuthenticationSettings, Configuration, TaskClient, TaskPoller, worker_task
from conductor_grpc.errors import AuthenticationError, TokenError, TokenUnavailableError
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.poller.intake import Intake
from conductor_grpc.transport import methods
from conductor_grpc.transport.channel import open_aio_channel, open_channel
from conductor_grpc.transport.methods import raw_aio_unary, raw_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL = task_service_pb2.BatchPollRequest(task_type="work", worker_id="w", count=2, timeout=1).SerializeToString()


@worker_task("work")
def work() -> dict[str, str]:
    return {"ran": "yes"}


class Guarded(ScriptedServer):
    """Refuses calls without the token "good", as a proxy before the server would: without a look at its queue."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: list[dict[str, Any]] = []
        self.accepted = "good"
        self.poll = self._poll
        self.update = lambda _result, context: self.check(context)

    def check(self, context: grpc.ServicerContext) -> None:
        carried = {key: value for key, value in context.invocation_metadata() if key.startswith("x-")}
        self.carried.append(carried)
        if carried.get("x-authorization") != self.accepted:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or not valid")

    def _poll(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.check(context)
        yield from self.hand_out(request, context)


@pytest.fixture
def server() -> Iterator[Guarded]:
    with Guarded() as running:
        yield running


@pytest.fixture
def service() -> Iterator[TokenService]:
    with TokenService("good") as running:
        yield running


def configuration_of(server: Guarded, service: TokenService, **settings: Any) -> Configuration:
    key = AuthenticationSettings("key", "s3cret")
    defaults = {"poll_wait_ms": 50, "call_timeout": 10}
    return Configuration(
        service.base_url, target=server.target, authentication_settings=key, **{**defaults, **settings}
    )


def test_token_and_headers_go_with_every_call_and_nowhere_else(
    server: Guarded, service: TokenService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.accepted, service.give = "t0ken", ["t0ken"]
    configuration = configuration_of(server, service, headers={"X-Tenant": "h3ader"}, debug=True, journal=tmp_path)
    with TaskPoller([work], configuration) as poller:
        server.add(a_task("1"))
        server.wait_for_updates(1)
        written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        shown = f"{poller.health()!r} {poller!r} {configuration!r} {caplog.text} {written!r}"
    assert written
    assert not [secret for secret in ("t0ken", "h3ader", "s3cret") if secret in shown]
    assert {tuple(sorted(each.items())) for each in server.carried} == {
        (("x-authorization", "t0ken"), ("x-tenant", "h3ader"))
    }
    assert len(service.requests) == 1
    assert all(each["x-tenant"] == "h3ader" for each in service.sent_headers), "the token service may want them too"


@pytest.mark.parametrize("how", ["stream", "unary", "asyncio"])
@pytest.mark.bug("python-sdk#299")
def test_a_stale_token_is_replaced_once(server: Guarded, service: TokenService, how: str) -> None:
    service.give = ["stale", "good"]
    configuration = configuration_of(server, service)
    server.add(a_task("1"))

    async def update() -> None:
        async with open_aio_channel(configuration) as channel:
            await raw_aio_unary(channel, methods.UPDATE_TASK)(b"")

    def call() -> None:
        if how == "asyncio":
            asyncio.run(update())
            return
        with open_channel(configuration) as channel:
            if how == "stream":
                assert len(list(raw_stream(channel, methods.BATCH_POLL)(POLL))) == 1
            else:
                methods.raw_unary(channel, methods.UPDATE_TASK)(b"")

    call()
    assert [each["x-authorization"] for each in server.carried] == ["stale", "good"]
    server.accepted = "another"
    service.give = ["refused-as-well"]
    with pytest.raises(
        AuthenticationError, match=r"not valid \[UNAUTHENTICATED\]\. The token is not accepted although"
    ):
        call()
    assert len(server.carried) <= 4


def test_a_stream_is_begun_again_only_if_nothing_came(server: Guarded, service: TokenService) -> None:
    def poll(_request: Any, context: grpc.ServicerContext) -> Any:
        yield a_task("1")
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "after the first")

    server.poll = poll
    with open_channel(configuration_of(server, service)) as channel:
        messages = raw_stream(channel, methods.BATCH_POLL)(POLL)
        next(messages)
        with pytest.raises(AuthenticationError, match="after the first"):
            next(messages)
    assert len(server.polls) == 1


def test_another_status_than_unauthenticated_is_not_tried_again(server: Guarded, service: TokenService) -> None:
    server.poll = lambda _request, context: context.abort(grpc.StatusCode.PERMISSION_DENIED, "not yours")
    with open_channel(configuration_of(server, service)) as channel, pytest.raises(AuthenticationError):
        list(raw_stream(channel, methods.BATCH_POLL)(POLL))
    assert len(server.polls) == len(service.requests) == 1


def test_without_a_token_the_error_tells_that_none_was_sent(server: Guarded) -> None:
    plain = Configuration("", target=server.target)
    with TaskClient(plain) as client, pytest.raises(AuthenticationError, match=r"No token was sent: give .*headers="):
        client.batch_poll("work", count=1, wait_ms=1)
    guessed = plain.with_changes(headers={"x-authorization": "guess"})
    with TaskClient(guessed) as client, pytest.raises(AuthenticationError, match="the headers are not enough"):
        client.batch_poll("work", count=1, wait_ms=1)


@pytest.mark.feature("conductor-python: backoff without a token")
def test_a_call_is_not_made_without_a_token(server: Guarded, service: TokenService) -> None:
    service.status = 401
    with open_channel(configuration_of(server, service)) as channel, pytest.raises(TokenError):
        raw_stream(channel, methods.BATCH_POLL)(POLL)
    service.status = 500
    other = AuthenticationSettings("other", "s3cret")
    configuration = configuration_of(server, service).with_changes(authentication_settings=other)
    with open_channel(configuration) as channel, pytest.raises(TokenUnavailableError):
        raw_stream(channel, methods.BATCH_POLL)(POLL)
    assert not server.polls


@pytest.mark.parametrize("trouble", ["the server refuses every token", "the key is refused", "no token service"])
def test_a_poller_without_a_good_token_strands_nothing_and_says_so_aloud(
    server: Guarded,
    service: TokenService,
    trouble: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conductor_grpc.transport.token.REFUSALS_APART", 0.0)
    losses: list[object] = []

    def note(intake: Intake, *_: object, **__: object) -> None:
        losses.extend(intake._losses)

    monkeypatch.setattr(Intake, "_look_for_losses", note)
    if trouble == "the server refuses every token":
        service.give = ["stale"]
    else:
        service.status = 401 if trouble == "the key is refused" else 503
    caplog.set_level(logging.DEBUG)
    server.add(a_task("1"))
    poller = TaskPoller([work], configuration_of(server, service))
    with poller:
        wait_for(lambda: poller.health().workers[0].last_error is not None)
        wait_for(lambda: caplog.text.count("polling 'work' failed") >= 2)
        assert server.queue, "the task was not taken"
        service.status, service.give = 200, ["good"]
        server.wait_for_updates(1)
    assert losses == [], "no poll can have taken anything, so nothing is looked for"
    level = logging.WARNING if trouble == "no token service" else logging.ERROR
    told = [each for each in caplog.records if "polling 'work' failed" in each.getMessage()]
    assert told[0].levelno == level
    assert "s3cret" not in caplog.text


def test_results_wait_for_a_token_and_are_not_lost(
    server: Guarded, service: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor_grpc.transport.token.REFUSALS_APART", 0.0)
    began, go_on = threading.Event(), threading.Event()

    @worker_task("work")
    def waiting() -> None:
        began.set()
        assert go_on.wait(20)

    with TaskPoller([waiting], configuration_of(server, service)):
        server.add(a_task("1"))
        assert began.wait(20)
        server.accepted, service.status = "new", 404  # the answer that would give up a result, were it the server's
        go_on.set()
        wait_for(lambda: len(service.requests) >= 2)
        assert server.updates == []
        service.status, service.give = 200, ["new"]
        server.wait_for_updates(1)
