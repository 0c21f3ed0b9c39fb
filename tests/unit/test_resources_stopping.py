"""Resources, and the processes that have them, when a poller stops: nothing may hang it, and nothing be lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import surrounded_workers as workers
from executor_bench import Bench
from waiting import wait_for

from conductor_grpc import Configuration, ResourceError, Task, TaskPoller
from conductor_grpc.poller.slots import ProcessRunner, Run
from conductor_grpc.poller.slots.child import Child
from conductor_grpc.worker.child_process import ChildSettings
from conductor_grpc.worker.context import Cancellation, TaskContext
from conductor_grpc.worker.pickles import pickled, pickled_resources
from conductor_grpc.worker.task import without_payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv(workers.LEDGER, str(path))
    return path


def a_run() -> Run:
    task = Task(task_id="a", workflow_instance_id="w", input_data={"value": "ran"})
    return Run(TaskContext(task, stopping=Cancellation()), without_payload(task))


class Hanging:
    """A resource that does not open before `released`."""

    def __init__(self) -> None:
        self.opening, self.released = threading.Event(), threading.Event()

    def open(self) -> Iterator[int]:
        self.opening.set()
        assert self.released.wait(60)
        yield 1


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.released.set()
    wait_for(lambda: "conductor-resources" not in {each.name for each in threading.enumerate()})


def starting(poller: TaskPoller) -> tuple[threading.Thread, list[Exception]]:
    errors: list[Exception] = []

    def start() -> None:
        try:
            poller.start()
        except ResourceError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    return thread, errors


def test_stop_from_another_thread_does_not_wait_for_a_resource_that_does_not_open(hanging: Hanging) -> None:
    poller = TaskPoller([workers.plain], Configuration("", target="localhost:1"), resources={"it": hanging.open})
    thread, errors = starting(poller)
    assert hanging.opening.wait(20)
    stopping = threading.Thread(target=poller.stop, args=(0,))
    stopping.start()
    stopping.join(20)
    stopped = not stopping.is_alive()
    hanging.released.set()
    thread.join(60)
    stopping.join(60)
    assert stopped
    assert "the poller was stopped while resource 'it' was being opened" in str(errors[0])


def test_once_the_poller_has_stopped_no_further_resource_is_opened(hanging: Hanging) -> None:
    opened: list[str] = []

    def plain() -> Iterator[int]:
        opened.append("plain")
        yield 1

    async def on_the_loop() -> AsyncIterator[int]:
        opened.append("async")
        yield 1

    poller = TaskPoller(
        [workers.plain],
        Configuration("", target="localhost:1"),
        resources={"it": hanging.open, "plain": plain, "on_the_loop": on_the_loop},
    )
    thread, errors = starting(poller)
    assert hanging.opening.wait(20)
    poller._request_stop()
    thread.join(60)
    assert errors
    hanging.released.set()
    wait_for(lambda: not [each.name for each in threading.enumerate() if each.name.startswith("conductor")])
    assert not opened


def test_a_third_signal_ends_the_wait_for_a_resource_that_hangs_when_it_is_closed() -> None:
    closing, released = threading.Event(), threading.Event()

    def hangs() -> Iterator[int]:
        yield 1
        closing.set()
        released.wait(60)

    with Bench(workers.plain, resources={"it": hangs}, drain_timeout=60.0) as bench:
        reports: list[Any] = []
        stopping = threading.Thread(target=lambda: reports.append(bench.poller.stop()))
        stopping.start()
        assert closing.wait(20)
        for _ in range(3):
            bench.poller._on_signal(15, None)
        stopping.join(20)
        stopped = not stopping.is_alive()
        released.set()
        stopping.join()
    assert stopped
    assert "resource 'it' was not closed within" in reports[0].close_errors[0]


def test_what_a_process_could_not_close_is_heard_though_another_one_has_used_up_the_time(ledger: Path) -> None:
    assert ledger
    resources = pickled_resources({"it": workers.stuck_open}, workers.limited_process)
    child = Child("a", ChildSettings(pickled(workers.limited_process), "me", "error", {}, resources=resources))
    try:
        child.wait_ready()
        child.end()
        assert child.wait(20)
        (error,) = child.last_words(lambda: 0.0)
    finally:
        child.kill()
        child.close()
    assert error.endswith("resource 'it' could not be closed: OSError: it does not close")


def test_a_task_cancelled_while_its_process_gets_ready_is_not_begun(ledger: Path) -> None:
    runner = ProcessRunner(workers.limited_process, "me", "error", None, (), {"it": workers.slow_open})
    run, outcomes = a_run(), []
    thread = threading.Thread(target=lambda: outcomes.append(runner(run)))
    try:
        thread.start()
        wait_for(lambda: "opening" in ledger.read_text(), 60)
        run.cancelled.set("no longer wanted")
        ledger.with_name("go").touch()
        thread.join(60)
        assert outcomes == [None]
    finally:
        runner.close(lambda: 20.0)
    assert ledger.read_text().split() == ["opening", "closed"]


def test_only_one_thread_at_a_time_listens_to_a_process(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one of them would wait without end for a message that the other has read."""
    listening: set[int] = set()
    receive = Child.receive

    def received(child: Child, timeout: float | None) -> Any:
        listening.add(threading.get_ident())
        return receive(child, timeout)

    monkeypatch.setattr(Child, "receive", received)
    runner = ProcessRunner(workers.limited_process, "me", "error", None, (), {"it": workers.slow_open})
    outcomes: list[object] = []
    thread = threading.Thread(target=lambda: outcomes.append(runner(a_run())))
    try:
        thread.start()
        wait_for(lambda: "opening" in ledger.read_text(), 60)
        slot = thread.ident
        end = time.monotonic() + 0.3
        runner.close(lambda: end - time.monotonic())
        thread.join(20)
        assert outcomes == [None]
    finally:
        runner.kill()
    assert listening == {slot}
    assert ledger.read_text().split() == ["opening"]


def test_processes_that_have_died_are_not_kept_in_memory() -> None:
    runner = ProcessRunner(workers.limited_process, "me", "error", None)
    run = a_run()
    try:
        for _ in range(2):
            runner(run)
            (child,) = runner._children
            child.kill()
            assert child.wait(20)
        assert len(run.context.stopping._callbacks) <= 1
    finally:
        runner.close(lambda: 20.0)
