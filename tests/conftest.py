"""One real Conductor server for the whole run; without it the tests that need it fail, they do not skip."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from conductor_grpc.server import RealServer, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

# Property tests run the same examples every time and on any machine: a failure is one to be looked at, never a
# machine that was slow or a number that came up.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# A shell that runs the tests in the background has them ignore Ctrl-C, and the commands they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

RUNNING_SERVER_VARIABLE = "CONDUCTOR_GRPC_TEST_SERVER"


@dataclass(frozen=True)
class ServerAddress:
    """Where the shared server is. A test that stops or kills a server starts a RealServer of its own."""

    target: str
    base_url: str


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    """Conductor with a fresh database; or the running one that ``CONDUCTOR_GRPC_TEST_SERVER`` names.

    The variable holds gRPC address and REST address with a comma between: ``localhost:8090,http://localhost:8080/api``.
    """
    running = os.environ.get(RUNNING_SERVER_VARIABLE)
    if running:
        target, separator, base_url = running.partition(",")
        assert separator, f"{RUNNING_SERVER_VARIABLE} is {running!r}, expected host:port,http://host:port/api"
        yield ServerAddress(target, base_url)
        return
    grpc_port, rest_port = free_ports(2)
    with RealServer(tmp_path_factory.mktemp("conductor"), grpc_port, rest_port) as server:
        yield ServerAddress(server.target, server.base_url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the server carries the marker, so ``-m 'not real_server'`` never starts one."""
    for item in items:
        if "real_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_server)
