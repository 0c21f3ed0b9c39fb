"""The quick guide, followed step by step, and the same workflows by a user who has nothing but curl."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from command import conductor_grpc, end, environment, running
from guide import ROOT, commands, files, write_files
from rest_user import RestUser

from conductor_grpc import Configuration, TaskPoller, worker_task
from conductor_grpc.cli.worker_search import find_workers

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ServerAddress

NATIVE = "docs/native.md"
DEFINITIONS = ROOT / "examples" / "definitions"
OUTPUTS = {
    "workflow_with_python_task_example": {"workerOutput": {"key": "value"}},
    "workflow_with_cpp_task_example": {"workerOutput": {"sum": 3}},
}


@pytest.fixture
def curl(real_server: ServerAddress) -> RestUser:
    """A user who has registered the example definitions over REST."""
    user = RestUser(real_server.base_url)
    for name in ("python_task_example", "cpp_task_example"):
        user.call("POST", "/metadata/taskdefs", [json.loads((DEFINITIONS / f"{name}.json").read_text())])
        workflow = json.loads((DEFINITIONS / f"workflow_with_{name}.json").read_text())
        user.call("PUT", "/metadata/workflow", [workflow])
    return user


@pytest.fixture
def guide(tmp_path: Path) -> Path:
    """A folder with all files that the guide makes the reader write."""
    write_files(tmp_path)
    return tmp_path


def configuration(server: ServerAddress) -> Configuration:
    return Configuration(server.base_url, target=server.target, poll_wait_ms=1000)


@pytest.mark.parametrize("inputs", [{}, {"a": 1, "b": 2}], ids=["no input", "integers"])
def test_both_workflows_started_by_curl(real_server: ServerAddress, curl: RestUser, inputs: dict[str, Any]) -> None:
    started = {curl.start(name, inputs): output for name, output in OUTPUTS.items()}
    with TaskPoller(find_workers(str(ROOT / "examples" / "main.py")), configuration(real_server)):
        for workflow_id, output in started.items():
            ended = curl.wait_until_closed(workflow_id)
            assert ended["status"] == "COMPLETED", ended
            assert ended["output"] == output
            assert ended["input"] == inputs


def test_integers_that_curl_sends_arrive_as_integers(real_server: ServerAddress, curl: RestUser, guide: Path) -> None:
    curl.call("PUT", "/metadata/workflow", [json.loads((guide / "sum_workflow.json").read_text())])
    (start,) = [shlex.split(line) for line in commands("curl") if "workflow/sum_workflow" in line]
    inputs = json.loads(start[start.index("-d") + 1])
    assert inputs == {"a": 1, "b": 2}
    seen: list[object] = []

    @worker_task("cpp_task_example")
    def add(a: object, b: object) -> dict[str, object]:
        seen.extend([a, b])
        return {"sum": 3}

    workflow_id = curl.start("sum_workflow", inputs)
    with TaskPoller([add], configuration(real_server)):
        ended = curl.wait_until_closed(workflow_id)
    assert (ended["status"], ended["output"]) == ("COMPLETED", {"sum": 3})
    assert seen == [1, 2]
    assert [type(value) for value in seen] == [int, int]
    assert curl.in_progress("cpp_task_example") == []


def test_the_guide_with_its_own_main(real_server: ServerAddress, guide: Path) -> None:
    for line in commands("conductor-grpc apply"):
        applied = conductor_grpc(real_server, *shlex.split(line)[1:], folder=guide)
        assert applied.returncode == 0, applied.stderr
    (start,) = commands("conductor-grpc start")
    started = conductor_grpc(real_server, *shlex.split(start)[1:], folder=guide)
    assert started.returncode == 0, started.stderr
    (workflow_id,) = started.stdout.split()
    (main,) = commands("python main.py")
    with running(real_server, shlex.split(main)[1:], guide) as process:
        ended = RestUser(real_server.base_url).wait_until_closed(workflow_id)
        code, printed, complaints = end(process)
    assert ended["status"] == "COMPLETED"
    assert ended["output"] == {"workerOutput": {"key": "value"}}
    assert code == 0
    assert re.search(r"INFO .*polling \S+ for 'python_task_example'", complaints)
    assert not re.search(r"WARNING|ERROR|Traceback", complaints)
    assert printed.startswith("while stopping: ")
    assert printed.strip().endswith("0 unsent")


def test_the_guide_to_the_clients(real_server: ServerAddress, guide: Path) -> None:
    (line,) = commands("python greet_once.py")
    done = subprocess.run(
        [sys.executable, *shlex.split(line)[1:]],
        check=False,
        capture_output=True,
        cwd=guide,
        env=environment(real_server),
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "COMPLETED {'message': 'Hello Ada'}\n", "")


@pytest.fixture
def compiled(guide: Path) -> Path:
    """The guide's C++ file, compiled by the guide's own command line."""
    write_files(guide, NATIVE)
    (line,) = [each for each in commands("c++", NATIVE) if "my_library" in each]
    line = line.replace("$(python ", f"$({shlex.quote(sys.executable)} ")
    subprocess.run(["bash", "-c", line], check=True, cwd=guide, timeout=300)
    return guide


def test_the_guide_to_a_module_of_ones_own(compiled: Path) -> None:
    script = "import my_library; print(my_library.get_sum(40, 2)); my_library.get_sum(2**31 - 1, 1)"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, cwd=compiled, text=True)
    assert done.stdout == "42\n"
    assert done.stderr.splitlines()[-1].startswith("OverflowError: ")


@pytest.mark.feature("Command line")
@pytest.mark.feature("conductor-python: command line")
def test_the_guide_by_commands_alone(real_server: ServerAddress, guide: Path) -> None:
    """The C++ chapter: apply, run, start --wait, SIGTERM."""
    applied = conductor_grpc(real_server, "apply", str(DEFINITIONS), str(guide / "sum_workflow.json"))
    assert applied.returncode == 0, applied.stderr
    with running(real_server, ["-m", "conductor_grpc", "run", "simple_cpp_worker"], guide) as workers:
        started = conductor_grpc(
            real_server, "start", "sum_workflow", "--input", '{"a": 40, "b": 2}', "--wait", "--timeout", "30"
        )
        assert started.returncode == 0, started.stderr
        document = json.loads(started.stdout)
        assert document["status"] == "COMPLETED"
        assert document["output"] == {"sum": 42}
        code, printed, _ = end(workers)
    assert code == 0
    assert printed.startswith("while stopping: ")


def test_the_guide_shows_the_example_files() -> None:
    shown = files()
    for name in ("python_task_example.json", "workflow_with_python_task_example.json"):
        assert json.loads(shown[name]) == json.loads((DEFINITIONS / name).read_text())
