"""The lease keeper, alone and against the embedded server with the released server's lease race."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import (
    Configuration,
    MetadataClient,
    Task,
    TaskPoller,
    WorkerInterface,
    WorkflowClient,
    WorkflowStatus,
    worker_task,
)
from conductor_grpc.errors import UnavailableError, WorkerDefinitionError
from conductor_grpc.poller import lease as lease_module
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller import outbox_extensions as extensions_module
from conductor_grpc.poller.lease import Extended, Lease, LeaseKeeper
from conductor_grpc.poller.outbox_extensions import Extensions
from conductor_grpc.poller.parts import Parts
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.transport.server_version import LeaseSupport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.pb.model import taskresult_pb2


class Sender:
    """In place of the outbox: notes what it is asked for, and answers as it is told."""

    def __init__(self, *answers: Extended) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.looked_after: list[str] = []
        self._changed = threading.Condition()

    def extend(self, lease: Lease, told: Callable[[Lease, Extended], None]) -> None:
        answer = self.answers.pop(0) if self.answers else Extended.YES
        with self._changed:
            self.asked.append(lease.task_id)
            self._changed.notify_all()
        told(lease, answer)

    def look_after(self, task_id: str) -> None:
        self.looked_after.append(task_id)

    def wait_asked(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, 20), self.asked


@contextmanager
def keeping(
    sender: Sender, support: Callable[[], LeaseSupport] = lambda: LeaseSupport.YES, limit: float | None = None
) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(sender, support, limit, lambda _, error: pytest.fail(f"the keeper died: {error}"))
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        assert keeper.join(20)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extensions due every few milliseconds of a response timeout of a second."""
    monkeypatch.setattr(lease_module, "SHARE", (0.002, 0.004))
    monkeypatch.setattr(lease_module, "RETRY_SHARE", 0.002)


