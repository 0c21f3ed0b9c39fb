"""The embedded server on the terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.cli.server_table import show_server
from conductor_grpc.cli.signals import LOOK_EVERY
from conductor_grpc.errors import LauncherError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from conductor_grpc.server.embedded import EmbeddedServer

_DATABASE: Final = "embedded.db"
"""Not the name that a real server gives its own, which may be in the same folder: their tables differ."""


def run_embedded(port: int, data: Path | None, *, strict: bool, screen: Console) -> None:
    """Until we are asked to stop. Raises LauncherError if it cannot be started."""
    # Not before it is needed: no other command has a use for a whole engine.
    from conductor_grpc.server.embedded import EmbeddedServer

    database = None if data is None else _database_in(data)
    server = EmbeddedServer(port, strict=strict, database=database)
    server.start()
    try:
        show_server("Conductor, embedded", _whereabouts(server, database, strict))
        while True:
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        with screen.status("Stopping the server"):
            server.stop()
    finally:
        server.stop()


def _database_in(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LauncherError(f"cannot make the folder {folder} ({error.strerror}): choose another --data") from error
    return folder.absolute() / _DATABASE


def _whereabouts(server: EmbeddedServer, database: Path | None, strict: bool) -> list[tuple[str, str]]:
    return [
        ("gRPC", server.target),
        # A strict one cannot tell what it does not have from what it cannot send, and they would look there.
        ("REST", 'none: give the other commands --base-url ""' if strict else "none"),
        ("Data", "in memory" if database is None else str(database)),
        ("Mode", "strict, with the faults of the real server" if strict else "lenient"),
        ("Process", str(os.getpid())),
    ]
