"""`conductor-grpc run --processes` and its options for metrics."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from command import conductor_grpc, end, running
from conftest import ServerAddress
from handler_stage import Stage, staged
from metrics_text import Metrics, probe
from waiting import wait_for

from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = ["-m", "conductor_grpc", "run", "--base-url", ""]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        for name in ("first", "second"):
            stage.register(name)
        yield stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("first", "second"):
        (tmp_path / f"{name}_workers.py").write_text(
            f"""
import os, time
from pathlib import Path
from conductor_grpc import worker_task

@worker_task("{name}", concurrency=3)
def {name}():
    Path("begun-{name}-%d" % os.getpid()).touch()
    while not Path("finish").exists():
        time.sleep(0.01)
    return os.getpid()
"""
        )
    return tmp_path


def address(stage: Stage) -> ServerAddress:
    return ServerAddress(stage.configuration.target, "")


def begun(folder: Path, name: str) -> set[int]:
    return {int(path.name.rpartition("-")[2]) for path in folder.glob(f"begun-{name}-*")}


def test_processes_of_several_modules_and_a_kill(stage: Stage, folder: Path) -> None:
    arguments = [*RUN, "first_workers", "second_workers.py", "--processes", "2", "--processes", "second=1"]
    ids = [stage.start("first") for _ in range(2)] + [stage.start("second")]
    with running(address(stage), [*arguments, "--concurrency", "first=1"], folder) as command:
        wait_for(lambda: len(begun(folder, "first")) == 2 and len(begun(folder, "second")) == 1)
        killed = min(begun(folder, "first"))
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(begun(folder, "first")) == 3)
        (folder / "finish").touch()
        stage.wait_until_completed(*ids)
        code, printed, complaints = end(command)
    assert code == 0, complaints
    assert "for first (x1), second (x3) in 3 processes; Ctrl-C or SIGTERM stops" in complaints
    assert re.search(r"ERROR conductor_grpc.handler\S*: process first-\d was killed by SIGKILL", complaints)
    assert printed.splitlines()[0].endswith("0 unsent (3 processes)")
    assert re.search(r"first-\d: .*started again once", printed)
    journals = sorted(path.name for path in (folder / "state").glob("conductor-grpc/journal/*/0/*") if path.is_dir())
    assert journals == ["0", "1", "2"]


def test_a_killed_command_loses_nothing(stage: Stage, folder: Path) -> None:
    """All its processes at once, as the kernel or a service manager does it; one process takes care of the rest."""
    ids = [stage.start("first") for _ in range(4)]
    arguments = [*RUN, "first_workers"]
    with running(address(stage), [*arguments, "--processes", "2"], folder) as command:
        wait_for(lambda: len(begun(folder, "first")) == 2)
        children = begun(folder, "first")
        for pid in [*children, command.pid]:
            os.kill(pid, signal.SIGSTOP)  # or those that die last would see the others go
        for pid in [*children, command.pid]:
            os.kill(pid, signal.SIGKILL)
        command.wait(30)
    (folder / "finish").touch()
    with running(address(stage), arguments, folder) as command:
        stage.wait_until_completed(*ids)
        code, _, complaints = end(command)
    assert code == 0
    assert "is taken over" in complaints
    assert "tasks that are handed back" in complaints


@pytest.mark.parametrize("more", [[], ["--processes", "2"]])
def test_metrics(stage: Stage, folder: Path, more: list[str]) -> None:
    (port,) = free_ports(1)
    (folder / "finish").touch()
    file = folder / "seen" / "mine.log"
    options = ["--metrics-dir", "seen", "--metrics-file", "mine.log", "--metrics-interval", "0.05"]
    arguments = [*RUN, "first_workers", *more, *options, "--metrics-port", str(port)]
    with running(address(stage), arguments, folder) as command:
        wait_for(file.exists)
        stage.wait_until_completed(stage.start("first"))
        wait_for(lambda: Metrics(file.read_text()).total("task_execution_started_total", taskType="first") == 1)
        wait_for(lambda: probe(port, "/readyz")[0] == 200)
        assert ("processes" in probe(port, "/readyz")[1]["health"]) == bool(more)
        assert end(command)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--processes", "0"], r"--processes: '0': expected a whole number of at least 1, or TYPE=N"),
        (["--processes", "frist=2"], r"--processes: 'frist=2': no worker runs 'frist', only first \(x3\)"),
        (["--metrics-interval", "1"], r"--metrics-interval is that of a file: give --metrics-dir, --metrics-file"),
        (["--metrics-file", "a/b"], r"file_name 'a/b': expected the name of a file without a folder"),
        (["--processes", "2", "--journal", "/dev/null/no"], r"journals in /dev/null/no cannot be used"),
    ],
)
def test_what_is_said(stage: Stage, folder: Path, arguments: list[str], said: str) -> None:
    if "--journal" in arguments:  # which costs the journal, and nothing else
        with running(address(stage), [*RUN, "first_workers", *arguments], folder) as command:
            (folder / "finish").touch()
            stage.wait_until_completed(stage.start("first"))
            code, _, complaints = end(command)
        assert code == 0
    else:
        ended = conductor_grpc(address(stage), "run", "first_workers", *arguments, folder=folder)
        complaints = ended.stderr
        assert ended.returncode in (1, 2)
        assert "Traceback" not in complaints
    assert re.search(said, complaints), complaints


def test_a_worker_that_cannot_be_imported_there(stage: Stage, folder: Path) -> None:
    (folder / "odd.py").write_text(
        "import multiprocessing\nfrom conductor_grpc import worker_task\n"
        "if multiprocessing.parent_process() is not None:\n    import surely_not_there\n"
        "@worker_task('first')\ndef work(): pass\n"
    )
    ended = conductor_grpc(address(stage), "run", "odd", "--processes", "1", folder=folder)
    assert (ended.returncode, ended.stdout) == (1, "")
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(
        "Error: process 'first-0' cannot begin: it cannot be loaded there: ModuleNotFoundError: No mo"
    )
