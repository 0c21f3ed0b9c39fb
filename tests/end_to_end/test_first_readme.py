"""What the first README of Conductor's Python SDK promises, in its order, with this package's names: from a virtual
environment to the coverage report in HTML, on the real server."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from guide import ROOT, commands, files
from metrics_text import Metrics
from rest_user import RestUser
from tls_stand import Certificates, Nginx, TokenService
from waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ServerAddress

NATIVE = "docs/native.md"
DEFINITIONS = ROOT / "examples" / "definitions"

WORKER = """
from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface


class SimplePythonWorker(WorkerInterface):
    def execute(self, task: Task) -> TaskResult:
        task_result = self.get_task_result_from_task(task)
        task_result.add_output_data("key", "value")
        task_result.status = TaskResultStatus.COMPLETED
        return task_result
"""

CPP_WORKER = """
from my_library import get_sum

from conductor_grpc import Task, TaskResult, TaskResultStatus, WorkerInterface


class SimpleCppWorker(WorkerInterface):
    def execute(self, task: Task) -> TaskResult:
        task_result = self.get_task_result_from_task(task)
        task_result.add_output_data("sum", get_sum(1, 2))
        task_result.status = TaskResultStatus.COMPLETED
        return task_result
"""

MAIN = """
import os

from simple_cpp_worker import SimpleCppWorker
from simple_python_worker import SimplePythonWorker

from conductor_grpc import AuthenticationSettings, Configuration, MetricsSettings, TaskHandler, TlsSettings


def main() -> None:
    configuration = Configuration(
        base_url=os.environ["BASE_URL"],
        debug=True,
        authentication_settings=AuthenticationSettings(key_id="id", key_secret="the-secret"),
        target=os.environ["TARGET"],
        tls=TlsSettings(ca=os.environ["CA"]),
    )
    metrics_settings = MetricsSettings(directory=".", file_name="metrics.log", update_interval=0.1)
    workers = [SimpleCppWorker("cpp_task_example"), SimplePythonWorker("python_task_example")]
    with TaskHandler(workers, configuration, metrics_settings) as task_handler:
        task_handler.start_processes()
        task_handler.join_processes()


if __name__ == "__main__":
    main()
"""

TESTS = """
import unittest

from simple_cpp_worker import SimpleCppWorker
from simple_python_worker import SimplePythonWorker

from conductor_grpc import Task, TaskResultStatus, WorkerInterface
from conductor_grpc.testing import call_worker


class FaultyWorker(WorkerInterface):
    def execute(self, task):
        raise ValueError("faulty")


class TestWorkers(unittest.TestCase):
    def test_execute_task(self):
        self.assertEqual(call_worker(SimplePythonWorker("python_task_example")).output_data, {"key": "value"})
        self.assertEqual(call_worker(SimpleCppWorker("cpp_task_example")).output_data, {"sum": 3})

    def test_execute_task_with_faulty_execution_worker(self):
        result = call_worker(FaultyWorker("faulty"))
        self.assertIs(result.status, TaskResultStatus.FAILED)
        self.assertEqual(result.reason_for_incompletion, "ValueError: faulty")

    def test_execute_task_with_invalid_task(self):
        with self.assertRaises(AttributeError):
            SimplePythonWorker("python_task_example").execute(None)
"""


class Reader:
    """Somebody who types what the README says into a shell, in a folder of their own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment, "PATH": f"{folder}/conductor/bin:{os.environ['PATH']}"}
        self.environment.pop("PYTHONPATH", None)

    def write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content.lstrip("\n"), encoding="utf-8")

    def types(self, line: str) -> str:
        """Both outputs of a command that must succeed."""
        done = subprocess.run(
            ["bash", "-c", line],
            check=False,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stdout}"
        return done.stdout


