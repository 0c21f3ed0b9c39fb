"""A server that is not there yet, and one that goes away while a result waits to be sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from rest_user import RestUser
from waiting import wait_for

from conductor_grpc import Configuration, TaskPoller, worker_task
from conductor_grpc.server import RealServer, free_ports

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.real_server
@pytest.mark.feature("Keepalive, reconnection")
def test_the_poller_outlives_the_server(tmp_path: Path) -> None:
    server = RealServer(tmp_path, *free_ports(2))
    user = RestUser(server.base_url)
    running, release = threading.Event(), threading.Event()
    executions: list[int] = []

    @worker_task("outage")
    def work(n: float) -> dict[str, int]:
        executions.append(int(n))
        running.set()
        assert release.wait(120)
        return {"n": int(n)}

    configuration = Configuration(server.base_url, target=server.target, poll_wait_ms=1000)
    with TaskPoller([work], configuration) as poller:
        wait_for(lambda: poller.health().workers[0].last_error is not None, 60)
        assert not poller.health().healthy

        server.start()
        try:
            user.register("outage", "outage_workflow", {"n": "${workflow.input.n}"})
            workflow_id = user.start("outage_workflow", {"n": 1.5})
            assert running.wait(60), "polling did not begin again when the server came"
            assert poller.health().healthy

            server.kill()
            release.set()
            wait_for(lambda: poller.health().unsent == 1, 60)
            server.start()
            assert user.wait_until_closed(workflow_id, 60)["status"] == "COMPLETED"
            assert user.wait_until_closed(user.start("outage_workflow", {"n": 2.5}), 60)["status"] == "COMPLETED"
        finally:
            server.stop()
    assert executions == [1, 2], "the result was kept, so nothing had to run again"
