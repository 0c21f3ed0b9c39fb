"""Resources: opened before the first task, handed to workers, closed after the last; with the embedded server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import surrounded_workers as workers
from executor_bench import Bench
from waiting import wait_for

from conductor_grpc import (
    Configuration,
    Resource,
    ResourceError,
    TaskPoller,
    TaskResultStatus,
    WorkerDefinitionError,
    current_task,
    worker_task,
)
from conductor_grpc.testing import call_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from conductor_grpc.worker.resources import ResourceFactory

ALL: dict[str, ResourceFactory] = {
    "cache": workers.open_cache,
    "pool": workers.open_pool,
    "session": workers.open_session,
}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv(workers.LEDGER, str(path))
    return path


@pytest.mark.feature("Dependency injection")
def test_workers_get_them_and_they_are_opened_in_order_once_and_closed_in_reverse(ledger: Path) -> None:
    me = os.getpid()
    ask_class = workers.AskClass("class")
    with Bench(workers.ask, workers.ask_async, ask_class, resources=ALL) as bench:
        opened = [f"open {name} {me}" for name in ("cache", "pool", "session")]
        assert ledger.read_text().splitlines() == opened
        for value in (1, 2):
            assert bench.output(workers.ask, value) == f"pool {me} {value}"
            assert bench.output(workers.ask_async, value) == [f"pool {me} {value}", f"session {me} {value}"]
        assert bench.output(ask_class, "cache") == f"cache {me} ?"
        assert ledger.read_text().splitlines() == opened
        assert bench.poller.stop().close_errors == ()
    closed = [f"close {name} {me}" for name in ("session", "pool", "cache")]
    assert ledger.read_text().splitlines() == opened + closed


@pytest.mark.feature("Dependency injection")
def test_each_process_of_a_worker_has_its_own_and_the_poller_none(ledger: Path) -> None:
    resources: dict[str, ResourceFactory] = {"cache": workers.open_cache, "pool": workers.open_pool}
    with Bench(workers.ask_process, resources=resources) as bench:
        outputs = {str(bench.output(workers.ask_process, 1)) for _ in range(3)}
    pids = {output.split()[1] for output in outputs}
    assert str(os.getpid()) not in pids
    lines = ledger.read_text().splitlines()
    for pid in pids:
        assert [line.removesuffix(f" {pid}") for line in lines if line.endswith(pid)] == [
            "open cache",
            "open pool",
            "close pool",
            "close cache",
        ]
    assert not [line for line in lines if line.endswith(str(os.getpid()))]


def test_they_are_open_while_a_task_runs_and_closed_after_its_result_was_sent() -> None:
    begun, go_on = threading.Event(), threading.Event()
    sent: list[int] = []

    def open_pool() -> Iterator[workers.Pool]:
        pool = workers.Pool("pool")
        yield pool
        pool.is_open = False
        sent.append(bench.poller._parts.report.done)

    @worker_task("slow")
    def slow(value: object, pool: Resource[workers.Pool]) -> str:
        begun.set()
        go_on.wait(20)
        return pool.ask(value)

    with Bench(slow, resources={"pool": open_pool}) as bench:
        run = bench.start(slow, 7)
        assert begun.wait(20)
        stopping = threading.Thread(target=bench.poller.stop)
        stopping.start()
        wait_for(lambda: bench.slots(slow)._closed)
        assert not sent
        go_on.set()
        stopping.join()
        assert run.assert_completed().output["it"] == f"pool {os.getpid()} 7"
    assert sent == [1]


def test_one_that_cannot_be_opened_fails_the_start_and_the_others_are_closed(ledger: Path) -> None:
    resources: dict[str, ResourceFactory] = {"pool": workers.open_pool, "refused": workers.refused}
    poller = TaskPoller([workers.ask], Configuration("", target="localhost:1"), resources=resources)
    with pytest.raises(ResourceError, match=r"^resource 'refused' could not be opened: OSError: no route to host$"):
        poller.start()
    me = os.getpid()
    assert ledger.read_text().splitlines() == [f"open pool {me}", f"close pool {me}"]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("conductor")]


@pytest.mark.parametrize("kind", ["raises", "no manager", "a coroutine"])
def test_an_async_one_that_cannot_be_opened_fails_the_start(kind: str) -> None:
    @contextlib.asynccontextmanager
    async def fail() -> AsyncIterator[object]:
        yield open_there()

    def open_there() -> object:
        raise OSError("no route to host")

    async def coroutine() -> object:
        return 3

    resources: dict[str, Any] = {"raises": fail, "no manager": lambda: 3, "a coroutine": coroutine}
    poller = TaskPoller([workers.plain], Configuration("", target="localhost:1"), resources={"it": resources[kind]})
    with pytest.raises(
        ResourceError, match=r"'it' could not be opened: (OSError: no route|.*expected a context manag)"
    ):
        poller.start()


def test_in_a_process_it_fails_the_task_with_its_name(ledger: Path) -> None:
    resources: dict[str, ResourceFactory] = {"pool": workers.open_pool, "refused": workers.refused}
    with Bench(workers.ask_process, resources=resources) as bench:
        reason = bench.reason(workers.ask_process, 1)
    assert "resource 'refused' could not be opened: OSError: no route to host" in reason
    lines = ledger.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["open", "close"] * 3


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_one_that_cannot_be_closed_is_told_and_the_others_are_closed(
    executor: str, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker: Any = workers.ask if executor == "thread" else workers.ask_process
    resources: dict[str, ResourceFactory] = {"pool": workers.open_pool, "stuck": workers.stuck_open}
    with Bench(worker, resources=resources) as bench:
        bench.output(worker, 1)
        report = bench.poller.stop()
    (error,) = report.close_errors
    assert error.endswith("resource 'stuck' could not be closed: OSError: it does not close")
    assert error in str(report)
    assert "it does not close" in caplog.text
    assert "close pool" in ledger.read_text()


def test_one_that_hangs_when_it_is_closed_ends_with_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()

    def hanging() -> Iterator[int]:
        yield 1
        released.wait(60)

    async def hanging_async() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    began = time.monotonic()
    for factory in (hanging, hanging_async):
        with Bench(workers.coroutine, resources={"hanging": factory}, drain_timeout=0.0) as bench:
            assert bench.output(workers.coroutine, 1) == 1
            report = bench.poller.stop()
        assert "resource 'hanging' was not closed within 2.0 s" in report.close_errors[0]
        assert "'hanging' was not closed" in caplog.text
        caplog.clear()
    assert time.monotonic() - began < 30
    released.set()


def test_a_stop_ends_the_wait_for_one_that_hangs_when_it_is_opened() -> None:
    opening, released = threading.Event(), threading.Event()

    def hanging() -> Iterator[int]:
        opening.set()
        released.wait(60)
        yield 1

    poller = TaskPoller([workers.plain], Configuration("", target="localhost:1"), resources={"hanging": hanging})

    def stop() -> None:
        opening.wait(20)
        poller._request_stop()  # as a signal does

    threading.Thread(target=stop).start()
    with pytest.raises(ResourceError, match="the poller was stopped while resource 'hanging' was being opened"):
        poller.start()
    released.set()


def test_an_async_one_is_entered_and_left_by_one_asyncio_task_on_the_workers_loop() -> None:
    seen: list[Any] = []

    async def session() -> AsyncIterator[Any]:
        seen.append((asyncio.current_task(), asyncio.get_running_loop()))
        async with asyncio.timeout(None) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
            yield asyncio.get_running_loop()
        seen.append((asyncio.current_task(), asyncio.get_running_loop()))

    @worker_task("loop")
    async def loop(session: Resource[asyncio.AbstractEventLoop]) -> bool:
        return session is asyncio.get_running_loop()

    with Bench(loop, resources={"session": session}) as bench:
        assert bench.output(loop) is True
    assert seen[0] == seen[1]


class Session:
    """An async context manager that, as clients of many services, must be made where the event loop runs."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing."""