def test_the_first_readme(real_server: ServerAddress, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    folder = tmp_path / "reader"
    folder.mkdir()
    with (
        TokenService("good") as service,
        Nginx(
            tmp_path / "nginx",
            certificates,
            real_server.target,
            real_server.base_url,
            tokens=("good",),
            token_service=service.base_url,
        ) as nginx,
    ):
        reader = Reader(folder, {"BASE_URL": nginx.base_url, "TARGET": nginx.target, "CA": str(certificates.ca)})
        install(reader)
        reader.write("simple_python_worker.py", WORKER)
        reader.write("main.py", MAIN)
        define(reader, real_server)
        compile_the_library(reader)
        run_both_workflows(reader, real_server)
        assert service.requests[0] == {"path": "/api/token", "keyId": "id", "keySecret": "the-secret"}
    run_its_unit_tests(reader)


def install(reader: Reader) -> None:
    reader.types(f"{shlex.quote(sys.executable)} -m venv conductor")
    reader.types(f"python -m pip install --quiet {shlex.quote(f'{ROOT}[cli,metrics]')} coverage pybind11")
    assert "conductor-grpc-client" in reader.types("python -m pip list")


def define(reader: Reader, server: ServerAddress) -> None:
    for name in ("python_task_example", "cpp_task_example"):
        for file in (f"{name}.json", f"workflow_with_{name}.json"):
            reader.write(file, (DEFINITIONS / file).read_text(encoding="utf-8"))
    reader.types(f"conductor-grpc apply *.json --target {server.target} --base-url {server.base_url}")


def compile_the_library(reader: Reader) -> None:
    reader.write("my_library.cpp", files(NATIVE)["my_library.cpp"])
    reader.write("simple_cpp_worker.py", CPP_WORKER)
    (line,) = [each for each in commands("c++", NATIVE) if "my_library" in each]
    reader.types(line)


def run_both_workflows(reader: Reader, server: ServerAddress) -> None:
    """Started by somebody else, over REST, and the workers by their main."""
    user = RestUser(server.base_url)
    metrics = reader.folder / "metrics.log"
    log = reader.folder / "main.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [reader.folder / "conductor" / "bin" / "python", "main.py"],
            cwd=reader.folder,
            env=reader.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as main,
    ):
        try:
            wait_for(lambda: polls(metrics, "python_task_example") > 0 and polls(metrics, "cpp_task_example") > 0, 60)
            before, size = polls(metrics, "python_task_example"), metrics.stat().st_size
            for name, output_data in (("python", {"key": "value"}), ("cpp", {"sum": 3})):
                run = user.wait_until_closed(user.start(f"workflow_with_{name}_task_example", {}))
                assert (run["status"], run["output"]) == ("COMPLETED", {"workerOutput": output_data}), run
            wait_for(lambda: polls(metrics, "python_task_example") > before)
            wait_for(lambda: metrics.stat().st_size > size)
            main.send_signal(signal.SIGTERM)
            assert main.wait(60) == 0, log.read_text()
        finally:
            main.kill()  # harmless if it has ended
    printed = log.read_text()
    assert "DEBUG" in printed
    assert "the-secret" not in printed
    assert "Traceback" not in printed, printed


def polls(metrics: Path, task_type: str) -> float:
    """How many polls for the type the metrics file tells of."""
    if not metrics.exists():
        return 0
    return Metrics(metrics.read_text(encoding="utf-8")).total("task_poll_total", taskType=task_type)


def run_its_unit_tests(reader: Reader) -> None:
    reader.write("test_workers.py", TESTS)
    ran = reader.types("python -m unittest -v")
    assert "Ran 3 tests" in ran
    assert ran.rstrip().endswith("OK")
    reader.types("python -m coverage run --source=. --omit='conductor/*' -m unittest")
    report = reader.types("python -m coverage report")
    assert "simple_cpp_worker.py" in report
    reader.types("python -m coverage html")
    page = (reader.folder / "htmlcov" / "index.html").read_text(encoding="utf-8")
    assert "simple_python_worker.py" in page
