"""How tests connect to their server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from conductor_grpc.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL_WAIT_MS: Final = 50
"""A poller that stops waits for its poll in flight, and every test stops its pollers. The embedded server answers
as soon as there is a task, so a short wait costs no time until a task starts."""

DRAIN_TIMEOUT: Final = 5.0
"""Seconds that a running task gets when its test is over."""

CANCELLATION_CHECK: Final = 0.5
"""Seconds after which a worker is told that its task was cancelled: less than anybody waits for in a test."""


class Server(Protocol):
    """What is needed of a server: an embedded or a real one, or anything else that says where it listens.

    A `base_url`, its REST address, is used where there is one.
    """

    @property
    def target(self) -> str:
        """Its gRPC address, `host:port`."""


def configuration_of(server: Server, settings: Mapping[str, Any]) -> Configuration:
    """The configuration for clients and pollers of a test. Raises ConfigurationError for a bad setting.

    No address comes from the environment: a test must not reach a server that it did not start.
    """
    defaults: dict[str, Any] = {
        "poll_wait_ms": POLL_WAIT_MS,
        "drain_timeout": DRAIN_TIMEOUT,
        "cancellation_check": CANCELLATION_CHECK,
    }
    base_url: str | None = getattr(server, "base_url", None)
    return Configuration(base_url or "", target=server.target, **{**defaults, **settings})
