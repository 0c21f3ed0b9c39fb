"""One token for all: who asks for it, when it is renewed, and what a refusal leads to."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from tls_stand import TokenService, json_web_token
from waiting import wait_for

from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import AuthenticationError, ConductorError, TokenError, TokenUnavailableError
from conductor_grpc.transport.authentication import AuthenticationSettings
from conductor_grpc.transport.credentials import credentials_of
from conductor_grpc.transport.rest import RestClient, open_rest_client
from conductor_grpc.transport.token import REFUSALS_APART, Token, TokenSource
from conductor_grpc.transport.token_request import OPAQUE_LIFE, request_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS = AuthenticationSettings("the-key", "the-s3cret")
FOR_EVER = float("inf")


@pytest.fixture
def service() -> Iterator[TokenService]:
    with TokenService("token-1") as running:
        yield running


def configuration_of(service: TokenService, settings: AuthenticationSettings = SETTINGS) -> Configuration:
    return Configuration(service.base_url, target="localhost:1", authentication_settings=settings, call_timeout=5)


class Bench:
    """A source with a clock that the test sets, whose requests the test answers."""

    def __init__(self, *answers: Token | ConductorError) -> None:
        self.now = 1000.0
        self.answers = list(answers)
        self.requests = 0
        self.gate = threading.Event()
        self.gate.set()
        self.source = TokenSource(self._request, patience=10, clock=lambda: self.now)

    def _request(self) -> Token:
        self.requests += 1
        assert self.gate.wait(10)
        answer = self.answers.pop(0)
        if isinstance(answer, ConductorError):
            raise answer
        return answer


def refused() -> TokenError:
    return TokenError("no", code=grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.feature("conductor-python: key and secret")
def test_fifty_threads_and_an_event_loop_make_one_request(service: TokenService) -> None:
    release = threading.Event()
    service.before_answer = lambda: release.wait(10)
    configuration = configuration_of(service)
    started = threading.Barrier(51)

    def obtain() -> dict[str, str]:
        credentials = credentials_of(configuration)
        assert credentials is not None
        started.wait(10)
        return dict(credentials.obtain())

    async def obtain_many() -> list[dict[str, str]]:
        credentials = credentials_of(configuration)
        assert credentials is not None
        release.set()
        return [dict(each) for each in await asyncio.gather(*(credentials.obtain_async() for _ in range(50)))]

    with ThreadPoolExecutor(50) as threads:
        waiting = [threads.submit(obtain) for _ in range(50)]
        started.wait(10)
        assert service.asked.acquire(timeout=10)
        obtained = [*asyncio.run(obtain_many()), *(each.result(10) for each in waiting)]
    assert obtained == [{"x-authorization": "token-1"}] * 100
    assert service.requests == [{"path": "/api/token", "keyId": "the-key", "keySecret": "the-s3cret"}]


def test_a_token_is_renewed_in_the_background_and_used_until_the_new_one_is_there() -> None:
    first, second = Token("first", 1100, 1200), Token("second", FOR_EVER, FOR_EVER)
    bench = Bench(first, second)
    assert bench.source.obtain() is first
    bench.now, _ = 1100, bench.gate.clear()
    assert bench.source.obtain() is first
    assert bench.source.obtain() is first
    bench.gate.set()
    wait_for(lambda: bench.source.ready() is second)
    assert bench.requests == 2


def test_an_expired_token_is_never_sent() -> None:
    bench = Bench(Token("first", 1100, 1200), Token("second", FOR_EVER, FOR_EVER))
    bench.source.obtain()
    bench.now = 1200
    assert bench.source.ready() is None
    assert bench.source.obtain().value == "second"


@pytest.mark.bug("D6")
def test_a_renewal_that_fails_is_told_and_the_old_token_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(Token("first", 1100, FOR_EVER), refused(), Token("second", FOR_EVER, FOR_EVER))
    bench.source.obtain()
    bench.now = 1100
    with caplog.at_level(logging.WARNING):
        assert bench.source.obtain().value == "first"
        wait_for(lambda: "could not be renewed" in caplog.text)
    assert bench.source.obtain().value == "first"
    assert bench.requests == 2, "a request that failed is not repeated at once"
    bench.now = 1101
    bench.source.ready()
    wait_for(lambda: bench.source.obtain().value == "second")


@pytest.mark.feature("conductor-python: backoff without a token")
def test_after_a_failure_calls_fail_without_another_request_for_a_while() -> None:
    bench = Bench(refused(), refused(), Token("late", FOR_EVER, FOR_EVER))
    for _ in range(3):
        with pytest.raises(TokenError):
            bench.source.obtain()
    assert bench.requests == 1
    bench.now += 0.6
    with pytest.raises(TokenError):
        bench.source.obtain()
    bench.now += 0.6
    with pytest.raises(TokenError):
        bench.source.obtain()
    assert bench.requests == 2, "the pause grows"
    bench.now += 0.6
    assert bench.source.obtain().value == "late"


def test_an_error_of_a_kind_nobody_expects_keeps_no_one_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Token:
        raise KeyError("unexpected")

    with pytest.raises(TokenUnavailableError, match="KeyError"):
        TokenSource(broken, patience=10).obtain()
    assert "unexpected" in caplog.text


def test_a_refused_token_is_replaced_once_and_by_one_thread() -> None:
    bench = Bench(*(Token(str(number), FOR_EVER, FOR_EVER) for number in range(3)))
    old = bench.source.obtain()
    assert bench.source.replace(old)
    new = bench.source.obtain()
    assert bench.source.replace(old), "somebody else has replaced it"
    assert bench.source.obtain() is new
    assert not bench.source.replace(new), "this server refuses every token"
    bench.now += REFUSALS_APART
    assert bench.source.replace(new)
    assert bench.source.obtain().value == "2"
    assert bench.requests == 3


def test_cancelling_one_who_waits_does_not_harm_the_others() -> None:
    bench = Bench(Token("first", FOR_EVER, FOR_EVER))
    bench.gate.clear()

    async def wait_and_cancel() -> Token:
        impatient, patient = (asyncio.ensure_future(bench.source.obtain_async()) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        bench.gate.set()
        return await patient

    assert asyncio.run(wait_and_cancel()).value == "first"
    assert bench.requests == 1


def test_waiting_ends_when_the_request_does_not() -> None:
    gate = threading.Event()

    def hang() -> Token:
        gate.wait(30)
        raise refused()

    source = TokenSource(hang, patience=0.05)
    with pytest.raises(TokenUnavailableError, match=r"no token came within 0\.05 seconds"):
        source.obtain()
    with pytest.raises(TokenUnavailableError, match="no token came"):
        asyncio.run(source.obtain_async())
    gate.set()


def test_a_child_forked_while_a_token_is_on_its_way_gets_its_own() -> None:
    bench = Bench(Token("token", FOR_EVER, FOR_EVER))
    bench.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(bench.source.obtain)
        wait_for(lambda: bench.requests == 1)
        child = os.fork()
        if child == 0:
            bench.gate.set()
            os._exit(0 if bench.source.obtain().value == "token" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        bench.gate.set()
        assert waiting.result(10).value == "token"


def test_configurations_with_the_same_key_share_a_token_and_others_do_not(service: TokenService) -> None:
    configuration = configuration_of(service)
    other = configuration_of(service, AuthenticationSettings("another-key", "the-s3cret"))
    with open_rest_client(configuration) as one, open_rest_client(configuration) as two:  # type: ignore[union-attr]
        for client in (one, two):
            client.pending_tasks("t")
        with open_rest_client(other) as third:  # type: ignore[union-attr]
            third.pending_tasks("t")
        assert [each["keyId"] for each in service.requests] == ["the-key", "another-key"]
    del one, two, third, client
    gc.collect()
    with open_rest_client(configuration) as later:  # type: ignore[union-attr]
        later.pending_tasks("t")
    assert len(service.requests) == 3, "a token lives as long as somebody uses it"


def test_over_rest_a_stale_token_is_replaced_once(service: TokenService) -> None:
    service.give = ["stale", "good"]
    with open_rest_client(configuration_of(service)) as client:  # type: ignore[union-attr]
        assert client.pending_tasks("t") == []
        service.give = ["withdrawn"]
        with pytest.raises(AuthenticationError, match="not accepted although it was obtained from base_url"):
            client.pending_tasks("t")
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    ("status", "answer", "error", "says"),
    [
        (401, "wrong key", TokenError, r"wrong key \[UNAUTHENTICATED\]\. .* Check key_id 'the-key'"),
        (403, "locked", TokenError, "Check key_id 'the-key'"),
        (400, "bad", TokenError, "Check base_url, and key_id"),
        (404, "nothing", TokenError, "needs no authentication_settings"),
        (500, "broken", TokenUnavailableError, "it is tried again"),
        (503, "busy", TokenUnavailableError, "it is tried again"),
        (429, "slowly", TokenUnavailableError, "it is tried again"),
        (200, "two words", TokenError, "expected JSON such as"),
        (200, "", TokenError, "expected JSON such as"),
    ],
)
def test_what_the_token_service_refuses(
    service: TokenService, status: int, answer: str, error: type[ConductorError], says: str
) -> None:
    service.status, service.give = status, [answer]
    with RestClient(service.base_url) as rest, pytest.raises(error, match=says) as caught:
        request_token(rest, SETTINGS)
    assert type(caught.value) is error
    assert service.base_url in str(caught.value)


def test_a_token_service_that_is_not_there() -> None:
    with RestClient("http://localhost:1") as rest, pytest.raises(TokenUnavailableError, match="refused"):
        request_token(rest, SETTINGS)


def test_a_service_that_repeats_the_secret_does_not_get_it_into_the_log(service: TokenService) -> None:
    service.status, service.give = 401, ["no such secret: the-s3cret"]
    with RestClient(service.base_url) as rest, pytest.raises(TokenError, match=r"no such secret: \*\*\*") as caught:
        request_token(rest, SETTINGS)
    assert "the-s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "the-s3cret" not in repr(vars(caught.value))


def test_the_secret_may_lie_in_a_file_that_is_read_when_it_is_needed(service: TokenService, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    settings = AuthenticationSettings("the-key", file)
    with RestClient(service.base_url) as rest:
        with pytest.raises(TokenError, match="cannot be read: No such file"):
            request_token(rest, settings)
        file.write_text("from-the-file\n")
        request_token(rest, settings)
        file.write_text("")
        with pytest.raises(TokenError, match="is empty"):
            request_token(rest, settings)
    assert [each["keySecret"] for each in service.requests] == ["from-the-file"]
    assert b"from-the-file" not in pickle.dumps(settings)
    assert str(file) in repr(settings)


@pytest.mark.parametrize(
    ("token", "renewed_after", "expires_after"),
    [
        (lambda: json_web_token("short", 100), 80, 100),
        (lambda: json_web_token("long", 36_000), 35_700, 36_000),
        (lambda: json_web_token("over by this clock", -5), OPAQUE_LIFE, FOR_EVER),
        (lambda: json_web_token("this clock is wrong", -5000, lives=100), 80, 100),
        (lambda: "opaque", OPAQUE_LIFE, FOR_EVER),
        (lambda: "a.b.c", OPAQUE_LIFE, FOR_EVER),
        (lambda: "a.W10.c", OPAQUE_LIFE, FOR_EVER),  # []
        (lambda: "a.eyJleHAiOiAieCJ9.c", OPAQUE_LIFE, FOR_EVER),  # {"exp": "x"}
        (lambda: "a.eyJleHAiOiBOYU59.c", OPAQUE_LIFE, FOR_EVER),  # {"exp": NaN}
    ],
)
def test_when_a_token_is_renewed(
    service: TokenService,
    token: Callable[[], str],
    renewed_after: float,
    expires_after: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conductor_grpc.transport.token_request.time.monotonic", lambda: 0.0)
    service.give = [token()]
    with RestClient(service.base_url) as rest:
        obtained = request_token(rest, SETTINGS)
    assert obtained.renew_at == pytest.approx(renewed_after, abs=5)
    assert obtained.expires_at == pytest.approx(expires_after, abs=5)


def test_neither_token_nor_secret_shows_in_a_repr(service: TokenService) -> None:
    configuration = configuration_of(service)
    credentials = credentials_of(configuration)
    assert credentials is not None
    sent = credentials.obtain()
    assert dict(sent)["x-authorization"] == "token-1"
    shown: list[Callable[[], object]] = [lambda: sent, lambda: sent.token, lambda: SETTINGS, lambda: configuration]
    for each in shown:
        assert "token-1" not in repr(each())
        assert "s3cret" not in repr(each())
    assert "key_id='the-key', key_secret=***" in repr(configuration)
