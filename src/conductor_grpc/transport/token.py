"""One token for all calls of a process, renewed in time, asked for by one thread while the others wait."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import threading
import time
import weakref
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from conductor_grpc.errors import ConductorError, TokenUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

REFUSALS_APART: Final = 10.0
"""Seconds between two tokens thrown away because the server refused them. A server that refuses every token must not
make this program ask for a new one at each call."""

RETRY_FIRST: Final = 0.5
RETRY_LIMIT: Final = 30.0
"""Seconds from a failed request for a token to the next; meanwhile calls fail at once with the same error. Many a
token service locks a key after too many failures."""


@dataclass(frozen=True, repr=False)
class Token:
    """A token and how long it may be used, by the monotonic clock."""

    value: str
    renew_at: float
    expires_at: float

    def __repr__(self) -> str:
        return "Token(***)"


class TokenSource:
    """Gets tokens by `request`, one request at a time however many threads and event loops wait. Thread-safe."""

    def __init__(
        self, request: Callable[[], Token], patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`request` blocks and raises ConductorError; `patience`: seconds after which nobody waits for it any more."""
        self._request = request
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._flight: Future[None] | None = None
        self._failure: ConductorError | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._refused_at = -REFUSALS_APART
        _sources.add(self)

    def ready(self) -> Token | None:
        """The token to send now; None if it has to be waited for. Does not block; begins a renewal that is due."""
        token, now = self._token, self._clock()
        if token is None or now >= token.expires_at:
            return None
        if now >= token.renew_at:
            self._begin()
        return token

    def obtain(self) -> Token:
        """The token to send now. Blocks; raises ConductorError if there is none to be had."""
        while (token := self.ready()) is None:
            flight = self._begin()
            if flight is None:
                raise self._last_failure()
            try:
                flight.result(self._patience)
            except NotInTime:
                raise self._too_late() from None
        return token

    async def obtain_async(self) -> Token:
        """The same without blocking the event loop. Cancelling it does not end the request, which others wait for."""
        while (token := self.ready()) is None:
            flight = self._begin()
            if flight is None:
                raise self._last_failure()
            try:
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(flight)), self._patience)
            except (asyncio.TimeoutError, NotInTime):
                raise self._too_late() from None
        return token

    def replace(self, refused: Token) -> bool:
        """The server does not accept this token: True if it is worth trying again with what `obtain` gives then."""
        with self._lock:
            if self._token is not refused:
                return True  # somebody else has noticed first
            now = self._clock()
            if now - self._refused_at < REFUSALS_APART:
                return False
            self._refused_at, self._token = now, None
            return True

    def forget_threads(self) -> None:
        """In a forked child: the thread that asks for a token was not forked, and whoever held the lock neither."""
        self._lock, self._flight = threading.Lock(), None

    def _begin(self) -> Future[None] | None:
        """The request in flight, or a new one; None where it is too soon after one that failed."""
        with self._lock:
            now = self._clock()
            if self._token is not None and now < self._token.renew_at:
                return _LANDED  # between the caller's look at the token and this one
            if self._flight is None and now >= self._retry_at:
                flight: Future[None] = Future()
                # A thread of its own: whoever waits may have less patience, and a renewal has nobody who waits.
                threading.Thread(target=self._fetch, args=(flight,), name="conductor-token", daemon=True).start()
                self._flight = flight
            return self._flight

    def _fetch(self, flight: Future[None]) -> None:
        token: Token | None = None
        failure: ConductorError | None = None
        try:
            token = self._request()
        except ConductorError as error:
            failure = error
        except Exception as error:  # nobody may wait for ever
            logger.exception("the request for a token met an error that it does not know")
            failure = TokenUnavailableError(
                f"no token could be obtained ({type(error).__name__}); the log has the traceback",
                code=grpc.StatusCode.INTERNAL,
            )
        with self._lock:
            renewal = self._token is not None
            if token is not None:
                self._token, self._failure, self._failures, self._retry_at = token, None, 0, 0.0
            else:
                self._failure, self._failures = failure, self._failures + 1
                pause = min(RETRY_LIMIT, RETRY_FIRST * 2.0 ** min(self._failures - 1, 30))
                self._retry_at = self._clock() + pause
            self._flight = None
        if failure is not None and renewal:
            logger.warning("the token could not be renewed, so the old one is used on: %s", failure)
        flight.set_result(None)

    def _last_failure(self) -> ConductorError:
        failure = self._failure
        # A copy: raised in many threads, one exception would gather all their tracebacks.
        return self._too_late() if failure is None else copy.copy(failure)

    def _too_late(self) -> ConductorError:
        return TokenUnavailableError(
            f"no token came within {self._patience:g} seconds, so the call was not made: check the token service at"
            " base_url and the network between",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
        )


_LANDED: Final[Future[None]] = Future()
_LANDED.set_result(None)

_sources: weakref.WeakSet[TokenSource] = weakref.WeakSet()


def _forget_threads() -> None:
    for source in _sources:
        source.forget_threads()


os.register_at_fork(after_in_child=_forget_threads)
