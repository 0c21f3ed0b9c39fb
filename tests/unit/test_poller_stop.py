"""Starting and stopping at the worst moments."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, DrainReport, Task, TaskPoller, worker_task
from conductor_grpc.errors import PollerError
from conductor_grpc.pb.model import taskresult_pb2, tasksummary_pb2
from conductor_grpc.poller import intake as intake_module
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller.intake import Intake
from conductor_grpc.poller.journal import Journal
from conductor_grpc.poller.lease import LeaseKeeper
from conductor_grpc.poller.outbox_updates import hand_back
from conductor_grpc.poller.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path


@worker_task("work", concurrency=4)
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


def stuck_with(change: Any) -> tuple[Any, threading.Event, threading.Event]:
    running, release = threading.Event(), threading.Event()

    @worker_task("work")
    def stuck(task: Task) -> None:
        change(task)
        running.set()
        release.wait(60)

    return stuck, running, release


@pytest.mark.parametrize(
    "change",
    [lambda task: task.output_data.update(x=object()), lambda task: task.output_data.update(subWorkflowId=7)],
    ids=["the worker put an object there", "subWorkflowId is a number"],
)
def test_the_drain_survives_a_task_that_cannot_be_handed_back(change: Any) -> None:
    stuck, running, release = stuck_with(change)
    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = TaskPoller([stuck], Configuration("", target=server.target, poll_wait_ms=100))
        poller.start()
        assert running.wait(20)
        try:
            report = poller.stop(timeout=1)
        finally:
            release.set()
        assert report == DrainReport(cancelled=1)


def test_a_rest_task_with_a_numeric_sub_workflow_id_can_be_handed_back() -> None:
    hand_back(Task.from_json({"taskId": "a", "workflowInstanceId": "w", "outputData": {"subWorkflowId": 7}}))


@pytest.mark.bug("Java: rejected task")
def test_a_thread_that_cannot_be_started_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, release = threading.Event(), threading.Event()

    @worker_task("work", concurrency=4)
    def slow(_task: Task) -> None:
        first.set()
        release.wait(30)

    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith("work-") and self.name != "work-0":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with ScriptedServer() as server:
        server.add(*(a_task(str(n)) for n in range(3)))
        poller = TaskPoller([slow], Configuration("", target=server.target, poll_wait_ms=100))
        poller.start()
        assert first.wait(20)
        time.sleep(0.5)
        release.set()
        try:
            wait_for(lambda: len(server.updates) >= 3, 10)  # with fewer threads, but run
        finally:
            report = poller.stop(5)
        assert report.unsent == 0


def test_a_poll_that_outlasts_the_deadline_is_no_death(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def long(_request: Any, _context: grpc.ServicerContext) -> Any:
        release.wait(20)
        yield from ()

    with ScriptedServer() as server:
        server.poll = long
        poller = TaskPoller([work], Configuration("", target=server.target))
        poller.start()
        server.wait_for_polls(1)
        poller.stop(timeout=0.2)
        poller._parts.lanes[0].intake.join(10)
        time.sleep(0.2)
        release.set()
        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
        assert poller.join(0)  # raises PollerError if the end was taken for a death


SIGNALLED = """
import os, signal, sys, threading, faulthandler
from conductor_grpc import Configuration, TaskPoller, worker_task
@worker_task("work")
def work(): pass
poller = TaskPoller([work], Configuration("", target="127.0.0.1:9", poll_wait_ms=100, drain_timeout=1))
faulthandler.dump_traceback_later(15, exit=True)
# SIGTERM lands while the main thread is inside the lock of Event.wait, as at the moment run() begins to wait.
def inside(frame, event, argument):
    if frame.f_code is threading.Event.wait.__code__ and event == "line" and frame.f_locals["self"]._cond._is_owned():
        sys.settrace(None)
        frame.f_trace = None
        os.kill(os.getpid(), signal.SIGTERM)
    return inside
# Where nothing waits so, the signal comes a little later.
threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
original = poller.start
def start():
    original()
    sys.settrace(inside)
