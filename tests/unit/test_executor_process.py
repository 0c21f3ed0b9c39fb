"""Workers in processes: what is sent, what comes back, and every way of dying."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import process_workers as workers
import pytest
from executor_bench import Bench
from waiting import end_of, wait_for

from conductor_grpc import Task, TaskResultStatus, WorkerDefinitionError, worker_task
from conductor_grpc.payload.external.filesystem import FilesystemPayloadStorage
from conductor_grpc.poller.slots import Executors, Run, SlotsHooks, processes
from conductor_grpc.worker.context import TaskContext
from conductor_grpc.worker.task import without_payload

if TYPE_CHECKING:
    from collections.abc import Iterator


def children() -> set[int]:
    """The processes that run workers, of this process."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(each.read_text().rpartition(")")[2].split()[1])
            command = (each.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and "spawn_main" in command:
            found.add(int(each.parent.name))
    return found


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_for(lambda: not children() - before, 10)


def begun(folder: Path, pattern: str = "begun*", count: int = 1) -> None:
    wait_for(lambda: len(list(folder.glob(pattern))) >= count, 60)


def test_a_task_runs_in_one_process_after_another() -> None:
    counting = workers.Counting("counting")
    with Bench(workers.square, counting) as bench:
        assert bench.output(workers.square, 12) == 144
        assert "InputError: value" in bench.reason(workers.square, "x")
        run = bench.start(counting)
        assert run.assert_completed().output["it"] == 1
        assert run.task("it").logs == [f"task {run.task('it').now().task_id}"]
        assert bench.output(counting) == 2, "its process is used again"
        assert counting.count == 0


@pytest.mark.feature("Executors: threads, asyncio, processes")
def test_each_slot_has_a_process_and_runs_on_its_main_thread_without_grpc(tmp_path: Path) -> None:
    with Bench(workers.until, workers.where) as bench:
        runs = [bench.start(workers.until, str(tmp_path)) for _ in range(2)]
        begun(tmp_path, count=2)
        (tmp_path / "go").touch()
        for run in runs:
            run.assert_completed()
        pid, main_thread, grpc = bench.output(workers.where)  # type: ignore[misc]
        assert pid in children()
        assert main_thread
        assert not grpc, "every process would pay for it"


def test_what_a_worker_raises_fails_its_task_and_the_process_goes_on() -> None:
    with Bench(workers.raising, workers.unsendable) as bench:
        run = bench.start(workers.raising, "value")
        run.assert_failed()
        assert run.task("it").reason == "ValueError: no"
        assert "in raising\n    raise kinds[value]" in run.task("it").logs[-1]
        before = children()
        assert bench.reason(workers.raising, "never") == "NonRetryableError: never"
        assert bench.reason(workers.raising, "exit") == "SystemExit: 3"
        assert bench.reason(workers.unsendable).startswith("PayloadEncodeError: output.result: a value of type complex")
        assert before <= children()


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("exit", "ended with exit code 3"),
        ("segfault", "was killed by SIGSEGV (segmentation fault)"),
        ("abort", "was killed by SIGABRT (aborted)"),
        ("kill", "was killed by SIGKILL (killed, perhaps out of memory: the kernel's log tells)"),
        ("closed", "ended with exit code 4"),
    ],
)
@pytest.mark.bug("Hatchet: dead worker, living listener")
def test_a_process_that_dies_fails_its_task_and_the_next_one_gets_another(way: str, words: str) -> None:
    with Bench(workers.die) as bench:
        assert bench.output(workers.die, "live") == "live"
        assert bench.reason(workers.die, way) == f"WorkerProcessError: the process that ran it {words}"
        assert bench.output(workers.die, "live again") == "live again"
        assert bench.poller.health().healthy


def test_a_process_that_dies_between_two_tasks_fails_none(caplog: pytest.LogCaptureFixture) -> None:
    with Bench(workers.where) as bench:
        pid = bench.output(workers.where)[0]  # type: ignore[index]
        with end_of(pid) as ended:
            os.kill(pid, signal.SIGKILL)
            assert ended.poll(10_000)
        for _ in range(6):  # some on each of the three slots
            bench.output(workers.where)
    assert any("between two tasks" in each for each in caplog.messages) or pid not in children()


def test_a_worker_that_cannot_be_loaded_fails_its_tasks_loudly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE", 0.01)
    early, unloadable = workers.DyingEarly("early"), workers.Unloadable("unloadable")
    with Bench(early, unloadable, workers.square) as bench:
        reason = bench.reason(early)
        assert "no process for worker 'early' gets ready to run it; 3 were tried" in reason
        assert "the last one ended with exit code 7" in reason
        assert "the worker cannot be loaded there: ImportError: no such library" in bench.reason(unloadable)
        assert bench.output(workers.square, 3) == 9
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert sum("before it could take a task" in each for each in errors) == 6


