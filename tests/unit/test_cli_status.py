"""`conductor-grpc status` with the logs of tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conductor_grpc import (
    Configuration,
    MetadataClient,
    NonRetryableError,
    TaskPoller,
    WorkflowClient,
    current_task,
    worker_task,
)
from conductor_grpc.cli.root import root
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@worker_task("talks")
def talks() -> None:
    current_task().add_log("about to fail")
    raise NonRetryableError("asked to fail")


@pytest.fixture(scope="module")
def failed() -> Iterator[tuple[str, ...]]:
    """What to give the command about a run that has failed."""
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration("", target=server.target, poll_wait_ms=200)
        with MetadataClient(configuration) as metadata:
            metadata.register_task({"name": "talks", "ownerEmail": "a@example.com"})
            task = {"name": "talks", "taskReferenceName": "only"}
            metadata.register_workflow({"name": "talking", "ownerEmail": "a@example.com", "tasks": [task]})
        with TaskPoller([talks], configuration), WorkflowClient(configuration) as client:
            run = client.start_and_wait("talking", timeout=30)
        yield "status", run.workflow_id, "--target", server.target, "--base-url", ""


def test_the_logs_of_the_tasks_follow_the_tasks(failed: tuple[str, ...]) -> None:
    result = CliRunner().invoke(root, [*failed, "--logs"])
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines() if line.startswith("only\t")]
    assert lines[0][2] == "FAILED_WITH_TERMINAL_ERROR"
    assert lines[1][2] == "about to fail"
    assert "Traceback" in lines[2][2]
    assert lines[1][1] <= lines[2][1]


def test_they_are_in_the_document(failed: tuple[str, ...]) -> None:
    logs = json.loads(CliRunner().invoke(root, [*failed, "--logs", "--json"]).stdout)["tasks"][0]["logs"]
    assert logs[0]["log"] == "about to fail"
    assert logs[0]["createdTime"] > 1_700_000_000_000
    assert "logs" not in json.loads(CliRunner().invoke(root, [*failed, "--tasks", "--json"]).stdout)["tasks"][0]


def test_nobody_who_does_not_ask_gets_them(failed: tuple[str, ...]) -> None:
    assert "about to fail" not in CliRunner().invoke(root, [*failed, "--tasks"]).stdout
