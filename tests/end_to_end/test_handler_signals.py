"""A program with a handler that gets signals, or is killed: what becomes of its processes and their tasks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from handler_stage import Stage, staged
from waiting import end_of, wait_for

if TYPE_CHECKING:
    import select
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("handler_process.py")


class Program:
    """The program, its two processes, and a running task of each."""

    def __init__(self, stage: Stage, folder: Path, how: str = "join") -> None:
        self.stage = stage
        self.folder = folder
        self._complaints = ""
        stage.register("until")
        arguments = [sys.executable, str(PROGRAM), "until", stage.configuration.target, str(folder), "2", how]
        # A process group of its own, as a terminal gives it.
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.pids = [] if how == "slow" else [int(pid) for pid in self.process.stdout.readline().split()]

    def begin_tasks(self, number: int = 3) -> list[str]:
        ids = [self.stage.start("until") for _ in range(number)]
        wait_for(lambda: len(list(self.folder.glob("began-*"))) == number)
        return ids

    def go(self) -> None:
        (self.folder / "go").touch()

    def end(self) -> tuple[str, str]:
        """What it printed, once it has ended."""
        return self.process.communicate(timeout=60)

    def orphans(self) -> int:
        """How many of its processes have said that they drain without it."""
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self._complaints += self.process.stderr.read() or ""
        return self._complaints.count(f"the handler, process {self.process.pid}, is gone: process")


@contextlib.contextmanager
def ends_of(pids: list[int]) -> Iterator[list[select.poll]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(end_of(pid)) for pid in pids]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


@contextlib.contextmanager
def program(stage: Stage, folder: Path, how: str = "join") -> Iterator[Program]:
    started = Program(stage, folder, how)
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.process.pid, signal.SIGKILL)  # all that was started here
        started.process.communicate(timeout=30)


@pytest.mark.bug("python-sdk#224")
@pytest.mark.feature("conductor-python: start, join, stop, context manager")
def test_sigterm_drains_all_processes(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path) as running, ends_of(running.pids) as ends:
        ids = running.begin_tasks()
        running.process.send_signal(signal.SIGTERM)
        assert not any(each.poll(300) for each in ends), "they wait for their tasks"
        running.go()
        said, complaints = running.end()
        assert all(each.poll(0) for each in ends)
    assert running.process.returncode == 0, complaints
    assert said == "while stopping: 3 done, 0 handed back, 0 cancelled, 0 unsent (2 processes)\n"
    assert stage.completed(ids)


def test_ctrl_c_reaches_all_processes_and_one_decides(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path) as running, ends_of(running.pids) as ends:
        ids = running.begin_tasks()
        os.killpg(running.process.pid, signal.SIGINT)
        assert not any(each.poll(300) for each in ends)
        running.go()
        said, complaints = running.end()
    assert running.process.returncode == 0, complaints
    assert "3 done, 0 handed back, 0 cancelled, 0 unsent" in said
    assert stage.completed(ids)


def test_sigterm_during_the_start_ends_it_in_order(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path, "slow") as running:
        wait_for(lambda: len(list(tmp_path.glob("loading-*"))) == 2)
        with ends_of([int(path.name.partition("-")[2]) for path in tmp_path.glob("loading-*")]) as ends:
            running.process.send_signal(signal.SIGTERM)
            said, complaints = running.end()
            assert all(each.poll(0) for each in ends)
    assert (running.process.returncode, complaints) == (0, "")
    assert said.splitlines()[-1] == "while stopping: 0 done, 0 handed back, 0 cancelled, 0 unsent (2 processes)"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_outside_of_the_join_ends_the_with_block(stage: Stage, tmp_path: Path, number: int, code: int) -> None:
    with program(stage, tmp_path, "wait") as running, ends_of(running.pids) as ends:
        ids = running.begin_tasks()
        running.process.send_signal(number)
        assert not any(each.poll(300) for each in ends)
        running.go()
        _, complaints = running.end()
        assert all(each.poll(0) for each in ends)
    assert running.process.returncode == code, complaints
    assert stage.completed(ids)


def test_further_signals_hurry_all_processes(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path) as running:
        ids = running.begin_tasks()
        for _ in range(3):
            running.process.send_signal(signal.SIGTERM)
            # Of two that are pending at once one is lost.
            signal_is_handled(running.process.pid)
        said, complaints = running.end()
    assert running.process.returncode == 0, complaints
    assert "0 done, 0 handed back, 3 cancelled, 0 unsent" in said
    assert all(map(stage.waits_to_be_polled, ids)), "they run again, elsewhere"


def signal_is_handled(pid: int) -> None:
    def pending() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return sum(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd")))

    wait_for(lambda: not pending())


@pytest.mark.bug("D2")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_handler_takes_its_processes_along(stage: Stage, tmp_path: Path, number: int) -> None:
    """conductor-python's D2: the children of a parent that is gone poll on for ever."""
    with program(stage, tmp_path) as running, ends_of(running.pids) as ends:
        ids = running.begin_tasks()
        running.process.send_signal(number)
        running.process.wait(30)
        wait_for(lambda: running.orphans() == len(running.pids))
        late = stage.start("until")
        running.go()
        assert all(each.poll(30_000) for each in ends)
    assert stage.completed(ids), "their results were sent"
    assert stage.waits_to_be_polled(late)


def test_a_program_that_ends_without_a_stop_is_drained(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path, "forget") as running, ends_of(running.pids) as ends:
        _, complaints = running.end()
        assert all(each.poll(0) for each in ends)
    assert (running.process.returncode, complaints) == (0, "")


def test_a_program_without_stderr(stage: Stage, tmp_path: Path) -> None:
    """As daemons have none: there is nothing that a crash could be printed on."""
    arguments = [sys.executable, str(PROGRAM), "until", stage.configuration.target, str(tmp_path), "1", "forget"]
    closed = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *arguments]
    stage.register("until")
    assert subprocess.run(closed, stdout=subprocess.PIPE, timeout=60, check=False).returncode == 0


def test_a_program_without_a_main_guard_is_told_so(stage: Stage, tmp_path: Path) -> None:
    with program(stage, tmp_path, "unguarded") as running:
        assert running.pids == []
        _, complaints = running.end()
    assert running.process.returncode == 1
    assert "imported the program's main module, and that starts a poller again" in complaints
    assert "PollerError: process 'until-0' cannot begin" in complaints