@pytest.mark.feature("conductor-python: workers cross to a spawned process")
@pytest.mark.bug("python-sdk#271")
def test_an_unpicklable_worker_is_refused_at_the_start() -> None:
    @worker_task("local", executor="process")
    def local() -> None: ...

    for worker in (local, workers.Unpicklable()):
        name = worker.task_definition_name
        words = f"worker '{name}' cannot be sent to another process: .*Define"
        with pytest.raises(WorkerDefinitionError, match=words), Bench(worker):
            pass


def test_a_cancelled_task_is_told_and_has_no_result(tmp_path: Path) -> None:
    with Bench(workers.cancellable) as bench:
        started = bench.start(workers.cancellable, str(tmp_path))
        begun(tmp_path)
        before = children()
        (run,) = bench.running(workers.cancellable)
        run.cancelled.set("the test says so")
        begun(tmp_path, "reason")
        wait_for(lambda: (tmp_path / "reason").read_text() == "the test says so", 60)  # it is there before its text
        # It is still wanted, as far as the server knows: so it is handed back and comes again, to the same process.
        begun(tmp_path, count=2)
        assert children() == before
        (again,) = bench.running(workers.cancellable)
        assert again is not run
        bench.client.workflow.terminate(started.workflow_id)
        again.cancelled.set("its workflow was terminated")


def test_a_cancelled_task_that_does_not_end_is_killed_after_its_grace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "conductor_grpc")
    with Bench(workers.deaf) as bench:
        started = bench.start(workers.deaf, str(tmp_path))
        begun(tmp_path)
        (run,) = bench.running(workers.deaf)
        with end_of(int((tmp_path / "begun").read_text())) as ended:
            bench.client.workflow.terminate(started.workflow_id)
            run.cancelled.set("its workflow was terminated")
            assert not ended.poll(150), "it has its grace"
            assert ended.poll(10_000)
        assert bench.slots(workers.deaf).wait_idle(10)
        wait_for(lambda: bench.poller.health().unsent == 0)
    (said,) = [each for each in caplog.messages if "was killed by SIGKILL" in each]
    assert "memory" not in said, "the poller knows who has killed it"


def test_a_drain_lets_running_tasks_finish(tmp_path: Path) -> None:
    with Bench(workers.until) as bench:
        run = bench.start(workers.until, str(tmp_path))
        begun(tmp_path)
        for pid in children():
            os.kill(pid, signal.SIGINT)  # as a terminal does
            os.kill(pid, signal.SIGTERM)  # as a service manager does
        report: list[object] = []
        stopping = threading.Thread(target=lambda: report.append(bench.poller.stop()))
        stopping.start()
        wait_for(lambda: bench.slots(workers.until)._closed)
        (tmp_path / "go").touch()
        stopping.join(30)
        assert run.assert_completed().output["it"] == "done"
        assert not children()


def test_a_drain_that_is_over_kills_what_still_runs(tmp_path: Path) -> None:
    with Bench(workers.until, drain_timeout=0.2) as bench:
        bench.start(workers.until, str(tmp_path))
        begun(tmp_path)
        report = bench.poller.stop()
        assert (report.cancelled, report.unsent) == (1, 0)
        assert not children(), "or the task would run here and wherever it was handed to"


def test_stuck_processes_of_several_workers_share_one_grace(tmp_path: Path) -> None:
    executors = Executors(SlotsHooks(Mock(), Mock(), Mock()), Mock(running=Mock(return_value=None)))
    for index in range(3):
        folder = tmp_path / str(index)
        folder.mkdir()
        slots = executors.slots(workers.until, "me")
        task = Task(task_id=str(index), workflow_instance_id="w", input_data={"value": str(folder)})
        slots.submit(task)
        begun(folder)
        slots.close()
        assert slots.abandon()
    began = time.monotonic()
    executors.close()
    assert time.monotonic() - began < 2 * processes.CLOSE_GRACE
    assert not children()


def test_what_a_worker_starts_can_be_terminated() -> None:
    with Bench(workers.started) as bench:
        assert bench.output(workers.started) == -signal.SIGTERM


def test_log_records_arrive_in_the_pollers_process(caplog: pytest.LogCaptureFixture) -> None:
    with Bench(workers.log) as bench:
        bench.start(workers.log, "hello").assert_completed()
    records = [each for each in caplog.records if each.name == "of.the.worker"]
    assert [each.levelname for each in records] == ["WARNING", "ERROR"]
    assert records[0].getMessage() == "it says hello"
    assert records[0].process != os.getpid()
    assert "ValueError: wrong" in records[1].getMessage()