def test_an_async_class_is_made_on_the_event_loop() -> None:
    @worker_task("loop")
    async def loop(session: Resource[Session]) -> bool:
        return session.loop is asyncio.get_running_loop()

    with Bench(loop, resources={"session": Session}) as bench:
        assert bench.output(loop) is True


def test_an_async_one_that_ends_by_itself_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def session() -> AsyncIterator[int]:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        yield 1

    with Bench(workers.coroutine, resources={"session": session}):
        wait_for(lambda: "resource 'session' has ended while workers use it: it was cancelled" in caplog.text)


@worker_task("late_process", executor="process")
def late_process(value: str) -> None:
    current_task().resources[value]


@pytest.mark.usefixtures("ledger")
def test_asking_for_one_that_is_not_there_says_which_are() -> None:
    ask_class = workers.AskClass("class")
    with Bench(ask_class, late_process, resources={"session": workers.open_session}) as bench:
        reason = bench.reason(ask_class, "pool")
        assert "there is no resource 'pool', and there is 'session': give it to the poller" in reason
        reason = bench.reason(late_process, "session")
        assert "no resource 'session' here: it is async, and the process of a slot has no event loop for it" in reason


@worker_task("needs_session")
def needs_session(session: Resource[workers.Pool]) -> None:
    """Which is async."""


