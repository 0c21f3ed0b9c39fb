"""grpc.health.v1: a check that says SERVING whatever is asked, and nothing else.

The messages are written as bytes, since the package with their classes is needed for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
"""HealthCheckResponse with field 1, the status, being 1."""


def service(name: str) -> bytes:
    """HealthCheckRequest: field 1 is the name of the service."""
    data = name.encode()
    return bytes([0x0A, len(data)]) + data


@pytest.fixture
def channel(server) -> Iterator[grpc.Channel]:
    with server.new_channel() as channel:
        yield channel


@pytest.mark.parametrize("name", ["", "conductor.grpc.tasks.TaskService", "no.such.Service"])
def test_every_service_is_serving(channel: grpc.Channel, name: str) -> None:
    check = channel.unary_unary(CHECK)
    assert check(service(name) if name else b"", timeout=20) == SERVING


def test_health_cannot_be_watched(channel: grpc.Channel) -> None:
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    assert error_of(lambda: list(watch(b"", timeout=20))) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Method grpc.health.v1.Health/Watch is unimplemented",
        None,
    )


def test_health_cannot_be_listed(channel: grpc.Channel) -> None:
    every = channel.unary_unary("/grpc.health.v1.Health/List")
    assert error_of(lambda: every(b"", timeout=20)) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "Method not found: grpc.health.v1.Health/List",
        None,
    )
