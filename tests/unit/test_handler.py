"""The processes of a handler: started, followed, replaced, stopped."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import handler_workers
import pytest
from handler_stage import Stage, pids, processes, staged, temporary_in
from waiting import end_of, wait_for

from conductor_grpc import DrainReport, JournalError, PollerError, Task, TaskStatus, WorkerDefinitionError
from conductor_grpc.handler import child
from conductor_grpc.handler import seat as seat_module
from conductor_grpc.handler.folders import HandlerFolders
from conductor_grpc.poller.journal import Journal
from conductor_grpc.poller.spawned import ChildEnded, SpawnedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


def ended(pid: int) -> bool:
    try:
        with end_of(pid) as end:
            return bool(end.poll(0))
    except ProcessLookupError:
        return True


@pytest.mark.bug("D8")
@pytest.mark.feature("conductor-python: handler of processes")
@pytest.mark.feature("conductor-python: start, join, stop, context manager")
def test_each_worker_has_processes_of_its_own_and_none_is_left(stage: Stage) -> None:
    """conductor-python's D8: after `stop_processes()` nothing runs on."""
    stage.register("pid")
    stage.register("crash")
    with stage.handler([handler_workers.pid, handler_workers.crash], processes={"pid": 2}) as handler:
        handler.start_processes()
        handler.start_processes()
        names = [each.name for each in processes(handler)]
        assert names == ["pid-0", "pid-1", "crash-0"]
        assert handler.health().healthy, handler.health().reasons
        running = pids(handler)
        assert len({os.getpid(), *running}) == 4
        ids = [stage.start("pid") for _ in range(10)]
        stage.wait_until_completed(*ids)
        assert {stage.task(each).output_data["result"] for each in ids} <= set(running)
    assert all(map(ended, running))
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("conductor-")]
    assert handler.health().state == "stopped"
    report = handler.stop_processes()
    assert report == handler.stop_processes(0)
    assert (report.exit_code, report.restarts, len(report.processes)) == (0, 0, 3)


@pytest.mark.bug("D1")
def test_a_stop_lets_running_tasks_end_and_sends_their_results(stage: Stage, tmp_path: Path) -> None:
    """conductor-python's D1: `stop_processes()` kills what runs."""
    stage.register("until")
    with stage.handler([handler_workers.Until("until", str(tmp_path))], processes=2) as handler:
        handler.start_processes()
        ids = [stage.start("until") for _ in range(3)]
        wait_for(lambda: len(list(tmp_path.glob("began-*"))) == 3)
        stopping = threading.Thread(target=handler.stop_processes)
        stopping.start()
        wait_for(lambda: all(each.state == "stopping" for each in processes(handler)))
        late = stage.start("until")
        (tmp_path / "go").touch()
        stopping.join(30)
        assert not stopping.is_alive()
    assert stage.completed(ids)
    assert stage.waits_to_be_polled(late), "no task is taken once the stop has begun"
    report = handler.stop_processes()
    assert (report.drain.done, report.drain.cancelled, report.drain.unsent, report.exit_code) == (3, 0, 0, 0)


def test_one_deadline_for_all_processes(stage: Stage, tmp_path: Path) -> None:
    stage.register("until")
    with stage.handler([handler_workers.Until("until", str(tmp_path))], processes=3) as handler:
        handler.start_processes()
        ids = [stage.start("until") for _ in range(6)]
        wait_for(lambda: len(list(tmp_path.glob("began-*"))) == 6)
        began = time.monotonic()
        report = handler.stop_processes(1.0)
        took = time.monotonic() - began
    assert report.drain == DrainReport(cancelled=6)
    assert took < 3 * 1.0 + 5, "one after the other"
    assert all(map(stage.waits_to_be_polled, ids)), "handed back, for another handler"


def test_a_second_stop_moves_the_deadline_up(stage: Stage, tmp_path: Path) -> None:
    stage.register("until")
    with stage.handler([handler_workers.Until("until", str(tmp_path))], changes={"drain_timeout": 600.0}) as handler:
        handler.start_processes()
        stage.start("until")
        wait_for(lambda: len(list(tmp_path.glob("began-*"))) == 1)
        stopping = threading.Thread(target=handler.stop_processes)
        stopping.start()
        wait_for(lambda: processes(handler)[0].state == "stopping")
        assert handler.stop_processes(0.2).drain == DrainReport(cancelled=1)
        stopping.join(30)


