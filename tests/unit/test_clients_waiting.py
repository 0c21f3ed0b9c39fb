"""Waiting for a workflow on a server that is slow, silent or gone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from conductor_grpc import Configuration, WorkflowClient
from conductor_grpc.cli.watch import watch
from conductor_grpc.clients.waiting import looks
from conductor_grpc.errors import NotFoundError, WaitTimeoutError
from conductor_grpc.pb.services import workflow_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Server(workflow_service_pb2_grpc.WorkflowServiceServicer):
    """Answers no question about a workflow until it is `released`; then with `code`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.code = grpc.StatusCode.NOT_FOUND
        self._server = grpc.server(ThreadPoolExecutor(4))
        workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("localhost:0")
        self._server.start()

    def GetWorkflowStatus(self, _request: object, context: grpc.ServicerContext) -> None:  # noqa: N802
        self.released.wait(30)
        context.abort(self.code, "said")

    def stop(self) -> None:
        self.released.set()
        self._server.stop(None).wait()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[WorkflowClient]:
    with WorkflowClient(Configuration("", target=f"localhost:{server.port}")) as client:
        yield client


def wait(client: WorkflowClient, timeout: float) -> object:
    return client.wait("w", timeout=timeout)


def look(client: WorkflowClient, timeout: float) -> object:
    return list(watch(client, ["w"], timeout))


@pytest.mark.parametrize("ask", [wait, look])
def test_a_silent_server_does_not_outlast_the_timeout(
    client: WorkflowClient, ask: Callable[[WorkflowClient, float], object]
) -> None:
    begun = time.monotonic()
    with pytest.raises(WaitTimeoutError, match="workflow w ") as caught:
        ask(client, 0.1)
    assert time.monotonic() - begun < 10, "not the 30 s of call_timeout"
    assert caught.value.workflow_id == "w"


@pytest.mark.parametrize("ask", [wait, look])
def test_an_error_that_stays_ends_it(
    server: Server, client: WorkflowClient, ask: Callable[[WorkflowClient, float], object]
) -> None:
    server.released.set()
    with pytest.raises(NotFoundError):
        ask(client, 60)


@pytest.mark.parametrize("ask", [wait, look])
def test_an_error_that_may_pass_is_told_in_the_end(
    server: Server, client: WorkflowClient, ask: Callable[[WorkflowClient, float], object]
) -> None:
    server.code = grpc.StatusCode.UNAVAILABLE
    server.released.set()
    with pytest.raises(WaitTimeoutError) as caught:
        ask(client, 0.1)
    assert "said" in str(caught.value.__cause__)


def test_the_last_look_is_when_the_time_is_up() -> None:
    begun = time.monotonic()
    patience = list(looks(0.2, 2.0))
    assert time.monotonic() - begun >= 0.2
    assert 3 <= len(patience) <= 5
    assert list(looks(0, 2.0)) == [1.0]
    assert next(looks(20, 2.0)) == 20
