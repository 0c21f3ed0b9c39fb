"""The servers that the contract cases run against: embedded, and the released one on SQLite and on Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from server_under_test import ServerUnderTest
from waiting import wait_for

from conductor_grpc.server import RealServer, free_ports
from conductor_grpc.server.real import supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNING_REDIS_SERVER_VARIABLE = "CONDUCTOR_GRPC_TEST_REDIS_SERVER"
"""A running server with Redis to use instead of a fresh one, written as ``localhost:8090,http://localhost:8080/api``."""

_GRACE = "10"  # seconds Redis gets to end in order


@contextlib.contextmanager
def embedded() -> Iterator[ServerUnderTest]:
    """The embedded server as it reproduces the released one."""
    from conductor_grpc.server.embedded import EmbeddedServer

    with EmbeddedServer(strict=True) as server:
        yield ServerUnderTest("embedded", server.target, None, server.clock)


@contextlib.contextmanager
def sqlite(target: str, base_url: str) -> Iterator[ServerUnderTest]:
    """The released server with SQLite, which the whole test run shares."""
    yield ServerUnderTest("sqlite", target, base_url)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[ServerUnderTest]:
    """The released server with a Redis of its own; or the running one that the environment names."""
    running = os.environ.get(RUNNING_REDIS_SERVER_VARIABLE)
    if running:
        target, separator, base_url = running.partition(",")
        assert separator, f"{RUNNING_REDIS_SERVER_VARIABLE} is {running!r}, expected host:port,http://host:port/api"
        yield ServerUnderTest("redis", target, base_url)
        return
    with redis_database(folder) as redis_port, conductor_on_redis(folder, redis_port) as server:
        yield ServerUnderTest("redis", server.target, server.base_url)


def conductor_on_redis(folder: Path, redis_port: int, heap: str = "1g") -> RealServer:
    """The released server, not yet started, that keeps everything in this Redis and has no index."""
    properties = {
        "conductor.db.type": "redis_standalone",
        "conductor.queue.type": "redis_standalone",
        "conductor.redis.hosts": f"127.0.0.1:{redis_port}:us-east-1c",
        "conductor.workflow-execution-lock.type": "local_only",
        # Without these two it asks for an index that Redis does not have, and does not start.
        "conductor.indexing.enabled": False,
        "conductor.indexing.type": "none",
    }
    grpc_port, rest_port = free_ports(2)
    return RealServer(folder / "conductor", grpc_port, rest_port, heap=heap, properties=properties)


@contextlib.contextmanager
def redis_database(folder: Path) -> Iterator[int]:
    """A Redis process on loopback that keeps nothing on disk; its port. It does not outlive this process."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("the contract cases need redis-server: install it, on Debian with `apt-get install redis-server`")
    (port,) = free_ports(1)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--dir", str(folder), "--daemonize", "no"]
    supervised = [sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid()), _GRACE, "", *command]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(supervised, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, f"redis-server ended by itself:\n{(folder / 'redis.log').read_text()}"
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