@pytest.fixture
def soon_of_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a response timeout that nothing exceeds, however busy the machine."""
    monkeypatch.setattr(lease_module, "SHARE", (0.0001, 0.0002))
    monkeypatch.setattr(lease_module, "RETRY_SHARE", 0.0001)


def held(task_id: str = "a", seconds: int = 1) -> Task:
    return Task(task_id=task_id, workflow_instance_id="w", worker_id="me", response_timeout_seconds=seconds)


@pytest.mark.usefixtures("soon")
@pytest.mark.feature("Lease extension")
def test_a_lease_is_extended_again_and_again_until_the_task_ends() -> None:
    sender, task = Sender(), held()
    with keeping(sender) as keeper:
        keeper.running(task)
        sender.wait_asked(5)
        keeper.ended(task)
        count = len(sender.asked)
        assert keeper.extended >= 5
        other = held("b")
        keeper.running(other)
        sender.wait_asked(count + 3)
        assert sender.asked[count:].count("a") <= 1, "at most the one that was being asked for"
        assert (len(keeper), keeper.lost) == (1, 0)


@pytest.mark.parametrize("task", [held(seconds=0), held(seconds=3600)], ids=["no response timeout", "an hour"])
def test_what_is_not_due_is_not_extended(task: Task) -> None:
    sender = Sender()
    with keeping(sender) as keeper:
        keeper.running(task)
        assert not sender.asked
        keeper.ended(task)
        keeper.ended(task)
        assert len(keeper) == 0


def test_a_task_that_was_handed_out_a_while_ago_is_extended_at_once() -> None:
    sender = Sender()
    with keeping(sender) as keeper:
        keeper.running(held(seconds=3600), late=True)
        sender.wait_asked(1)


@pytest.mark.usefixtures("soon")
@pytest.mark.feature("conductor-python: lease extension")
def test_a_worker_may_do_without() -> None:
    sender, task = Sender(), held()
    with keeping(sender) as keeper:
        keeper.running(task, extend=False)
        keeper.running(held("b"))
        sender.wait_asked(3)
    assert "a" not in sender.asked


@pytest.mark.usefixtures("soon")
@pytest.mark.bug("Python: lease ends before the update")
def test_what_fails_is_tried_again_and_told_once_it_is_too_late(caplog: pytest.LogCaptureFixture) -> None:
    sender, task = Sender(*[Extended.FAILED, Extended.BUSY] * 2), held()
    with keeping(sender) as keeper:
        keeper.running(task)
        sender.wait_asked(6)
        assert keeper.lost == 0
        sender.answers = [Extended.FAILED] * 10**6
        wait_for(lambda: keeper.lost == 1, 20)
        count = len(sender.asked)
        sender.wait_asked(count + 3)
        assert keeper.lost == 1, "and told once"
        keeper.ended(task)
    assert caplog.text.count("could not be kept beyond its response timeout of 1 s") == 1
    assert sender.looked_after == ["a"]


@pytest.mark.usefixtures("soon")
def test_what_the_server_does_not_know_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender(Extended.GONE)
    with keeping(sender) as keeper:
        keeper.running(held())
        wait_for(lambda: keeper.lost == 1)
        keeper.running(held("b"))
        sender.wait_asked(4)
    assert sender.asked.count("a") == 1
    assert "is not known to the server any more" in caplog.text


@pytest.mark.usefixtures("soon")
def test_a_task_is_kept_no_longer_than_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    sender, task = Sender(), held()
    with keeping(sender, limit=0.05) as keeper:
        keeper.running(task)
        wait_for(lambda: "the limit for which it is kept (lease_limit)" in caplog.text)
        count = len(sender.asked)
        assert count >= 1
        keeper.running(held("b"))
        sender.wait_asked(count + 1)
        assert sender.asked.count("a") == count
        keeper.ended(task)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("support", [LeaseSupport.NO, LeaseSupport.UNTOLD])
def test_without_support_nothing_is_sent_and_it_is_told_once(
    support: LeaseSupport, caplog: pytest.LogCaptureFixture
) -> None:
    sender, tasks = Sender(), [held(str(number)) for number in range(20)]
    with keeping(sender, lambda: support) as keeper:
        for task in tasks:
            keeper.running(task)
        wait_for(lambda: bool(caplog.records))
        keeper.running(held("later"))
        for task in tasks:
            keeper.ended(task)
    assert sender.asked == []
    (record,) = caplog.records
    assert support.value in record.getMessage()
    assert "responseTimeoutSeconds" in record.getMessage()


@pytest.mark.usefixtures("soon")
def test_a_server_that_is_not_there_is_asked_again() -> None:
    attempts: list[int] = []

    def support() -> LeaseSupport:
        attempts.append(1)
        if len(attempts) < 3:
            raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE)
        return LeaseSupport.YES

    sender = Sender()
    with keeping(sender, support) as keeper:
        keeper.running(held())
        sender.wait_asked(2)
    assert len(attempts) == 3


def test_ended_tasks_do_not_fill_the_heap() -> None:
    with keeping(Sender()) as keeper:
        staying = [held(f"stays{number}", 3600) for number in range(100)]
        for task in staying:
            keeper.running(task)
        for number in range(10_000):
            task = held(str(number), 3600)
            keeper.running(task)
            keeper.ended(task)
        assert len(keeper._heap) <= 2 * lease_module.DEAD_LIMIT + len(staying)
        assert len(keeper) == len(staying)


@pytest.mark.parametrize("lease", [1, "no"])
def test_the_option_is_checked(lease: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=f"has lease {lease!r}, expected True or False"):
        worker_task("work", lease=lease)(lambda: None)


def extensions(results: list[taskresult_pb2.TaskResult]) -> list[taskresult_pb2.TaskResult]:
    return [result for result in results if result.extend_lease]


def poller_at(target: str, *workers: WorkerInterface, **settings: Any) -> TaskPoller:
    return TaskPoller(workers, Configuration("", target=target, poll_wait_ms=200, **settings))


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("lease", [True, False])
def test_a_long_task_is_extended_from_its_arrival_to_its_end(lease: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "_lease_support", lambda _: LeaseSupport.YES)
    release, running = threading.Event(), threading.Event()

    @worker_task("work", lease=lease)
    def work() -> None:
        running.set()
        release.wait(30)

    with ScriptedServer() as server, poller_at(server.target, work) as poller:
        server.add(a_task("a", response_timeout_seconds=1))
        if lease:
            results = server.wait_for_updates(5)
            assert len(extensions(results)) == 5
            assert {result.worker_id for result in results} == {server.polls[0].worker_id}
        else:
            assert running.wait(20)
        release.set()
        wait_for(lambda: len(poller._parts.custody) == 0)
        results = list(server.updates)
    assert not results[-1].extend_lease
    assert len(extensions(results)) == (len(results) - 1 if lease else 0)


TASK = {
    "name": "work",
    "ownerEmail": "a@example.com",
    "retryCount": 0,
    "responseTimeoutSeconds": 20,
    "timeoutSeconds": 600,
}
WORKFLOW = {
    "name": "works",
    "ownerEmail": "a@example.com",
    "tasks": [{"name": "work", "taskReferenceName": "work", "inputParameters": {"n": "${workflow.input.n}"}}],
}


@dataclass
class Load:
    """What became of many tasks of some milliseconds, extended every two or three of them."""

    extended: int
    repaired: int
    lost: list[str]


def run_while_extensions_are_due(count: int) -> Load:
    """On the embedded server with the race."""

    @worker_task("work", concurrency=32)
    def work(n: float, task: Task) -> dict[str, float]:
        ended.wait(0.01 + n % 5 * 0.005)
        del task
        return {"n": n}

    ended = threading.Event()
    with EmbeddedServer(strict=True, keep_finished=count) as server:
        configuration = Configuration("", target=server.target)
        with MetadataClient(configuration) as metadata:
            metadata.register_task(TASK)
            metadata.register_workflow(WORKFLOW)
        with WorkflowClient(configuration) as client, poller_at(server.target, work) as poller:
            ids = [client.start("works", {"n": float(n)}) for n in range(count)]
            wait_for(lambda: poller._parts.outbox.accepted.total() >= count, 120)
            wait_for(lambda: len(poller._parts.custody) == 0)
            runs = [client.get(workflow_id) for workflow_id in ids]
            lost = [run.workflow_id for run in runs if run.status is not WorkflowStatus.COMPLETED]
            health = poller.health()
            assert (health.given_up, health.leases_lost) == (0, 0)
            return Load(health.leases_extended, health.repaired, lost)


@pytest.mark.usefixtures("soon_of_twenty_seconds")
def test_no_result_is_lost_to_an_extension() -> None:
    load = run_while_extensions_are_due(2_000)
    assert load.extended > 2_000, "else they were not due often enough to show anything"
    assert (load.lost, load.repaired) == ([], 0)


@pytest.mark.usefixtures("soon_of_twenty_seconds")
def test_the_same_load_loses_results_if_they_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would see it."""
    monkeypatch.setattr(Extensions, "park", lambda *_: False)
    assert len(run_while_extensions_are_due(300).lost) >= 3


@pytest.mark.usefixtures("soon_of_twenty_seconds")
def test_no_result_is_lost_to_an_extension_that_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's deadline is over while the server still works on it: there is nothing left to wait for."""
    monkeypatch.setattr(extensions_module, "TIMEOUT", 0.002)
    monkeypatch.setattr(outbox_module, "UNDONE_LOOKS", (0.1, 0.5))
    load = run_while_extensions_are_due(500)
    assert load.repaired >= 3
    assert load.lost == []