class NeedsPool(workers.AskClass):
    resource_names = ("pool",)


class NeedsText(workers.AskClass):
    resource_names = "pool"


@pytest.mark.parametrize(
    ("worker", "resources", "text"),
    [
        (workers.ask, None, "worker 'ask' needs the resource 'pool', and there is none at all: give it to the poller"),
        (workers.ask, {"pol": workers.open_pool}, "needs the resource 'pool', and there is 'pol'"),
        (NeedsPool("class"), {}, "worker 'class' needs the resource 'pool'"),
        (workers.ask, {"pool": workers.Pool("open already")}, "expected a function that opens it"),
        (workers.ask, {"the pool": workers.open_pool}, "a resource is named 'the pool', expected the name that"),
        (workers.ask, [workers.open_pool], "expected a dict, {'pool': open_pool}"),
        (NeedsText("class"), ALL, "worker 'class' has resource_names 'pool', expected a list: ('pool',)"),
        (needs_session, {"session": Session}, "needs the resource 'session', which is async and lives on the event"),
        (needs_session, ALL, "needs the resource 'session', which is async and lives on the event loop"),
        (workers.ask_process, {"pool": lambda: None}, "what opens the resource 'pool' cannot be sent to the processes"),
    ],
)
def test_resources_that_do_not_fit_are_refused_when_the_poller_is_made(worker: Any, resources: Any, text: str) -> None:
    with pytest.raises(WorkerDefinitionError) as raised:
        TaskPoller([worker], Configuration(""), resources=resources)
    assert text in str(raised.value)


def test_call_worker_hands_over_what_it_is_given() -> None:
    pool = workers.Pool("fake")
    result = call_worker(
        workers.ask, {"value": 1, "pool": "an input of that name is ignored"}, resources={"pool": pool}
    )
    assert result.output_data == {"result": f"fake {os.getpid()} 1"}
    missing = call_worker(workers.ask, {"value": 1})
    assert missing.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert "there is no resource 'pool'" in missing.reason_for_incompletion


def test_a_type_checker_sees_the_resource_itself() -> None:
    def typed(pool: Resource[workers.Pool]) -> str:
        return pool.ask("?")  # mypy would not have this on anything but a Pool

    assert typed(workers.Pool("direct")).startswith("direct")
