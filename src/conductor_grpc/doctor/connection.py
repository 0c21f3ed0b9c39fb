"""Does the server answer over gRPC, and if not, what is in the way?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from conductor_grpc.doctor.finding import Finding, error, note, ok, told
from conductor_grpc.doctor.probes import Listener, host_and_port, proxy_of, who_listens
from conductor_grpc.errors import (
    AuthenticationError,
    ServerError,
    TlsError,
    TokenError,
    TokenUnavailableError,
    UnavailableError,
)
from conductor_grpc.transport.addresses import local_host_of_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.doctor.setup import Setup

EXPECTED = "a Conductor server that answers over gRPC"


def check(setup: Setup) -> Iterator[Finding]:
    """One call that costs the server nothing."""
    target = setup.configuration.target
    proxy = proxy_of(target)
    try:
        setup.tasks.queue_sizes([])
    except ServerError as failure:
        yield _failure(setup, failure, proxy)
        return
    security = "TLS" if setup.configuration.tls is not None else "no TLS"
    yield ok("grpc", f"{target} answers ({security})")
    if proxy is not None:
        yield note("grpc.proxy", f"calls to {target} go through the proxy {proxy}, by the environment")


def _failure(setup: Setup, failure: ServerError, proxy: str | None) -> Finding:
    found, advice = told(failure)
    if isinstance(failure, TlsError):
        return error("grpc.tls", found, "both ends accept what the other shows", advice)
    if isinstance(failure, (TokenError, TokenUnavailableError)):
        return error("grpc.token", found, "a token for the access key", advice or "check base_url and the access key")
    if isinstance(failure, AuthenticationError):
        return error("grpc.credentials", found, "credentials that the server accepts", advice)
    if failure.code is grpc.StatusCode.UNIMPLEMENTED:
        return error("grpc.other-server", found, EXPECTED, advice)
    if isinstance(failure, UnavailableError):
        return _unavailable(setup, found, advice, proxy)
    return error("grpc.refuses", found, EXPECTED, advice or "the server's log tells more")


def _unavailable(setup: Setup, found: str, advice: str, proxy: str | None) -> Finding:
    target = setup.configuration.target
    if proxy is not None:
        return error(
            "grpc.proxy",
            f"{found} Calls to {target} go through the proxy {proxy}",
            EXPECTED,
            f"if the server is reached without it: export no_proxy={target.rpartition(':')[0]}",
        )
    place = host_and_port(target)
    if place is None:
        return error("grpc.unavailable", found, EXPECTED, advice)
    host, port = place
    listener = who_listens(host, port)
    if listener is Listener.UNKNOWN_NAME:
        return error("grpc.name", f"the host name {host!r} cannot be resolved", "the server's host", "correct --target")
    if listener is Listener.NOBODY:
        start = ", or start one here: conductor-grpc server" if local_host_of_target(target) else ""
        return error(
            "grpc.refused",
            f"nobody listens at {target}",
            EXPECTED,
            f"give --target the server's gRPC port (8090 by default){start}",
        )
    if listener is Listener.HTTP_1:
        return error(
            "grpc.rest-port",
            f"{target} speaks HTTP/1: mostly it is the server's REST port",
            "its gRPC port",
            f"--target {host}:8090, unless your server has another gRPC port",
        )
    if listener is Listener.TLS and setup.configuration.tls is None:
        return error("grpc.tls-wanted", f"{target} speaks TLS, and this client does not", EXPECTED, "add --tls")
    if listener is Listener.SILENCE:
        return error(
            "grpc.silence",
            f"no answer from {target}, not even a refusal",
            EXPECTED,
            "check firewalls and the address: packets are dropped on the way",
        )
    return error("grpc.unavailable", found, EXPECTED, advice)
