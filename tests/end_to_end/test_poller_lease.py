"""Tasks that take longer than their response timeout, on the real server."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from rest_user import RestUser
from scripted_server import ScriptedServer
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, worker_task
from conductor_grpc.poller import lease as lease_module
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.rest import RestClient
from conductor_grpc.transport.server_version import LeaseSupport, lease_support

if TYPE_CHECKING:
    from conftest import ServerAddress

pytestmark = pytest.mark.real_server


def registered(server: ServerAddress, **task: object) -> tuple[RestUser, str]:
    user, name = RestUser(server.base_url), f"lease_{uuid.uuid4().hex[:8]}"
    user.register(name, name, {"n": "${workflow.input.n}"}, **{"responseTimeoutSeconds": 2, **task})
    return user, name


def test_the_server_tells_that_it_extends_leases(real_server: ServerAddress) -> None:
    """By reflection, and where that is out of reach by its version."""
    with open_channel(Configuration("", target=real_server.target)) as channel:
        assert lease_support(channel, None) is LeaseSupport.YES
    with (
        ScriptedServer() as mute,
        open_channel(Configuration("", target=mute.target)) as channel,
        RestClient(real_server.base_url) as rest,
    ):
        assert lease_support(channel, None) is LeaseSupport.UNTOLD
        assert lease_support(channel, rest) is LeaseSupport.YES


@pytest.mark.feature("Lease extension")
@pytest.mark.bug("python-sdk#278")
def test_a_task_three_times_as_long_as_its_response_timeout_stays_ours(real_server: ServerAddress) -> None:
    user, name = registered(real_server, retryCount=3)
    executions: list[str] = []

    @worker_task(name)
    def work(task: Task) -> dict[str, int]:
        executions.append(task.task_id)
        end = time.monotonic() + 7
        while time.monotonic() < end:
            time.sleep(0.5)
            user.call("PUT", f"/workflow/decide/{task.workflow_instance_id}")  # else the server looks now and then only
        return {"polls": task.poll_count}

    with TaskPoller([work], Configuration(real_server.base_url, target=real_server.target)) as poller:
        workflow = user.wait_until_closed(user.start(name, {"n": 1.5}), 40)
        assert poller._parts.leases.extended >= 3
        assert poller._parts.leases.lost == 0
    (task,) = workflow["tasks"]
    assert (workflow["status"], task["status"], task["pollCount"]) == ("COMPLETED", "COMPLETED", 1)
    assert len(executions) == 1


def test_without_a_lease_it_is_given_to_another_and_the_late_result_is_seen_to_be_ignored(
    real_server: ServerAddress,
) -> None:
    user, name = registered(real_server, retryCount=1, retryDelaySeconds=0)
    executions: list[str] = []
    second = threading.Event()

    @worker_task(name, lease=False, concurrency=2)
    def work(task: Task) -> dict[str, int]:
        executions.append(task.task_id)
        if len(executions) > 1:
            second.set()
            return {}
        for _ in range(40):
            user.call("PUT", f"/workflow/decide/{task.workflow_instance_id}")
            if second.wait(0.5):
                break
        return {}

    with TaskPoller([work], Configuration(real_server.base_url, target=real_server.target)) as poller:
        workflow = user.wait_until_closed(user.start(name, {"n": 1.5}), 40)
        wait_for(lambda: len(poller._parts.custody) == 0)
        assert {standing.value: count for standing, count in poller._parts.outbox.late.items()} == {"ignored": 1}
    assert [task["status"] for task in workflow["tasks"]] == ["TIMED_OUT", "COMPLETED"]
    assert len(executions) == 2


def test_no_result_is_lost_while_extensions_are_due(
    real_server: ServerAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task is extended several times, the last time while its result is there or about to be."""
    monkeypatch.setattr(lease_module, "SHARE", (0.0005, 0.001))  # every 30 to 60 ms
    count = 400
    user, name = registered(real_server, responseTimeoutSeconds=60)

    @worker_task(name, concurrency=16)
    def work(n: float) -> dict[str, float]:
        time.sleep(0.05 + n % 7 * 0.01)
        return {"n": n}

    with TaskPoller([work], Configuration(real_server.base_url, target=real_server.target)) as poller:
        ids = [user.start(name, {"n": n + 0.5}) for n in range(count)]
        runs = [user.wait_until_closed(workflow_id, 60) for workflow_id in ids]
        extended, repaired = poller._parts.leases.extended, poller._parts.outbox.repaired
    assert extended >= count
    assert [run["status"] for run in runs] == ["COMPLETED"] * count
    assert {task["pollCount"] for run in runs for task in run["tasks"]} == {1}
    assert repaired == 0
