"""The pytest plugin: the fixtures `conductor_server`, `conductor_client` and `run_worker`.

pytest imports this module at every start, in every project that has the package installed. So it imports pytest and
nothing else; what a fixture needs is imported when a test uses the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.server.embedded import EmbeddedServer
    from conductor_grpc.testing.client import ConductorClient
    from conductor_grpc.testing.connection import Server
    from conductor_grpc.testing.workers import WorkerRunner


@pytest.fixture
def conductor_server() -> Iterator[EmbeddedServer]:
    """A server in this process, in memory, for this test alone.

    A new one for each test, since a server is nothing but state: definitions, queues, runs, and above all a clock
    that tests move. It starts in milliseconds. Override the fixture for another one: the others use its `target`
    and, where it has one, its `base_url`.
    """
    from conductor_grpc.server.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def conductor_client(conductor_server: Server) -> Iterator[ConductorClient]:
    """The clients of `conductor_server`, with `register` and `start` for what most tests begin with."""
    from conductor_grpc.testing.client import ConductorClient

    with ConductorClient(conductor_server) as client:
        yield client


@pytest.fixture
def run_worker(conductor_server: Server) -> Iterator[WorkerRunner]:
    """`run_worker(worker, ...)` runs workers on `conductor_server` until the test ends, and drains them then.

    The test fails if a poller has died, could not get a result to the server, or is left with a task that does not
    end. (What a worker raises is no such failure: it fails the task, as in production.)
    """
    from conductor_grpc.testing.workers import WorkerRunner

    runner = WorkerRunner(conductor_server)
    yield runner
    problems = runner.stop()
    if problems:
        pytest.fail("\n".join(["the workers of this test had problems:", *problems]), pytrace=False)
