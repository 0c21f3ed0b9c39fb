"""What a running task tells of its progress, and what stays of it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from context_workers import EXECUTORS, Telling, on_every_executor
from executor_bench import Bench
from waiting import wait_for

from conductor_grpc import (
    ClosedChannelError,
    PayloadEncodeError,
    Task,
    TaskResultStatus,
    TaskStatus,
    UnavailableError,
    WorkerDefinitionError,
    current_task,
    worker_task,
)
from conductor_grpc.pb.services.task_service_pb2 import AddLogRequest
from conductor_grpc.poller import progress
from conductor_grpc.poller.progress import ProgressLog
from conductor_grpc.testing import call_worker
from conductor_grpc.worker import TaskContext
from conductor_grpc.worker.progress import MAX_LINE_BYTES
from conductor_grpc.worker.result import MAX_UPDATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conductor_grpc.testing import WorkflowRun
    from conductor_grpc.worker.executor import Executor


class Server:
    """Takes lines, at the times that are noted. `held` stops it, `error` it answers with."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.held = threading.Event()
        self.held.set()
        self.error: Exception | None = None
        self.changed = threading.Condition()

    def __call__(self, request: bytes, timeout: float | None = None) -> bytes:
        assert timeout is not None
        message = AddLogRequest.FromString(request)
        with self.changed:
            self.lines.append((message.task_id, message.log))
            self.times.append(time.monotonic())
            self.changed.notify_all()
        assert self.held.wait(60)
        if self.error is not None:
            raise self.error
        return b""

    def wait_for(self, count: int) -> list[tuple[str, str]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.lines) >= count, 30), self.lines
            return list(self.lines)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def deaths() -> list[BaseException]:
    return []


@pytest.fixture
def sender(server: Server, deaths: list[BaseException], monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressLog]:
    monkeypatch.setattr(progress, "INTERVAL", 0.2)
    monkeypatch.setattr(progress, "LINES_PER_SECOND", 100)
    sender = ProgressLog(server, lambda _, error: deaths.append(error))
    yield sender
    server.held.set()
    sender.stop()
    assert sender.join(20)


def test_the_first_line_is_sent_at_once_and_of_the_next_ones_the_newest(
    sender: ProgressLog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 1.0)
    assert not sender.alive, "who says nothing has no thread for it"
    sender.put("a", "0")
    server.wait_for(1)
    for number in range(1, 50):
        sender.put("a", str(number))
    assert server.wait_for(2) == [("a", "0"), ("a", "49")]
    assert server.times[1] - server.times[0] >= 1.0


def test_lines_of_different_tasks_do_not_wait_for_each_others_interval(
    sender: ProgressLog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 600.0)
    for each in "abc":
        sender.put(each, each)
    assert server.wait_for(3) == [("a", "a"), ("b", "b"), ("c", "c")]


