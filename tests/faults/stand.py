"""The servers that rows run against."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from backends import conductor_on_redis, redis_database

from conductor_grpc.server import RealServer, free_ports
from faults.processes import EmbeddedProcess
from faults.row import EMBEDDED, REDIS, SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faults.processes import Server


START_TIMEOUT: Final = 300.0
"""Seconds; long, for rows start a server while everything else is busy as well."""


@contextlib.contextmanager
def running_server(kind: str, folder: Path) -> Iterator[Server]:
    """A fresh one of this kind, whose data survives its death."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == EMBEDDED:
        with EmbeddedProcess(folder) as embedded:
            yield embedded
    elif kind == SQLITE:
        with RealServer(folder / "conductor", *free_ports(2), start_timeout=START_TIMEOUT) as real:
            yield real
    else:
        assert kind == REDIS, kind
        with redis_database(folder) as port, conductor_on_redis(folder, port) as on_redis:
            yield on_redis