poller.start = start
print(poller.run())
"""


def test_a_signal_at_the_moment_run_begins_to_wait() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-1500:]


def test_a_pause_before_the_start_holds() -> None:
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        poller.pause("work")
        with poller:
            time.sleep(0.5)
            assert server.polls == []
            assert poller.health().workers[0].paused


def test_a_paused_worker_still_looks_for_what_its_last_poll_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.3)
    polled, go = threading.Event(), threading.Event()
    stranded: dict[str, Any] = {}

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        stranded["a"] = a_task("a", worker_id=request.worker_id)
        polled.set()
        go.wait(10)
        context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        yield

    with ScriptedServer() as server:
        server.poll = poll
        server.get = stranded.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id=t) for t in stranded]
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)) as poller:
            assert polled.wait(10)
            poller.pause("work")
            go.set()
            server.wait_for_updates(1, 5)


def test_a_result_on_its_way_at_the_deadline_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        delivering, go = threading.Event(), threading.Event()
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        deliver = poller._parts.deliver

        def late(*arguments: Any) -> None:
            delivering.set()
            go.wait(20)
            deliver(*arguments)

        monkeypatch.setattr(poller._parts, "deliver", late)
        poller.start()
        server.add(a_task("a"))
        assert delivering.wait(10)
        threading.Timer(0.8, go.set).start()
        report = poller.stop(timeout=0.3)
        wait_for(lambda: (go.is_set() and len(poller._parts.outbox) == 0) or len(poller._parts.outbox) == 1, 5)
        assert report.done + report.unsent + report.cancelled == 1, report


def test_the_token_that_tells_processes_apart_is_long_enough() -> None:
    poller = TaskPoller([work], Configuration("", target="127.0.0.1:9", worker_id="orders"))
    poller._parts.assemble()
    token = poller._parts.lanes[0].intake.worker_id.rpartition("/")[2]
    poller._parts.resources.close()
    assert len(token) >= 9, f"{token}: 16 bits; of 100 processes two share one with a chance of 7 %"


def test_a_start_that_failed_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        start = threading.Thread.start
        failed: list[int] = []

        def refuse(self: threading.Thread) -> None:
            if self.name.startswith("conductor-intake") and not failed:
                failed.append(1)
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            poller.start()
        with pytest.raises(PollerError, match="make a new one"):
            poller.start()
        assert poller.stop() == DrainReport()
        assert poller._parts.outbox.join(10)


def test_a_part_that_dies_while_a_failed_start_joins_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells of its death while the start, which waits for its end, has the poller's lock."""
    aborting = threading.Event()

    def dies(_journal: Journal) -> None:
        aborting.wait(20)
        raise RuntimeError("a bug in the journal")

    def no_threads(_intake: Intake) -> None:
        aborting.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Journal, "_run", dies)
    monkeypatch.setattr(Intake, "start", no_threads)
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target, journal=tmp_path))
        failed: list[str] = []

        def start() -> None:
            try:
                poller.start()
            except RuntimeError as error:
                failed.append(str(error))

        starting = threading.Thread(target=start, daemon=True)
        starting.start()
        starting.join(20)
        assert failed == ["can't start new thread"]
        with pytest.raises(PollerError, match="a bug in the journal"):
            poller.join(20)


def test_whatever_fails_in_the_end_of_a_failed_start_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_threads(_intake: Intake) -> None:
        raise RuntimeError("can't start new thread")

    def broken(_keeper: LeaseKeeper) -> None:
        raise ValueError("a bug in stop")

    monkeypatch.setattr(Intake, "start", no_threads)
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target))
        with monkeypatch.context() as patch:
            patch.setattr(LeaseKeeper, "stop", broken)
            with pytest.raises(ValueError, match="a bug in stop"):
                poller.start()
        assert poller._parts.outbox.join(20), "what comes after it is stopped all the same"
        assert poller.join(0)
        poller._parts.leases.stop()