def test_a_log_record_that_cannot_be_read_fails_no_task(caplog: pytest.LogCaptureFixture) -> None:
    with Bench(workers.log_unreadable) as bench:
        assert bench.output(workers.log_unreadable) == "done"
    assert any("a log record of a worker's process is lost: TypeError" in each for each in caplog.messages)


def test_a_process_that_the_end_of_the_program_kills_fails_no_task(tmp_path: Path) -> None:
    """Or the failure would be sent, or be journaled for the next run to send."""
    runner = processes.ProcessRunner(workers.until, "me", "error", None)
    outcomes: list[object] = []
    run = a_run(value=str(tmp_path))
    thread = threading.Thread(target=lambda: outcomes.append(runner(run)))
    thread.start()
    begun(tmp_path)
    runner.kill()
    thread.join(20)
    assert outcomes == [None]
    assert runner(a_run(value=str(tmp_path))) is None, "nor does one that comes later"
    runner.close(lambda: 2.0)


def test_a_python_without_pidfd_open_asks_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    runner = processes.ProcessRunner(workers.die, "me", "error", None)
    try:
        outcome = runner(a_run(value="live"))
        assert outcome is not None
        assert outcome[0].status is TaskResultStatus.COMPLETED
        outcome = runner(a_run(value="kill"))
        assert outcome is not None
        assert "was killed by SIGKILL" in outcome[0].reason_for_incompletion
    finally:
        runner.close(lambda: 2.0)


def a_run(**inputs: object) -> Run:
    task = Task(task_id="a", workflow_instance_id="w", input_data=inputs)
    return Run(TaskContext(task), without_payload(task))


def test_a_large_output_goes_to_the_storage_that_only_this_process_has(tmp_path: Path) -> None:
    with Bench(workers.large) as bench:
        assert "PayloadEncodeError: output: the update of this task has 5," in bench.reason(workers.large, 5_000_000)
        assert len(str(bench.output(workers.large, 3_000_000))) == 3_000_000

    class Unpicklable(FilesystemPayloadStorage):
        """As a local class is."""

    with Bench(workers.large, external_payload_storage=Unpicklable(tmp_path)) as bench:
        # The embedded server reads no storage, and says so: here, where the output is about to be stored.
        assert "the server cannot read what Unpicklable stores" in bench.reason(workers.large, 5_000_000)


MAIN = """
import sys, time
from pathlib import Path
from conductor_grpc import Configuration, TaskPoller
import process_workers

if __name__ == "__main__":
    poller = TaskPoller([process_workers.deaf], Configuration("", target=sys.argv[1], poll_wait_ms=50))
    poller.start()
    end = time.monotonic() + 30
    while time.monotonic() < end and not Path(sys.argv[2], "go").exists():
        time.sleep(0.01)
"""


def other_program(folder: Path, text: str, bench: Bench) -> subprocess.Popen[str]:
    """A program of its own that runs `workers.deaf` on the bench's server."""
    script = folder / "main.py"
    script.write_text(text)
    paths = [str(Path(workers.__file__).parent), str(Path(processes.__file__).parents[3])]
    return subprocess.Popen(
        [sys.executable, str(script), bench.poller.configuration.target, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.bug("D2")
def test_processes_end_when_the_poller_is_gone(tmp_path: Path, killed: bool) -> None:
    """Killed, or its program ended without a stop."""
    with Bench(workers.deaf) as bench:
        bench.poller.stop()
        bench.start(workers.deaf, str(tmp_path))
        poller = other_program(tmp_path, MAIN, bench)
        try:
            wait_for(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text() != "")
            with end_of(int((tmp_path / "begun").read_text())) as ended:
                if killed:
                    poller.kill()
                else:
                    (tmp_path / "go").touch()
                assert ended.poll(20_000), "the process outlives its poller"
            assert poller.wait(20) == (-signal.SIGKILL if killed else 0)
        finally:
            poller.kill()
            poller.communicate()


def test_a_main_module_without_a_guard_is_told_so(tmp_path: Path) -> None:
    with Bench(workers.deaf) as bench:
        bench.poller.stop()
        bench.start(workers.deaf, str(tmp_path))
        poller = other_program(tmp_path, MAIN.replace('if __name__ == "__main__":', "if True:"), bench)
        try:
            assert poller.stderr is not None
            told = 'put it under if __name__ == "__main__":'
            assert any(told in line for line in poller.stderr)
        finally:
            poller.kill()
            poller.communicate()
