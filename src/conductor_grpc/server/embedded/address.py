"""The address that the embedded server listens on."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from typing import Any, Final

from conductor_grpc.errors import LauncherError

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True)
class Address:
    """Where to listen. Raises LauncherError for what can be no address."""

    host: str
    """A name of this machine, or one of its IP addresses."""
    port: int
    """0: any that is free."""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not self.host:
            raise LauncherError(f"host is {self.host!r}, expected a name or an IP address of this machine")
        if not isinstance(self.port, int) or isinstance(self.port, bool) or not 0 <= self.port <= 65535:
            raise LauncherError(f"port is {self.port!r}, expected 1 to 65535, or 0 for one that is free")

    def __str__(self) -> str:
        """As gRPC takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """For a client on this machine."""
        return f"{_WILDCARDS[self.host]}:{self.port}" if self.host in _WILDCARDS else str(self)

    def require_free(self) -> None:
        """Raises LauncherError, its message one line, if nothing can listen there.

        gRPC would only say that it failed, and write why to the standard error.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise LauncherError(f"host is {self.host!r}, which cannot be resolved: {error.strerror}") from error
        obstacles = [obstacle for each in found if (obstacle := _obstacle(*each)) is not None]
        taken = [obstacle for obstacle in obstacles if obstacle.errno == errno.EADDRINUSE]
        # A name may stand for several addresses, of which gRPC takes those that this machine has.
        if taken or len(obstacles) == len(found):
            raise LauncherError(self._why((taken or obstacles)[0]))

    def _why(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return f"port {self.port} of {self.host} is taken by another program; stop that, or choose another port"
        if error.errno == errno.EACCES:
            return f"port {self.port} is not for ordinary users; choose one above 1023"
        return f"cannot listen on {self}: {error.strerror}"


def _obstacle(family: int, kind: int, protocol: int, _name: str, address: tuple[Any, ...]) -> OSError | None:
    """Why a server cannot listen on one of the addresses; None if it can."""
    try:
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            # As gRPC does: connections of a server just stopped, still in TIME_WAIT, are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