def test_a_drain_that_dies_ends_everything_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_slots: Slots) -> None:
        raise RuntimeError("a bug in the drain")

    sent = threading.Event()

    def update(result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if result.task_id == "never":
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        sent.wait(20)

    with ScriptedServer() as server:
        server.update = update
        server.add(a_task("never"), a_task("later"))
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        poller.start()
        wait_for(lambda: server.attempts >= 2)
        monkeypatch.setattr(Slots, "take_back", broken)
        flush = poller._parts.outbox.flush
        monkeypatch.setattr(poller._parts.outbox, "flush", lambda seconds: sent.set() or flush(seconds))
        assert poller.stop() == DrainReport(done=1, unsent=1)
        assert poller._parts.outbox.join(20)
        assert poller._parts.leases.join(20)
        assert poller._parts.lanes[0].intake.join(20)
        with pytest.raises(PollerError, match="the drain died: RuntimeError: a bug in the drain"):
            poller.join(0)
    assert "the drain died" in caplog.text


def test_a_handler_that_python_does_not_know_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = signal.signal

    def foreign(number: int, handler: Any) -> Any:
        before = real(number, handler)
        return None if number == signal.SIGTERM and callable(handler) and "on_signal" in str(handler) else before

    monkeypatch.setattr(signal, "signal", foreign)
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        assert poller.run().unsent == 0


def test_a_dead_outbox_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no channel")

    monkeypatch.setattr(outbox_module, "open_aio_channel", broken)
    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50, drain_timeout=15))
        monkeypatch.setattr(poller, "_on_death", lambda *_: None)
        poller._parts.outbox._on_death = lambda *_: None
        poller.start()
        wait_for(lambda: poller.health().unsent == 1, 10)
        before = time.monotonic()
        report = poller.stop()
        assert report.unsent == 1
        assert time.monotonic() - before < 8


@pytest.mark.bug("Python: next task dropped at shutdown")
def test_a_drain_hands_back_what_waits_at_once_and_what_comes_late_when_it_comes() -> None:
    """One task is done before, one runs, two wait for the slot; another worker's poll is in flight and brings one."""
    running, release, late = threading.Event(), threading.Event(), threading.Event()

    @worker_task("busy", concurrency=1)
    def busy(task: Task) -> None:
        if task.task_id != "before":
            running.set()
            release.wait(60)

    @worker_task("slow poll")
    def slow_poll(task: Task) -> None:
        raise AssertionError(f"{task.task_id} was begun after the stop")

    def poll(request: Any, _context: grpc.ServicerContext) -> Any:
        if request.task_type == "slow poll":
            late.wait(60)
            yield a_task("late", "slow poll")
            return
        polls = sum(each.task_type == "busy" for each in server.polls)
        if polls == 1:
            yield a_task("before", "busy")
        elif polls == 2:
            for task_id in ("runs", "waits 1", "waits 2"):
                yield a_task(task_id, "busy")

    with ScriptedServer() as server:
        server.poll = poll
        poller = TaskPoller([busy, slow_poll], Configuration("", target=server.target, poll_wait_ms=50))
        poller.start()
        assert running.wait(20)
        server.wait_for_updates(1)
        wait_for(lambda: poller.health().unsent == 0)
        stopper = threading.Thread(target=poller.stop)
        stopper.start()
        waiting = server.wait_for_updates(3)[1:]
        assert {result.task_id for result in waiting} == {"waits 1", "waits 2"}, "although a poll is still in flight"
        late.set()
        (handed_back,) = server.wait_for_updates(4)[3:]
        assert handed_back.task_id == "late"
        assert {each.status for each in (*waiting, handed_back)} == {taskresult_pb2.TaskResult.IN_PROGRESS}
        release.set()
        stopper.join(30)
        assert poller.stop() == DrainReport(done=1, handed_back=3)
        assert len(poller._parts.custody) == 0


