"""Stopping a poller in the middle of its work, against the real server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rest_user import RestUser
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, WorkflowClient, worker_task

if TYPE_CHECKING:
    from conftest import ServerAddress

WORKER_PROCESS = Path(__file__).with_name("worker_process.py")
WORKFLOWS = 1000


@pytest.mark.feature("Graceful shutdown with a deadline")
@pytest.mark.bug("python-sdk#224")
def test_a_thousand_workflows_survive_a_restart_of_the_worker(real_server: ServerAddress, tmp_path: Path) -> None:
    user = RestUser(real_server.base_url)
    user.register("thousand", "thousand_workflow")
    with WorkflowClient(Configuration(real_server.base_url, target=real_server.target)) as client:
        ids = [client.start("thousand_workflow", {}) for _ in range(WORKFLOWS)]
    executions = tmp_path / "executions"

    def lines() -> list[str]:
        return executions.read_text().split() if executions.exists() else []

    command = [sys.executable, str(WORKER_PROCESS), "thousand", real_server.target, real_server.base_url]
    command += [str(executions), "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        wait_for(lambda: len(lines()) >= WORKFLOWS // 3, 60)
        first.send_signal(signal.SIGTERM)
        report, _ = first.communicate(timeout=30)
    assert first.returncode == 0
    assert report.rstrip().endswith("0 cancelled, 0 unsent"), report
    between = len(lines())
    assert WORKFLOWS // 3 <= between < WORKFLOWS, "the signal was to come in the middle"
    assert user.in_progress("thousand") == [], "tasks were left stranded by the first process"

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        wait_for(lambda: len(lines()) >= WORKFLOWS, 60)
        second.send_signal(signal.SIGTERM)
        report, _ = second.communicate(timeout=30)
    assert second.returncode == 0
    assert report.rstrip().endswith("0 cancelled, 0 unsent"), report
    assert user.in_progress("thousand") == []
    statuses = Counter(user.workflow(workflow_id)["status"] for workflow_id in ids)
    assert statuses == {"COMPLETED": WORKFLOWS}
    assert max(Counter(lines()).values()) == 1, "a task was executed twice"
    assert len(lines()) == WORKFLOWS


@pytest.mark.parametrize("timeout", [None, 0], ids=["in time", "at once"])
@pytest.mark.bug("Python: next task dropped at shutdown")
def test_a_task_that_arrives_after_stop_is_handed_back(real_server: ServerAddress, timeout: float | None) -> None:
    """The scout in flight brings a task when nothing may be begun any more, and even if nothing may be waited for."""
    task_type = f"late_{timeout}"
    user = RestUser(real_server.base_url)
    user.register(task_type, f"{task_type}_workflow", {"n": "${workflow.input.n}"})
    begun: list[str] = []

    @worker_task(task_type)
    def work(task: Task) -> None:
        begun.append(task.task_id)

    configuration = Configuration(real_server.base_url, target=real_server.target, poll_wait_ms=4000)
    poller = TaskPoller([work], configuration)
    poller.start()
    wait_for(lambda: user.call("GET", f"/tasks/queue/polldata?taskType={task_type}") != [])
    stopper = threading.Thread(target=lambda: poller.stop(timeout))
    stopper.start()
    wait_for(lambda: "stopping" in poller.health().reasons)
    workflow_id = user.start(f"{task_type}_workflow", {"n": "text"})
    stopper.join(30)
    assert poller.stop().handed_back == 1
    assert begun == []
    task = user.workflow(workflow_id)["tasks"][0]
    assert (task["status"], task["pollCount"]) == ("SCHEDULED", 1), "polled by us and put back on the queue"

    with TaskPoller([work], configuration.with_changes(poll_wait_ms=1000)):
        assert user.wait_until_closed(workflow_id)["status"] == "COMPLETED"
    assert len(begun) == 1


@pytest.mark.feature("Graceful shutdown with a deadline")
def test_a_task_still_running_at_the_deadline_is_handed_back(real_server: ServerAddress) -> None:
    user = RestUser(real_server.base_url)
    user.register("slow", "slow_workflow")
    running, release = threading.Event(), threading.Event()

    @worker_task("slow")
    def work() -> dict[str, str]:
        running.set()
        release.wait(60)
        return {"from": "the first"}

    configuration = Configuration(real_server.base_url, target=real_server.target, poll_wait_ms=1000)
    workflow_id = user.start("slow_workflow")
    poller = TaskPoller([work], configuration)
    poller.start()
    assert running.wait(30)
    report = poller.stop(timeout=0.5)
    assert (report.cancelled, report.unsent) == (1, 0)
    assert user.workflow(workflow_id)["tasks"][0]["status"] == "SCHEDULED"
    release.set()  # its result comes too late and must not be sent

    @worker_task("slow")
    def other() -> dict[str, str]:
        return {"from": "the second"}

    with TaskPoller([other], configuration):
        closed = user.wait_until_closed(workflow_id)
    assert closed["output"] == {"workerOutput": {"from": "the second"}}


@pytest.mark.bug("D1")
def test_running_tasks_finish_before_the_drain_ends(real_server: ServerAddress) -> None:
    user = RestUser(real_server.base_url)
    user.register("brief", "brief_workflow")
    running, release = threading.Event(), threading.Event()

    @worker_task("brief")
    def work() -> None:
        running.set()
        release.wait(60)

    workflow_id = user.start("brief_workflow")
    poller = TaskPoller([work], Configuration(real_server.base_url, target=real_server.target, poll_wait_ms=500))
    poller.start()
    assert running.wait(30)
    threading.Timer(1.0, release.set).start()
    report = poller.stop()
    assert (report.done, report.handed_back, report.cancelled, report.unsent) == (1, 0, 0, 0)
    assert user.workflow(workflow_id)["status"] == "COMPLETED"
