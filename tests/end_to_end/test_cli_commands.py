"""The commands against a real server, as processes."""

from __future__ import annotations

import json
import os
import secrets
import signal
from typing import TYPE_CHECKING

import pytest
from command import conductor_grpc, running
from waiting import wait_for

from conductor_grpc import Configuration, NonRetryableError, TaskPoller, WorkflowClient, worker_task

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ServerAddress

TASK = {
    "name": "cli_task",
    "retryCount": 0,
    "timeoutSeconds": 60,
    "responseTimeoutSeconds": 30,
    "ownerEmail": "example@example.com",
}
WORKFLOW = {
    "name": "cli_workflow",
    "version": 1,
    "schemaVersion": 2,
    "ownerEmail": "example@example.com",
    "timeoutSeconds": 0,
    "tasks": [
        {
            "name": "cli_task",
            "taskReferenceName": "only",
            "type": "SIMPLE",
            "inputParameters": {"fail": "${workflow.input.fail}"},
        }
    ],
    "outputParameters": {"answer": "${only.output.answer}"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a_workflow.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "b_task.json").write_text(json.dumps(TASK))
    return tmp_path


@worker_task("cli_task")
def work(fail: bool | None = None) -> dict[str, int]:
    if fail:
        raise NonRetryableError("asked to fail")
    return {"answer": 42}


def apply(server: ServerAddress, folder: Path, *options: str, said: str = "") -> list[list[str]]:
    done = conductor_grpc(server, "apply", "a_workflow.json", "b_task.json", *options, folder=folder)
    assert (done.returncode, done.stderr) == (0, said)
    return [line.split("\t") for line in done.stdout.splitlines()]


def poller(server: ServerAddress) -> TaskPoller:
    return TaskPoller([work], Configuration(server.base_url, target=server.target, poll_wait_ms=500))


def test_apply_tells_what_happened(real_server: ServerAddress, tmp_path: Path) -> None:
    name = f"cli_applied_{secrets.token_hex(4)}"  # new to the server, also to one that has seen this test before
    task = {**TASK, "name": name}
    workflow = {**WORKFLOW, "name": f"{name}_workflow"}

    def outcomes(said: str = "") -> list[list[str]]:
        (tmp_path / "a_workflow.json").write_text(json.dumps(workflow))
        (tmp_path / "b_task.json").write_text(json.dumps(task))
        return apply(real_server, tmp_path, *(["--overwrite"] if said else []), said=said)

    def rows(task_outcome: str, workflow_outcome: str) -> list[list[str]]:
        return [
            ["task", name, "", task_outcome],
            ["workflow", f"{name}_workflow", "1", workflow_outcome],
        ]

    assert outcomes() == rows("created", "created")
    assert outcomes() == rows("unchanged", "unchanged")
    task["retryCount"] = 5
    assert outcomes(f"task {name}: retryCount: 0 on the server, 5 here\n") == rows("updated", "unchanged")
    workflow["description"] = "another"
    said = f'workflow {name}_workflow: description: absent on the server, "another" here\n'
    assert outcomes(said) == rows("unchanged", "updated")
    assert outcomes() == rows("unchanged", "unchanged")


def test_start_wait_status(real_server: ServerAddress, folder: Path) -> None:
    apply(real_server, folder)
    (folder / "input.json").write_text('{"fail": false}')
    with poller(real_server):
        done = conductor_grpc(
            real_server,
            *("start", "cli_workflow", "--input", "@input.json", "--version", "1"),
            *("--correlation-id", "mine", "--wait"),
            folder=folder,
        )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "COMPLETED"
    assert document["output"] == {"answer": 42}
    assert document["input"] == {"fail": False}
    assert document["correlationId"] == "mine"

    shown = conductor_grpc(real_server, "status", document["workflowId"], "--tasks", "--json")
    (task,) = json.loads(shown.stdout)["tasks"]
    assert (task["referenceTaskName"], task["status"]) == ("only", "COMPLETED")
    assert task["outputData"] == {"answer": 42}

    shown = conductor_grpc(real_server, "status", document["workflowId"], "--tasks")
    assert "status\tCOMPLETED\n" in shown.stdout
    assert 'only\tcli_task\tCOMPLETED\t0\t{"fail": false}\t{"answer": 42}\t\n' in shown.stdout


def test_a_failed_run_is_exit_code_1_with_the_reason(real_server: ServerAddress, folder: Path) -> None:
    apply(real_server, folder)
    with poller(real_server):
        done = conductor_grpc(real_server, "start", "cli_workflow", "--input", "@-", "--wait", text='{"fail": true}')
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["status"] == "FAILED"
    assert "asked to fail" in document["reasonForIncompletion"]


def test_a_run_that_nobody_works_on_times_out(real_server: ServerAddress, folder: Path) -> None:
    apply(real_server, folder)
    done = conductor_grpc(real_server, "start", "cli_workflow", "--wait", "--timeout", "0.3")
    assert (done.returncode, done.stdout) == (1, "")
    line = done.stderr.splitlines()[-1]
    assert "is RUNNING after 0.3 s: only SCHEDULED; it goes on running on the server" in line
    workflow_id = done.stderr.split()[1]
    assert workflow_id in line
    with WorkflowClient(Configuration(real_server.base_url, target=real_server.target)) as client:
        client.terminate(workflow_id)  # its task would be somebody's in the tests to come


def test_a_version_that_is_not_there_is_named(real_server: ServerAddress, folder: Path) -> None:
    apply(real_server, folder)
    done = conductor_grpc(real_server, "start", "cli_workflow", "--version", "7")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no workflow 'cli_workflow' in version 7" in done.stderr


@pytest.mark.parametrize("arguments", [("start", "cli_no_such_workflow"), ("status", "cli-no-such-id")])
def test_what_is_not_there(real_server: ServerAddress, arguments: tuple[str, ...]) -> None:
    done = conductor_grpc(real_server, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert arguments[1] in line


def test_run_finishes_what_runs_when_it_is_asked_to_stop(real_server: ServerAddress, folder: Path) -> None:
    """The task ends only after the drain has begun; it is done all the same, and reported."""
    apply(real_server, folder)
    os.mkfifo(folder / "finish")
    (folder / "slow_worker.py").write_text(
        """
from pathlib import Path
from conductor_grpc import worker_task

@worker_task("cli_task")
def slow():
    Path("begun").touch()
    return {"answer": Path("finish").read_text()}
"""
    )
    started = conductor_grpc(real_server, "start", "cli_workflow")
    with running(
        real_server, ["-m", "conductor_grpc", "run", "slow_worker", "--concurrency", "cli_task=2"], folder
    ) as workers:
        assert workers.stderr is not None
        assert "cli_task (x2)" in workers.stderr.readline()
        wait_for((folder / "begun").exists)
        workers.send_signal(signal.SIGTERM)
        while "stopping" not in workers.stderr.readline():
            assert workers.poll() is None
        (folder / "finish").write_text("1")
        printed, _ = workers.communicate(timeout=60)
    assert (workers.returncode, printed) == (0, "while stopping: 1 done, 0 handed back, 0 cancelled, 0 unsent\n")
    shown = conductor_grpc(real_server, "status", started.stdout.strip(), "--json")
    document = json.loads(shown.stdout)
    assert (document["status"], document["output"]) == ("COMPLETED", {"answer": "1"})
