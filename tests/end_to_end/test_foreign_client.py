"""A client that knows nothing of this package drives the embedded server: grpcurl, by reflection alone.

It is built with Go from the module proxy, once; the cache folder of the user keeps it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# The latest whose dependencies Go 1.19 builds, which is the Go of Debian 12.
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.1"
BUILD_SECONDS = 600
CALL_SECONDS = 30

METADATA = "conductor.grpc.metadata.MetadataService"
WORKFLOWS = "conductor.grpc.workflows.WorkflowService"
TASKS = "conductor.grpc.tasks.TaskService"

TASK = {"name": "add", "retry_count": 1, "response_timeout_seconds": 60, "backoff_scale_factor": 1}
WORKFLOW = {
    "name": "adding",
    "version": 1,
    "schema_version": 2,
    "timeout_policy": "ALERT_ONLY",
    "tasks": [
        {
            "name": "add",
            "task_reference_name": "add",
            "type": "SIMPLE",
            "retry_count": -1,
            "input_parameters": {"a": "${workflow.input.a}", "b": 2},
        }
    ],
    "output_parameters": {"sum": "${add.output.sum}"},
}


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """The program, built if this is the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "conductor-grpc" / "tools" / GRPCURL.rpartition("@")[2]
    program = folder / "grpcurl"
    if not program.exists():
        build(folder)
    return program


def build(folder: Path) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        pytest.fail("this case needs Go, to build grpcurl: install it, on Debian with `apt-get install golang-go`")
    # Without cgo it needs no C compiler, which Go 1.19 does not find out for itself.
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "", "CGO_ENABLED": "0"}
    built = subprocess.run(
        [go, "install", GRPCURL], check=False, capture_output=True, env=environment, text=True, timeout=BUILD_SECONDS
    )
    assert built.returncode == 0, f"{go} install {GRPCURL} failed:\n{built.stderr}"


class Grpcurl:
    """Calls of one server by its command line, with JSON in and JSON out."""

    def __init__(self, program: Path, target: str) -> None:
        self._program = program
        self._target = target

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, "-plaintext", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
        )

    def text(self, *arguments: str) -> str:
        """What the command prints; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def list(self, *service: str) -> list[str]:
        return self.text(self._target, "list", *service).split()

    def describe(self, symbol: str) -> str:
        return self.text(self._target, "describe", symbol)

    def call(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer; {} if there is none, or if it is empty."""
        return dict(json.loads(self.text("-d", json.dumps(request), self._target, method) or "{}"))

    def error(self, method: str, request: dict[str, Any]) -> str:
        """What it says of a call that must fail."""
        done = self.run("-d", json.dumps(request), self._target, method)
        assert done.returncode != 0, f"it was expected to fail, it printed {done.stdout}"
        return done.stderr


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
def foreign(request: pytest.FixtureRequest, grpcurl: Path) -> Iterator[Grpcurl]:
    with EmbeddedServer(strict=request.param) as server:
        yield Grpcurl(grpcurl, server.target)


def test_a_workflow_from_its_registration_to_its_end(foreign: Grpcurl) -> None:
    foreign.call(f"{METADATA}/CreateTasks", {"defs": [TASK]})
    foreign.call(f"{METADATA}/CreateWorkflow", {"workflow": WORKFLOW})
    assert foreign.call(f"{METADATA}/GetWorkflow", {"name": "adding"})["workflow"]["version"] == 1

    workflow_id = foreign.call(f"{WORKFLOWS}/StartWorkflow", {"name": "adding", "input": {"a": 40}})["workflow_id"]
    assert foreign.call(f"{TASKS}/GetQueueSizesForTasks", {"task_types": ["add"]}) == {"queue_for_task": {"add": 1}}

    task = foreign.call(f"{TASKS}/BatchPoll", {"task_type": "add", "worker_id": "grpcurl", "count": 1, "timeout": 1000})
    assert task["input_data"] == {"a": 40, "b": 2}
    result = {
        "workflow_instance_id": task["workflow_instance_id"],
        "task_id": task["task_id"],
        "status": "COMPLETED",
        "output_data": {"sum": 42},
    }
    assert foreign.call(f"{TASKS}/UpdateTask", {"result": result}) == {"task_id": task["task_id"]}

    status = foreign.call(f"{WORKFLOWS}/GetWorkflowStatus", {"workflow_id": workflow_id, "include_tasks": True})
    assert (status["status"], status["output"]) == ("COMPLETED", {"sum": 42})
    assert [each["output_data"] for each in status["tasks"]] == [{"sum": 42}]


def test_reflection_shows_all_services(foreign: Grpcurl) -> None:
    assert {METADATA, WORKFLOWS, TASKS, "conductor.grpc.events.EventService", "grpc.health.v1.Health"} <= set(
        foreign.list()
    )
    assert f"{TASKS}.BatchPoll" in foreign.list(TASKS)
    assert "rpc BatchPoll ( .conductor.grpc.tasks.BatchPollRequest ) returns ( stream .conductor.proto.Task )" in (
        foreign.describe(f"{TASKS}.BatchPoll")
    )
    assert "extend_lease" in foreign.describe("conductor.proto.TaskResult")


def test_health(foreign: Grpcurl) -> None:
    assert foreign.call("grpc.health.v1.Health/Check", {}) == {"status": "SERVING"}


def test_an_error_says_what_is_wrong(foreign: Grpcurl) -> None:
    said = foreign.error(f"{WORKFLOWS}/GetWorkflowStatus", {"workflow_id": "nope"})
    assert "No such workflow found by id: nope" in said
    assert "no such task found" in foreign.error(f"{TASKS}/GetTask", {"task_id": "nope"}).lower()
