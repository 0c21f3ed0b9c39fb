"""What goes with every call to show who makes it: the token and the static headers."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

import grpc

from conductor_grpc.errors import AuthenticationError
from conductor_grpc.transport.call_headers import TOKEN_HEADER
from conductor_grpc.transport.token import Token, TokenSource
from conductor_grpc.transport.token_request import request_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conductor_grpc.configuration import Configuration

Answer = TypeVar("Answer")

_LONGEST_REQUEST = 10.0
"""Seconds to connect to the token service, and to wait for its answer. Polls and drains wait with it."""


class Metadata(tuple[tuple[str, str], ...]):
    """The metadata of one call, and the token in it. Its repr holds no value."""

    token: Token | None

    def __repr__(self) -> str:
        return f"Metadata({', '.join(name for name, _ in self)})"


class Credentials:
    """Makes the metadata of calls. Thread-safe."""

    def __init__(self, headers: tuple[tuple[str, str], ...], source: TokenSource | None) -> None:
        self._headers = headers
        self._source = source
        self._made = self._metadata(None)

    @property
    def has_token(self) -> bool:
        """Whether calls carry a token, and not static headers only."""
        return self._source is not None

    def obtain(self) -> Metadata:
        """What the next call is to carry. Blocks while a token is asked for; raises ConductorError if there is none."""
        return self._made if self._source is None else self._with(self._source.obtain())

    async def obtain_async(self) -> Metadata:
        """The same without blocking the event loop."""
        source = self._source
        if source is None:
            return self._made
        return self._with(source.ready() or await source.obtain_async())

    def replace(self, sent: Metadata, error: AuthenticationError) -> bool:
        """Whether a call that failed so is worth another try with what `obtain` gives then.

        UNAUTHENTICATED comes before the server, or a proxy before it, looks at the call: it has done nothing.
        """
        if self._source is None or sent.token is None or error.code is not grpc.StatusCode.UNAUTHENTICATED:
            return False
        return self._source.replace(sent.token)

    def carry(self, attempt: Callable[[Metadata], Answer]) -> Answer:
        """The answer of `attempt`, which sends a call with this metadata; of another with a new token if the first is
        refused for the one it had. Raises what `attempt` and `obtain` raise."""
        sent = self.obtain()
        try:
            return attempt(sent)
        except AuthenticationError as error:
            if not self.replace(sent, error):
                raise
        return attempt(self.obtain())

    async def carry_async(self, attempt: Callable[[Metadata], Awaitable[Answer]]) -> Answer:
        """The same without blocking the event loop."""
        sent = await self.obtain_async()
        try:
            return await attempt(sent)
        except AuthenticationError as error:
            if not self.replace(sent, error):
                raise
        return await attempt(await self.obtain_async())

    def _with(self, token: Token) -> Metadata:
        made = self._made
        if made.token is not token:
            self._made = made = self._metadata(token)
        return made

    def _metadata(self, token: Token | None) -> Metadata:
        made = Metadata(self._headers if token is None else (*self._headers, (TOKEN_HEADER, token.value)))
        made.token = token
        return made


_sources: weakref.WeakValueDictionary[object, TokenSource] = weakref.WeakValueDictionary()
_sources_lock = threading.Lock()


def _renew_lock() -> None:
    global _sources_lock
    _sources_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def credentials_of(configuration: Configuration) -> Credentials | None:
    """What the calls of a configuration carry; None if nothing. All that share a key share its token."""
    headers = tuple(configuration.headers.items())
    if configuration.authentication_settings is None:
        return Credentials(headers, None) if headers else None
    key = (configuration.base_url, configuration.authentication_settings, configuration.tls, configuration.headers)
    with _sources_lock:
        source = _sources.get(key)
        if source is None:
            source = _sources[key] = _token_source(configuration)
    return Credentials(headers, source)


def _token_source(configuration: Configuration) -> TokenSource:
    from conductor_grpc.transport.rest import RestClient  # which itself sends what is made here

    settings, base_url = configuration.authentication_settings, configuration.base_url
    assert settings is not None
    assert base_url is not None
    timeout = min(_LONGEST_REQUEST, configuration.call_timeout)
    headers = tuple(configuration.headers.items())
    static = Credentials(headers, None) if headers else None
    tls = configuration.tls

    def request() -> Token:
        # A connection of its own: it is needed once in many minutes.
        loaded = None if tls is None else tls.load()
        with RestClient(base_url, timeout=timeout, tls=loaded, credentials=static) as rest:
            return request_token(rest, settings)

    return TokenSource(request, patience=2 * timeout)