def test_no_more_than_so_many_lines_a_second(
    sender: ProgressLog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINES_PER_SECOND", 20)
    for number in range(5):
        sender.put(str(number), "x")
    server.wait_for(5)
    assert server.times[4] - server.times[0] >= 4 / 20


def test_nobody_waits_for_a_server_that_does_not_answer(sender: ProgressLog, server: Server) -> None:
    server.held.clear()
    sender.put("a", "0")
    server.wait_for(1)
    for number in range(2 * progress.WAITING):
        sender.put(f"t{number}", "x")
    sender.put("t5000", "newest")
    assert len(sender._lines) == progress.WAITING
    assert list(sender._lines)[-1] == "t5000", "those that have waited longest are left out"
    server.held.set()


def test_errors_are_told_now_and_then_and_the_next_line_is_sent(
    sender: ProgressLog, server: Server, deaths: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "conductor_grpc")
    server.error = UnavailableError("it is down", code=grpc.StatusCode.UNAVAILABLE)
    for number in range(3):
        sender.put(str(number), "x")
    server.wait_for(3)
    server.error = None
    sender.put("after", "x")
    assert server.wait_for(4)[3] == ("after", "x")
    wait_for(lambda: caplog.text.count("is not shown") == 3)
    told = [record for record in caplog.records if "is not shown" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING, logging.DEBUG, logging.DEBUG]
    assert not deaths


def test_a_stop_waits_for_no_line_and_takes_no_more(sender: ProgressLog, server: Server) -> None:
    server.held.clear()
    sender.put("a", "0")
    server.wait_for(1)
    sender.put("b", "0")
    sender.stop()
    sender.put("c", "0")
    server.error = ClosedChannelError("closed")
    server.held.set()
    assert sender.join(20)
    assert server.lines == [("a", "0")]


def test_no_thread_for_it_is_no_reason_to_fail_a_task(
    sender: ProgressLog, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        sender.put("a", "0")
    assert "the progress of task a cannot be shown: can't start new thread" in caplog.text
    sender.put("b", "0")
    assert server.wait_for(2) == [("a", "0"), ("b", "0")]


def logs(bench: Bench, run: WorkflowRun) -> list[str]:
    return bench.client.run(run.workflow_id).task("it").logs


@pytest.mark.feature("Context of the task")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_shows_while_the_task_runs_and_is_no_part_of_its_output(executor: Executor, tmp_path: Path) -> None:
    (worker,) = on_every_executor(Telling, [executor])
    with Bench(worker) as bench:
        run = bench.start(worker, [str(tmp_path), ""])
        wait_for(lambda: logs(bench, run)[-1:] == ["two of three pages"], 60)
        assert logs(bench, run)[:-1] in ([], ['{"pages": 1}']), "the first may be taken over by the second"
        task = run.task("it").now()
        assert (task.status, task.poll_count, task.output_data) == (TaskStatus.IN_PROGRESS, 1, {})
        (tmp_path / "go").touch()
        assert run.assert_completed().output["it"] == "done"
        assert run.task("it").output == {"result": "done"}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_output_stays_when_the_task_fails(executor: Executor, tmp_path: Path) -> None:
    (worker,) = on_every_executor(Telling, [executor])
    (tmp_path / "go").touch()
    with Bench(worker) as bench:
        assert bench.reason(worker, [str(tmp_path), "raise"]) == "ValueError: no more paper"
        (task,) = bench.client.start(executor, {"value": [str(tmp_path), "raise"]}).assert_failed().tasks
        assert task.output_data == {"pages": 2, "of": 3}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_output_stays_when_the_task_comes_back_later(executor: Executor, tmp_path: Path) -> None:
    (worker,) = on_every_executor(Telling, [executor])
    (tmp_path / "go").touch()
    with Bench(worker) as bench:
        run = bench.start(worker, [str(tmp_path), "later"])
        wait_for(lambda: run.task("it").now().callback_after_seconds == 600)
        task = run.task("it").now()
        assert (task.status, task.output_data) == (TaskStatus.SCHEDULED, {"pages": 2, "of": 3})


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_output_stays_when_the_task_is_handed_back(executor: Executor, tmp_path: Path) -> None:
    (worker,) = on_every_executor(Telling, [executor])
    with Bench(worker, drain_timeout=0.0) as bench:
        run = bench.start(worker, [str(tmp_path), ""])
        wait_for((tmp_path / f"told-{executor}").exists, 60)
        assert bench.poller.stop().cancelled == 1
        task = run.task("it").now()
        assert (task.status, task.output_data) == (TaskStatus.SCHEDULED, {"pages": 2, "of": 3})


def test_its_output_stays_when_the_process_of_the_task_dies(tmp_path: Path) -> None:
    (worker,) = on_every_executor(Telling, ["process"])
    (tmp_path / "go").touch()
    with Bench(worker) as bench:
        run = bench.start(worker, [str(tmp_path), "die"])
        run.assert_failed(timeout=60)
        assert run.task("it").output == {"pages": 2, "of": 3}


@dataclasses.dataclass
class Pages:
    done: int


@pytest.mark.parametrize(
    ("arguments", "lines", "output"),
    [
        ([{"a": 1}], ['{"a": 1}'], {"a": 1}),
        ([{"a": 1}, "words"], ["words"], {"a": 1}),
        ([None, "words"], ["words"], None),
        ([Pages(3)], ['{"done": 3}'], {"done": 3}),
        ([{"a": 2**60}], ['{"a": "1152921504606846976"}'], {"a": str(2**60)}),
        ([{"ä": "ö"}], ['{"ä": "ö"}'], {"ä": "ö"}),
        ([{}], ["{}"], {}),
    ],
)
def test_what_may_be_told(arguments: list[Any], lines: list[str], output: Any) -> None:
    told: list[str] = []
    context = TaskContext(Task(), report=told.append)
    context.progress(*arguments)
    assert (told, context.output) == (lines, output)


def test_words_alone_leave_the_output_as_it_is() -> None:
    context = TaskContext(Task())
    context.progress({"a": 1})
    context.progress(message="nearly there")
    assert context.output == {"a": 1}


def test_the_output_is_a_copy_as_of_the_moment() -> None:
    mine = {"a": [1]}
    context = TaskContext(Task())
    context.progress(mine)
    mine["a"].append(2)
    assert context.output == {"a": [1]}


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ([], WorkerDefinitionError, "got nothing to tell"),
        (["half"], WorkerDefinitionError, "got the output 'half', expected a dict or a dataclass: for words give mess"),
        ([{"a": [object()]}], PayloadEncodeError, r"progress\.a\[0\]"),
    ],
)
def test_what_may_not_be_told(arguments: list[Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        TaskContext(Task()).progress(*arguments)


def test_a_line_is_no_longer_than_it_may_be() -> None:
    told: list[str] = []
    TaskContext(Task(), report=told.append).progress({"a": "x" * 100_000})
    assert len(told[0]) < MAX_LINE_BYTES + 100


def test_an_output_that_cannot_be_sent_does_not_keep_a_failure_from_being_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @worker_task("work")
    def large() -> None:
        current_task().progress({"a": "x" * MAX_UPDATE_BYTES})
        raise ValueError("no")

    @worker_task("work")
    def spoilt() -> None:
        current_task().task.output_data = {"a": object()}  # type: ignore[dict-item]
        raise ValueError("no")

    for each, why in ((large, "the update would have 4,19"), (spoilt, "PayloadEncodeError: output.a")):
        caplog.clear()
        result = call_worker(each)
        assert (result.status, result.reason_for_incompletion) == (TaskResultStatus.FAILED, "ValueError: no")
        assert result.output_data == {}
        assert "fails without the output that it has so far: " + why in caplog.text


def test_an_output_that_cannot_be_sent_does_not_keep_a_task_from_being_handed_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @worker_task("work")
    def large() -> None:
        current_task().progress({"a": "x" * MAX_UPDATE_BYTES}, "much")
        begun.set()
        go_on.wait(20)

    with Bench(large, drain_timeout=0.0) as bench:
        run = bench.start(large)
        assert begun.wait(20)
        report = bench.poller.stop()
        go_on.set()
        assert (report.cancelled, report.unsent) == (1, 0)
        assert run.task("it").now().status is TaskStatus.SCHEDULED
    assert "back without the output that it has so far: the update would have 4,19" in caplog.text


def test_a_failed_task_keeps_what_its_earlier_turn_has_left() -> None:
    @worker_task("work")
    def work() -> None:
        raise ValueError("no")

    assert call_worker(work, output_data={"job": 7}).output_data == {"job": 7}
