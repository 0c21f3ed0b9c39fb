"""The servers of the demo."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from conductor_grpc.cli.server_real import RealOptions, start_real, stop_real
from conductor_grpc.configuration import Configuration
from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

# A poller that stops waits for its poll in flight, and here somebody is watching. Idle polls are work for a server,
# though, and for a real one much of it.
_POLL_WAIT_MS = 100
_REAL_POLL_WAIT_MS = 1000


@contextlib.contextmanager
def embedded_server(screen: Console) -> Iterator[Configuration]:
    """An embedded server on a free port, while the block lasts."""
    # Not before it is needed: no other command has a use for a whole engine.
    from conductor_grpc.server.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        screen.print(f"Embedded server: gRPC {server.target}, no Java", highlight=False)
        yield Configuration("", target=server.target, poll_wait_ms=_POLL_WAIT_MS)


@contextlib.contextmanager
def real_server(screen: Console) -> Iterator[Configuration]:
    """A real server in a temporary folder on free ports, while the block lasts. Raises LauncherError."""
    if not screen.is_terminal:
        screen.print("Starting Conductor")  # the bars are for terminals
    grpc_port, rest_port = free_ports(2)
    server = start_real(RealOptions(None, grpc_port, rest_port), screen)
    try:
        screen.print(f"Conductor runs: gRPC {server.target}, REST {server.base_url}", highlight=False)
        yield Configuration(server.base_url, target=server.target, poll_wait_ms=_REAL_POLL_WAIT_MS)
    finally:
        stop_real(server, screen)