@pytest.mark.bug("Hatchet: dead worker, living listener")
@pytest.mark.feature("conductor-python: supervision")
def test_a_killed_process_is_followed_by_another_that_takes_care_of_its_tasks(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage.register("until")
    with stage.handler([handler_workers.Until("until", str(tmp_path))]) as handler:
        handler.start_processes()
        (killed,) = pids(handler)
        ids = [stage.start("until") for _ in range(2)]
        wait_for(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        os.kill(killed, signal.SIGKILL)
        (tmp_path / "go").touch()
        stage.wait_until_completed(*ids)
        (successor,) = processes(handler)
        assert (successor.state, successor.restarts) == ("running", 1)
        assert {int(path.read_text()) for path in tmp_path.glob("began-*")} == {successor.pid} != {killed}
        report = handler.stop_processes()
    assert successor.last_ending is not None
    assert "was killed by SIGKILL" in successor.last_ending
    (told,) = [record for record in caplog.records if "although nobody has stopped it" in record.getMessage()]
    assert told.levelno == logging.ERROR
    assert (report.exit_code, report.restarts) == (0, 1)
    assert "started again once" in str(report)


def pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    texts = (record.getMessage() for record in caplog.records if record.name == seat_module.__name__)
    return [float(found[1]) for text in texts if (found := re.search(r"the next one starts in ([\d.]+) s", text))]


def test_pauses_grow_until_a_process_has_lived_well(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seat_module, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(seat_module, "LONGEST_PAUSE", 0.4)
    monkeypatch.setattr(seat_module.random, "uniform", lambda low, high: low and high)
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()

        def kill() -> None:
            before = processes(handler)[0].restarts
            os.kill(pids(handler)[0], signal.SIGKILL)
            wait_for(lambda: processes(handler)[0].restarts > before and processes(handler)[0].state == "running")

        for _ in range(4):
            kill()
        monkeypatch.setattr(seat_module, "STABLE_AFTER", 0.0)
        kill()
    assert pauses(caplog) == [0.1, 0.2, 0.4, 0.4, 0.1]


def test_a_worker_that_cannot_be_loaded_is_an_error_before_any_task_is_taken(stage: Stage, tmp_path: Path) -> None:
    stage.register("until")
    waiting = stage.start("until")
    workers = [handler_workers.Until("until", str(tmp_path)), handler_workers.Broken(tmp_path)]
    with (
        pytest.raises(WorkerDefinitionError, match=r"'broken-0' cannot begin: it cannot be loaded.*no such library"),
        stage.handler(workers) as handler,
    ):
        handler.start_processes()
    assert handler.health().state == "stopped"
    assert stage.waits_to_be_polled(waiting)
    assert not any(tmp_path.glob("began-*")), "it was polled, and handed back"


def test_a_process_that_dies_before_it_is_ready_is_an_error(stage: Stage) -> None:
    said = r"'dying-0' cannot begin: the process \d+ .*ended with exit code 7.*stderr says more.*__main__"
    with pytest.raises(PollerError, match=said), stage.handler([handler_workers.DyingEarly()]) as handler:
        handler.start_processes()


def test_a_process_that_cannot_be_started_again_ends_the_handler_loudly(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seat_module, "FIRST_PAUSE", 0.01)
    stage.register("pid")
    workers = [handler_workers.DyingEarly(str(tmp_path / "first")), handler_workers.pid]
    with stage.handler(workers) as handler:
        handler.start_processes()
        os.kill(pids(handler)[0], signal.SIGKILL)
        with ThreadPoolExecutor() as pool:
            error = pool.submit(handler.join_processes).exception(timeout=60)
        assert isinstance(error, PollerError)
        assert re.search("'dying-0' cannot begin: .*exit code 7", str(error))
    report = handler.stop_processes()
    assert (report.exit_code, report.processes[1].drain) == (1, DrainReport())
    assert len(pauses(caplog)) == seat_module.STARTS
    (told,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert f"{seat_module.STARTS} starts in a row have come to nothing" in told.getMessage()
    assert handler.health().failure is not None


def test_a_process_that_stands_still_is_not_ready(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conductor_grpc.handler.health.SILENT_AFTER", 2.0)
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()
        (pid,) = pids(handler)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_for(lambda: not handler.health().healthy)
            (reason,) = handler.health().reasons
            assert re.match(rf"process pid-0 \({pid}\) hangs: not a word of it for \d+ s", reason)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: handler.health().healthy)


def test_a_process_that_does_not_end_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat_module, "KILL_GRACE", 0.5)
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()
        os.kill(pids(handler)[0], signal.SIGSTOP)
        report = handler.stop_processes(0)
    assert report.exit_code == 1
    assert "pid-0: it was killed by SIGKILL" in str(report)


def test_a_process_whose_poller_has_died_is_replaced_though_a_thread_holds_it_up(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seat_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(seat_module, "END_GRACE", 0.2)
    with stage.handler([handler_workers.Lingering(str(tmp_path / "first"))]) as handler:
        handler.start_processes()
        wait_for(lambda: processes(handler)[0].restarts == 1 and processes(handler)[0].state == "running")
    assert "has not ended 0 s after its poller and is killed" in caplog.text
    assert "SIGKILL (killed), conductor-intake-lingering died: RuntimeError: a mistake" in caplog.text


class ScriptedProcess:
    """A process that is loaded and waits for others, for longer than a start may take."""

    def __init__(self, seat: seat_module.Seat, clock: list[float]) -> None:
        self._seat, self._clock = seat, clock
        self._steps = iter([self._loaded, self._others_are_loaded, self._takes_a_while, self._ready])
        self.killed = False

    def receive(self, _timeout: float | None) -> tuple[str, ...] | None:
        for step in self._steps:
            return step()
        raise ChildEnded("ended")

    def _loaded(self) -> tuple[str, ...]:
        return (child.LOADED,)

    def _others_are_loaded(self) -> None:
        self._clock[0] += seat_module.START_TIMEOUT - 1
        self._seat.go()

    def _takes_a_while(self) -> None:
        self._clock[0] += seat_module.START_TIMEOUT - 1

    def _ready(self) -> tuple[str, ...]:
        return (child.READY,)

    def send(self, *message: object) -> None: ...

    def kill(self) -> None:
        self.killed = True


def test_waiting_for_the_others_does_not_count_as_time_of_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(seat_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    seat = seat_module.Seat("work-0", "work", None, tmp_path, 0.1, lambda *_: None)  # type: ignore[arg-type]
    process = ScriptedProcess(seat, clock)
    with pytest.raises(ChildEnded):
        seat._follow(process)  # type: ignore[arg-type]
    assert not process.killed
    assert seat.ready.is_set()


def test_a_process_that_cannot_be_followed_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptors(*_: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "eventfd", no_descriptors)
    resource_tracker.ensure_running()  # which the first one starts
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="too many open files"):
        SpawnedProcess(print, None, "sleeper", "a sleeper")
    assert multiprocessing.active_children() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_an_orphan_without_stderr_ends_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "stderr", None)
    child.Child(None, None)._end_orphan(DrainReport())  # type: ignore[arg-type]
    assert codes == [1]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_stops_nothing(stage: Stage) -> None:
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()
        journal = handler._seats[0].journal
        forked = os.fork()
        if not forked:
            report = handler.stop_processes()  # as at the exit of a program
            os._exit(0 if report.processes == () else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        assert journal.is_dir()
        assert handler.health().state == "running"


def test_a_stop_during_the_start_is_no_word_of_polling(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with stage.handler([handler_workers.Slow("slow", str(tmp_path))]) as handler:
        starting = threading.Thread(target=handler.start_processes)
        starting.start()
        wait_for(lambda: any(tmp_path.glob("loading-*")))
        handler.stop_processes()
        starting.join(30)
        assert not starting.is_alive()
        assert handler.join_processes().exit_code == 0
    assert "polling" not in caplog.text


def test_what_was_changed_at_a_worker_reaches_its_process(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_workers.pid, "concurrency", 7)
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()
        wait_for(lambda: processes(handler)[0].poller is not None)
        poller = processes(handler)[0].poller
    assert poller is not None
    assert poller.workers[0].concurrency == 7


def test_two_handlers_do_not_share_a_journal(stage: Stage, tmp_path: Path) -> None:
    changes = {"journal": tmp_path / "journal"}
    with stage.handler([handler_workers.pid], changes=changes) as first:
        first.start_processes()
        second = stage.handler([handler_workers.pid], changes=changes)
        with pytest.raises(JournalError, match="in use by another poller of this process"):
            second.start_processes()
        assert first.health().healthy


def test_the_first_process_takes_over_what_an_earlier_handler_has_left(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    for number, folder in enumerate([journal, *(journal / str(number) for number in range(3))]):
        opened = Journal.open(folder, lambda *_: pytest.fail("died"))
        opened.worker(f"id {number}", "type", None)
        opened.finished(_task(number), b"result")
        opened.close()
    busy = Journal.open(journal / "0", lambda *_: pytest.fail("died"))
    again = HandlerFolders(journal)
    assert again.open(2) == [journal / "1", journal / "2"]
    busy.close()
    assert again.close([journal / "0", journal / "1", journal / "2"]) == [1, 3, 0]


def _task(number: int) -> Task:
    return Task(task_id=str(number), poll_count=1)


def test_a_temporary_journal_is_kept_only_for_what_it_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with temporary_in(tmp_path):
        empty = HandlerFolders(None)
        folder = empty.temporary
        assert empty.close(empty.open(2)) == [0, 0]
        assert not folder.exists()
        full = HandlerFolders(None)
        journals = full.open(1)
        opened = Journal.open(journals[0], lambda *_: pytest.fail("died"))
        opened.claimed([_task(1)])
        opened.close()
        assert full.close(journals) == [1]
        assert journals[0].exists()
    assert f"Configuration(journal='{journals[0].parent}')" in caplog.text


def test_forwarded_logs_carry_the_name_of_the_process(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with stage.handler([handler_workers.pid]) as handler:
        handler.start_processes()
    said = [record for record in caplog.records if record.processName == "pid-0"]
    assert any("polling" in record.getMessage() for record in said)


def test_a_task_that_kills_its_process_each_time_fails_in_the_end(stage: Stage) -> None:
    stage.register("crash")
    with stage.handler([handler_workers.crash]) as handler:
        handler.start_processes()
        deadly = stage.start("crash", 3)
        wait_for(lambda: stage.task(deadly).status is TaskStatus.FAILED, 60)
        assert stage.task(deadly).reason_for_incompletion.startswith("3 processes in a row died while they had this")
        assert stage.task(deadly).poll_count == 3
        wait_for(lambda: processes(handler)[0].state == "running")
    assert handler.stop_processes().restarts == 3
