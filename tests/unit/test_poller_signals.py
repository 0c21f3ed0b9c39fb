"""What the second and the third signal do to a poller that is stopping."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, DrainReport, Task, TaskPoller, worker_task
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.poller import stop_request
from conductor_grpc.poller.drain import Deadline
from conductor_grpc.poller.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DRAIN_TIMEOUT = 600.0


class Stage:
    """A server, and a poller whose one task runs until it is released."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.running, self.release = threading.Event(), threading.Event()

        @worker_task("work")
        def stuck(task: Task) -> dict[str, str]:
            self.running.set()
            self.release.wait(60)
            return {"ran": task.task_id}

        self.worker = stuck
        self.poller = self.poller_with()

    def poller_with(self, **settings: Any) -> TaskPoller:
        configuration = Configuration("", target=self.server.target, poll_wait_ms=50)
        self.poller = TaskPoller([self.worker], configuration.with_changes(drain_timeout=DRAIN_TIMEOUT, **settings))
        return self.poller

    def run(self, then: Callable[[], None]) -> DrainReport:
        """Run the poller until `then`, which begins when the task runs, has ended it."""
        self.server.add(a_task("a"))

        def begin() -> None:
            assert self.running.wait(30)
            then()

        helper = threading.Thread(target=begin)
        helper.start()
        report = self.poller.run()
        helper.join()
        return report

    def signal(self) -> None:
        """Send one, and wait until it is handled."""
        before = self.poller._stop_request.signals
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: self.poller._stop_request.signals > before)

    def begin_to_stop(self) -> None:
        self.signal()
        wait_for(lambda: self.poller._deadline is not None)

    @property
    def remaining(self) -> float:
        assert self.poller._deadline is not None
        return self.poller._deadline.remaining()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ScriptedServer() as server:
        stage = Stage(server)
        yield stage
        stage.release.set()


def test_a_task_that_ends_soon_after_the_second_signal_is_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_request, "HURRY_GRACE", 60.0)

    def twice() -> None:
        stage.begin_to_stop()
        stage.signal()
        assert 0 < stage.remaining <= 60
        time.sleep(0.5)  # a drain that is over at once would have handed it back by now
        stage.release.set()

    assert stage.run(twice) == DrainReport(done=1)
    assert [result.status for result in stage.server.updates] == [TaskResult.COMPLETED]


def test_a_task_that_does_not_end_after_the_second_signal_is_handed_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stop_request, "HURRY_GRACE", 0.2)
    stage.poller_with(journal=tmp_path)

    def twice() -> None:
        stage.begin_to_stop()
        stage.signal()

    assert stage.run(twice) == DrainReport(cancelled=1)
    assert [result.status for result in stage.server.updates] == [TaskResult.IN_PROGRESS]
    journal = Journal.open(tmp_path, lambda *_: None)
    left = journal.recover()
    journal.close()
    assert (list(left.claims), list(left.outcomes)) == ([], [])


def test_a_result_that_cannot_be_sent_after_the_second_signal_is_in_the_journal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stop_request, "HURRY_GRACE", 1.0)
    stage.poller_with(journal=tmp_path)

    def refuse(_result: TaskResult, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    stage.server.update = refuse

    def twice() -> None:
        stage.begin_to_stop()
        stage.signal()
        stage.release.set()

    assert stage.run(twice) == DrainReport(unsent=1)
    journal = Journal.open(tmp_path, lambda *_: None)
    left = journal.recover()
    journal.close()
    assert len(left.outcomes) == 1


def test_a_third_signal_hands_back_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_request, "HURRY_GRACE", 60.0)

    def thrice() -> None:
        stage.begin_to_stop()
        stage.signal()
        assert stage.remaining > 0
        stage.signal()
        assert stage.remaining == 0

    assert stage.run(thrice) == DrainReport(cancelled=1)


@pytest.mark.parametrize(("signals", "least", "most"), [(1, 60, DRAIN_TIMEOUT), (2, 0.001, 60), (3, 0, 0)])
def test_signals_before_the_drain_begins_count_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, signals: int, least: float, most: float
) -> None:
    monkeypatch.setattr(stop_request, "HURRY_GRACE", 60.0)
    start, seen = stage.poller.start, []

    def start_and_signal() -> None:
        start()
        assert stage.running.wait(30)
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(stage.poller, "start", start_and_signal)

    def release() -> None:
        wait_for(lambda: stage.poller._deadline is not None and stage.poller._stop_request.signals == signals)
        try:
            wait_for(lambda: stage.remaining <= most, 10)
            seen.append(stage.remaining)
            if signals > 2:  # released now, the task might end before the drain has seen that its time is over
                wait_for(stage.poller._ended.is_set)
        finally:
            stage.release.set()

    report = stage.run(release)
    assert least <= seen[0] <= most
    assert report == (DrainReport(cancelled=1) if signals > 2 else DrainReport(done=1))


def test_a_deadline_never_moves_back() -> None:
    deadline = Deadline(1.0)
    deadline.shorten(100.0)
    assert deadline.remaining() <= 1.0
    deadline.shorten(0.5)
    assert 0 < deadline.remaining() <= 0.5
    deadline.cut()
    deadline.shorten(100.0)
    assert deadline.remaining() == 0
