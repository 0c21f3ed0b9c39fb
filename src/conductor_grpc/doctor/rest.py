"""Does REST answer, and what is missing without it?"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conductor_grpc.doctor.finding import Finding, error, note, ok, told
from conductor_grpc.doctor.probes import Listener, who_listens
from conductor_grpc.errors import (
    AuthenticationError,
    NotFoundError,
    PayloadDecodeError,
    ServerError,
    TlsError,
    TokenError,
    TokenUnavailableError,
    UnavailableError,
)
from conductor_grpc.transport.addresses import default_base_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

EXPECTED = "the server's REST address, mostly http://HOST:8080/api"
_MISSING = "tasks that hold JSON integers cannot be run, and poll data and the server's time are not seen"
_WITHOUT = (
    'or --base-url "" if there is none (conductor-grpc server --embedded has none) or it is out of reach: then tasks'
    " that hold JSON integers cannot be run"
)


def check(setup: Setup) -> Iterator[Finding]:
    """One call, for the version."""
    rest = setup.unproven_rest
    if rest is None:
        yield note(
            "rest.none",
            f"no REST address: {_MISSING}",
            EXPECTED,
            "--base-url http://HOST:8080/api",
        )
        return
    try:
        rest.version()
    except PayloadDecodeError as failure:
        yield error("rest.address", str(failure), EXPECTED, f"correct --base-url, {_WITHOUT}")
    except ServerError as failure:
        yield _failure(rest.base_url, setup.configuration.target, failure)
    else:
        setup.rest_answers = True
        yield ok("rest", f"{rest.base_url} answers")


def _failure(base_url: str, target: str, failure: ServerError) -> Finding:
    found, advice = told(failure)
    if isinstance(failure, TlsError):
        return error("rest.tls", found, "both ends accept what the other shows", advice)
    if isinstance(failure, (TokenError, TokenUnavailableError)):
        return error("rest.token", found, "a token for the access key", advice or "check base_url and the access key")
    if isinstance(failure, AuthenticationError):
        return error("rest.credentials", found, "credentials that the server accepts", advice)
    if isinstance(failure, NotFoundError):
        return error("rest.address", found, EXPECTED, f"correct --base-url, {_WITHOUT}")
    if isinstance(failure, UnavailableError):
        return _unavailable(base_url, target, found, advice)
    return error("rest.refuses", found, EXPECTED, advice or "the server's log tells more")


def _unavailable(base_url: str, target: str, found: str, advice: str) -> Finding:
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    listener = who_listens(host, port)
    remedy = f"correct --base-url, {_WITHOUT}"
    if listener is Listener.UNKNOWN_NAME:
        return error("rest.name", f"the host name {host!r} cannot be resolved", EXPECTED, remedy)
    if listener is Listener.NOBODY and base_url == default_base_url(target):
        # Mostly nobody has said that there is one.
        missing = f"nobody listens at {base_url}, where a server on this machine has its REST by default: {_MISSING}"
        return note("rest.none", missing, EXPECTED, remedy)
    if listener is Listener.NOBODY:
        return error("rest.refused", f"nobody listens at {base_url}", EXPECTED, remedy)
    if listener is Listener.SOMEBODY and parts.scheme == "http":
        found = f"{base_url} does not speak HTTP/1: mostly it is the gRPC port"
        return error("rest.grpc-port", found, EXPECTED, remedy)
    return error("rest.unavailable", found, EXPECTED, advice or remedy)