def test_what_a_last_poll_lost_is_looked_for_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll in flight breaks after the stop: its task is handed back, not left to its response timeout."""
    monkeypatch.setattr(intake_module, "SETTLING", 0.1)
    stopping = threading.Event()
    stranded: dict[str, Any] = {}

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        stranded["a"] = a_task("a", worker_id=request.worker_id)
        stopping.wait(30)
        context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        yield

    with ScriptedServer() as server:
        server.poll, server.get = poll, stranded.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in stranded]
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50))
        poller.start()
        server.wait_for_polls(1)
        stopper = threading.Thread(target=poller.stop)
        stopper.start()
        wait_for(lambda: "stopping" in poller.health().reasons)
        stopping.set()
        stopper.join(30)
        assert poller.stop() == DrainReport(handed_back=1)


def test_a_paused_poller_stops_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer() as server:
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50, drain_timeout=60))
        poller.start()
        server.wait_for_polls(1)
        poller.pause("work")
        wait_for(lambda: bool(poller._parts.lanes[0].intake._state._waiters))  # type: ignore[attr-defined]
        stopper = threading.Thread(target=poller.stop)
        stopper.start()
        stopper.join(20)
        assert not stopper.is_alive()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING], "a poll was given up"


def test_run_raises_what_a_part_died_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the planner")

    monkeypatch.setattr("conductor_grpc.poller.planner.next_poll", broken)
    with ScriptedServer() as server, pytest.raises(PollerError, match="a bug in the planner"):
        TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)).run()


@pytest.mark.feature("conductor-python: embedding in an application")
def test_run_drains_what_is_left_where_there_is_no_thread_to_stop_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of that parts die, too: the system has no more threads."""
    start = threading.Thread.start

    def out_of_threads(thread: threading.Thread) -> None:
        if thread.name.startswith(("work-", "conductor-shutdown")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", out_of_threads)

    @worker_task("work")
    def work() -> None: ...

    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = TaskPoller([work], Configuration(target=server.target, poll_wait_ms=50))
        too_late = threading.Timer(20, poller.stop)
        too_late.start()
        with pytest.raises(PollerError, match="can't start new thread"):
            poller.run()
        assert too_late.is_alive()
        too_late.cancel()
        assert [result.task_id for result in server.updates] == ["a"], "handed back"


def test_a_stop_from_elsewhere_is_not_cut_short_by_the_first_signal() -> None:
    """Only a second signal ends a drain; one that finds the poller stopping already is the first."""
    stuck, running, release = stuck_with(lambda _task: None)
    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = TaskPoller([stuck], Configuration("", target=server.target, poll_wait_ms=50, drain_timeout=60))

        def stop_and_signal() -> None:
            assert running.wait(30)
            threading.Thread(target=poller.stop).start()
            wait_for(lambda: "stopping" in poller.health().reasons)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: poller._stop_request.signals == 1)
            release.set()

        helper = threading.Thread(target=stop_and_signal)
        helper.start()
        report = poller.run()
        helper.join()
    assert report == DrainReport(done=1)
    assert poller._deadline is not None
    assert poller._deadline.remaining() > 5, "it was cut"


def test_a_signal_that_wakes_nobody_is_seen_while_somebody_else_drains() -> None:
    """As one does that comes while the main thread is on its way into the wait: another thread takes it."""
    stuck, running, release = stuck_with(lambda _task: None)
    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = TaskPoller([stuck], Configuration("", target=server.target, poll_wait_ms=50, drain_timeout=20))

        def stop_and_signal() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            try:
                assert running.wait(30)
                threading.Thread(target=poller.stop).start()
                wait_for(lambda: poller._deadline is not None)
                os.kill(os.getpid(), signal.SIGTERM)
                wait_for(lambda: poller._stop_request.signals == 1, 10)
            finally:
                release.set()

        helper = threading.Thread(target=stop_and_signal)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            helper.start()
            report = poller.run()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        helper.join()
    assert report == DrainReport(done=1)


def test_a_task_cannot_stop_the_poller_that_runs_it() -> None:
    """It would wait for its own end. On a thread of its own it can."""
    pollers: list[TaskPoller] = []
    refused: list[str] = []

    @worker_task("work")
    def last(task: Task) -> dict[str, str]:
        try:
            pollers[0].stop()
        except PollerError as error:
            refused.append(str(error))
        threading.Thread(target=pollers[0].stop).start()
        return {"ran": task.task_id}

    with ScriptedServer() as server:
        server.add(a_task("a"))
        pollers.append(TaskPoller([last], Configuration("", target=server.target, poll_wait_ms=50)))
        pollers[0].start()
        assert pollers[0].join(20)
        assert [result.status for result in server.updates] == [taskresult_pb2.TaskResult.COMPLETED]
    assert "stop() was called by a task that this poller runs" in refused[0]
