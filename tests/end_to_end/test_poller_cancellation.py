"""Running tasks that the real server has done with, and their workers."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from rest_user import RestUser
from waiting import wait_for

from conductor_grpc import Configuration, TaskPoller, current_task, worker_task

if TYPE_CHECKING:
    from conftest import ServerAddress

    from conductor_grpc import WorkerInterface

pytestmark = pytest.mark.real_server


def registered(server: ServerAddress, **task: object) -> tuple[RestUser, str]:
    user, name = RestUser(server.base_url), f"cancel_{uuid.uuid4().hex[:8]}"
    user.register(name, name, {"n": "${workflow.input.n}"}, **task)
    return user, name


class Waiting:
    """A worker that waits for its task's cancellation, and the reason it saw."""

    def __init__(self, name: str, **options: object) -> None:
        self.running = threading.Event()
        self.ended = threading.Event()
        self.reason: str | None = None

        @worker_task(name, **options)  # type: ignore[arg-type]
        def work() -> None:
            cancelled = current_task().cancelled
            self.running.set()
            cancelled.wait(60)
            self.reason = cancelled.reason
            self.ended.set()
            cancelled.raise_if_set()

        self.worker: WorkerInterface = work


def poller(server: ServerAddress, worker: WorkerInterface) -> TaskPoller:
    return TaskPoller([worker], Configuration(server.base_url, target=server.target, cancellation_check=0.5))


@pytest.mark.parametrize("n", [1.5, 1], ids=["over gRPC", "an integer, over REST"])
@pytest.mark.feature("Cancellation reaches the worker")
def test_a_worker_ends_when_its_workflow_is_terminated(real_server: ServerAddress, n: float) -> None:
    user, name = registered(real_server)
    waiting = Waiting(name)
    with poller(real_server, waiting.worker) as running:
        workflow_id = user.start(name, {"n": n})
        assert waiting.running.wait(30)
        user.call("DELETE", f"/workflow/{workflow_id}?reason=enough")
        assert waiting.ended.wait(30)
        wait_for(lambda: len(running._parts.custody) == 0)
        health = running.health()
        assert (health.cancelled, health.late, health.refused) == ({"terminated": 1}, {}, 0)
    assert waiting.reason is not None
    assert waiting.reason.startswith("its workflow was terminated or has failed (task status CANCELED")
    (task,) = user.workflow(workflow_id)["tasks"]
    assert (task["status"], task["pollCount"]) == ("CANCELED", 1)


@pytest.mark.feature("conductor-python: cancellation and timeouts")
def test_a_worker_ends_when_its_task_has_timed_out(real_server: ServerAddress) -> None:
    user, name = registered(real_server, responseTimeoutSeconds=1, retryCount=1, retryDelaySeconds=0)
    first, second = Waiting(name, lease=False), threading.Event()

    @worker_task(name)
    def other() -> None:
        second.set()

    with poller(real_server, first.worker) as running:
        workflow_id = user.start(name, {"n": 1.5})
        assert first.running.wait(30)
        running.pause(name)

        def timed_out() -> bool:
            user.call("PUT", f"/workflow/decide/{workflow_id}")  # else the server looks now and then only
            return bool(user.workflow(workflow_id)["tasks"][0]["status"] == "TIMED_OUT")

        wait_for(timed_out)
        with poller(real_server, other):
            assert second.wait(30)
            assert first.ended.wait(30)
            assert user.wait_until_closed(workflow_id)["status"] == "COMPLETED"
        assert running.health().cancelled == {"timed_out": 1}
    assert first.reason is not None
    assert first.reason.startswith("it has timed out (task status TIMED_OUT")
