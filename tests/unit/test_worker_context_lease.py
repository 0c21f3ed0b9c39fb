"""How long a running task is still ours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from context_workers import EXECUTORS, Leased, on_every_executor
from executor_bench import Bench
from scripted_server import ScriptedServer, a_task

from conductor_grpc import Configuration, Task, TaskPoller
from conductor_grpc.poller import lease as lease_module
from conductor_grpc.poller.lease import Extended, Lease, LeaseKeeper
from conductor_grpc.testing import call_worker
from conductor_grpc.transport.server_version import LeaseSupport
from conductor_grpc.worker import TaskContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.executor import Executor


@pytest.mark.feature("Context of the task")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_counts_down_and_goes_up_when_the_lease_is_extended(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "SHARE", (0.02, 0.02))
    (worker,) = on_every_executor(Leased, [executor])
    with Bench(worker) as bench:
        first, before, after = bench.output(worker)  # type: ignore[misc]
        assert 0 < before <= first <= 60, "the response timeout"
        assert before < after <= 60


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_task_without_a_response_timeout_has_none(executor: Executor) -> None:
    """Such as one without a definition."""
    (worker,) = on_every_executor(Leased, [executor])
    with ScriptedServer() as server:
        configuration = Configuration("", target=server.target, poll_wait_ms=100, cancellation_check=None)
        with TaskPoller([worker], configuration):
            server.add(a_task("a", executor))
            (result,) = server.wait_for_updates(1)
    assert result.output_data["result"].HasField("null_value")


def test_nor_has_one_that_no_poller_runs() -> None:
    (worker,) = on_every_executor(Leased, ["thread"])
    assert call_worker(worker).output_data == {"result": None}


class Outbox:
    def __init__(self) -> None:
        self.told: Callable[[Lease, Extended], None] | None = None

    def extend(self, lease: Lease, told: Callable[[Lease, Extended], None]) -> None:
        """Answers when the test says so."""

    def look_after(self, task_id: str) -> None:
        """Not asked here."""


def kept(seconds: int = 100) -> tuple[LeaseKeeper, Lease, TaskContext]:
    keeper = LeaseKeeper(Outbox(), lambda: LeaseSupport.YES, None, lambda *_: None)
    task = Task(task_id="a", response_timeout_seconds=seconds)
    lease = keeper.running(task)
    assert lease is not None
    return keeper, lease, TaskContext(task, lease=lease)


def test_it_is_what_is_left_of_the_response_timeout_since_the_last_extension() -> None:
    keeper, lease, context = kept()
    lease.renewed = time.monotonic() - 70
    assert context.lease_remaining == pytest.approx(30, abs=1)
    lease.asked = time.monotonic() - 5
    keeper._told(lease, Extended.FAILED)
    assert context.lease_remaining == pytest.approx(30, abs=1), "a failed extension changes nothing"
    keeper._told(lease, Extended.YES)
    assert context.lease_remaining == pytest.approx(95, abs=1), "counted from when it was asked for"


def test_it_is_never_negative_and_nothing_once_the_lease_is_lost() -> None:
    keeper, lease, context = kept()
    lease.renewed = time.monotonic() - 1000
    assert context.lease_remaining == 0.0
    keeper, lease, context = kept()
    keeper._told(lease, Extended.GONE)
    assert context.lease_remaining == 0.0


def test_who_keeps_its_end_elsewhere_is_told_of_each_extension() -> None:
    keeper, lease, _ = kept()
    seen: list[float] = []
    lease.when_extended = lambda: seen.append(lease.ends)
    lease.asked = time.monotonic() + 1
    keeper._told(lease, Extended.YES)
    keeper._told(lease, Extended.FAILED)
    lease.ended = True
    keeper._told(lease, Extended.YES)
    assert seen == [lease.asked + 100]
