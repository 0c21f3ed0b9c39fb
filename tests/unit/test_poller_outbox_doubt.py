"""Updates and lease extensions of one task, and what became of updates whose answer says nothing certain."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from scripted_server import ScriptedServer
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskResult, TaskResultStatus, TaskStatus
from conductor_grpc.errors import AuthenticationError, UnavailableError
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller import outbox_extensions as extensions_module
from conductor_grpc.poller.lease import Extended, Lease
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.outbox_truth import Standing, standing
from conductor_grpc.poller.outbox_updates import Update, hand_back, result_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.pb.model import taskresult_pb2

    Find = Callable[[str], Task | None]


def ours(status: TaskStatus = TaskStatus.IN_PROGRESS, worker_id: str = "me", poll_count: int = 1) -> Task:
    return Task(task_id="a", workflow_instance_id="w", status=status, worker_id=worker_id, poll_count=poll_count)


def result(status: TaskResultStatus = TaskResultStatus.COMPLETED, task_id: str = "a") -> Update:
    task = Task(task_id=task_id, workflow_instance_id="w", worker_id="me", poll_count=1)
    made = TaskResult("w", task_id, status, callback_after_seconds=5, worker_id="me")
    return result_update(task, made, made.to_wire())


def lease(task_id: str = "a") -> Lease:
    return Lease(task_id, "w", "me", "work", seconds=1, began=0, renewed=0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_LIMIT", 0.05)
    monkeypatch.setattr(outbox_module, "UNDONE_LOOKS", (0.0, 0.02))


class Bench:
    """An outbox before a scripted server: what it extended, what it settled."""

    def __init__(self, server: ScriptedServer, find: Find) -> None:
        self.server = server
        self.told: list[tuple[str, Extended]] = []
        self.settled: list[Update] = []
        self.outbox = Outbox(
            Configuration("", target=server.target),
            self.settled.append,
            find,
            lambda _, error: pytest.fail(f"the outbox died: {error}"),
        )

    def extend(self, *leases: Lease) -> None:
        for each in leases:
            self.outbox.extend(each, lambda lease, extended: self.told.append((lease.task_id, extended)))

    def arrived(self) -> list[str]:
        """What the server has taken, in order."""
        return ["extension" if each.extend_lease else each.task_id for each in self.server.updates]


@contextmanager
def bench(find: Find = lambda _: None) -> Iterator[Bench]:
    with ScriptedServer() as server:
        made = Bench(server, find)
        made.outbox.start()
        try:
            yield made
        finally:
            made.outbox.stop()
            assert made.outbox.join(20)


def abort_extensions(times: int, code: grpc.StatusCode, details: str = "broken") -> Callable[..., None]:
    left = threading.Semaphore(times)

    def update(result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if result.extend_lease and left.acquire(blocking=False):
            context.abort(code, details)

    return update


def test_a_result_waits_for_the_extension_on_its_way() -> None:
    gate, begun = threading.Event(), threading.Event()

    def update(result: taskresult_pb2.TaskResult, _context: grpc.ServicerContext) -> None:
        if result.extend_lease:
            begun.set()
            gate.wait(20)

    with bench() as it:
        it.server.update = update
        it.extend(lease())
        assert begun.wait(20)
        it.outbox.put(result())
        it.outbox.put(result(task_id="other"))
        wait_for(lambda: it.arrived() == ["other"])
        assert it.server.attempts == 2, "that of the same task was not even sent"
        gate.set()
        assert it.outbox.flush(20)
        assert it.arrived() == ["other", "extension", "a"]
        assert it.told == [("a", Extended.YES)]
        assert it.outbox.late == {}


@pytest.mark.parametrize("state", ["on its way", "waiting to be sent again"])
def test_no_extension_while_there_is_an_update(state: str) -> None:
    gate, tried = threading.Event(), threading.Event()

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        tried.set()
        if state == "on its way":
            gate.wait(20)
        elif not gate.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    with bench() as it:
        it.server.update = update
        it.outbox.put(result())
        assert tried.wait(20)
        it.extend(lease())
        wait_for(lambda: it.told == [("a", Extended.BUSY)])
        gate.set()
        assert it.outbox.flush(20)
        assert it.arrived() == ["a"]


def test_a_lease_that_has_ended_is_not_extended() -> None:
    ended = lease()
    ended.ended = True
    with bench() as it:
        it.extend(ended, lease("other"))
        wait_for(lambda: it.told == [("other", Extended.YES)])
        assert [each.task_id for each in it.server.updates] == ["other"]


@pytest.mark.parametrize(
    ("code", "details", "extended"),
    [
        (grpc.StatusCode.INTERNAL, "No such task found by id: a", Extended.GONE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", Extended.FAILED),
        (grpc.StatusCode.UNAVAILABLE, "down", Extended.FAILED),
    ],
)
def test_an_extension_that_fails_is_told_and_not_sent_again(
    code: grpc.StatusCode, details: str, extended: Extended
) -> None:
    with bench() as it:
        it.server.update = abort_extensions(1, code, details)
        it.extend(lease())
        wait_for(lambda: it.told == [("a", extended)])
        assert it.server.attempts == 1


def test_many_extensions_do_not_go_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions_module, "IN_FLIGHT", 3)
    gate = threading.Semaphore(0)
    with bench() as it:
        it.server.update = lambda _result, _context: (gate.acquire(timeout=20), None)[1]
        it.extend(*(lease(str(number)) for number in range(12)))
        wait_for(lambda: it.server.attempts == 3)
        gate.release()
        wait_for(lambda: it.server.attempts == 4)
        for _ in range(11):
            gate.release()
        wait_for(lambda: len(it.told) == 12)


def test_a_result_undone_by_a_late_extension_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    """The extension's answer never came, and the server carried it out after the result."""
    with bench(lambda _: ours(TaskStatus.IN_PROGRESS if len(it.server.updates) == 1 else TaskStatus.COMPLETED)) as it:
        it.server.update = abort_extensions(1, grpc.StatusCode.UNAVAILABLE)
        it.extend(lease())
        wait_for(lambda: it.told == [("a", Extended.FAILED)])
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert it.arrived() == ["a", "a"]
        assert (it.outbox.repaired, dict(it.outbox.late)) == (1, {Standing.APPLIED: 1})
        assert len(it.settled) == 1
        assert sum(it.outbox.accepted.values()) == 1
    assert "undone by a lease extension" in caplog.text


@pytest.mark.parametrize("update", [hand_back(ours()), result(TaskResultStatus.IN_PROGRESS)])
def test_a_task_handed_back_is_handed_back_again_if_a_late_extension_undoes_that(update: Update) -> None:
    """Else it would be nobody's: the server has it as ours until its response timeout."""
    seen = iter([TaskStatus.SCHEDULED, TaskStatus.IN_PROGRESS, TaskStatus.IN_PROGRESS])
    with bench(lambda _: ours(next(seen, TaskStatus.SCHEDULED))) as it:
        it.server.update = abort_extensions(1, grpc.StatusCode.UNAVAILABLE)
        it.extend(lease())
        wait_for(lambda: bool(it.told))
        it.outbox.put(update)
        assert it.outbox.flush(20)
        assert it.arrived() == ["a", "a"]
        assert (it.outbox.repaired, dict(it.outbox.late)) == (1, {Standing.APPLIED: 1})


def test_a_task_handed_back_and_undone_is_left_to_whoever_has_it_by_then() -> None:
    seen = iter([ours(), ours(worker_id="other", poll_count=2)])
    with bench(lambda _: next(seen)) as it:
        it.server.update = abort_extensions(1, grpc.StatusCode.UNAVAILABLE)
        it.extend(lease())
        wait_for(lambda: bool(it.told))
        it.outbox.put(hand_back(ours()))
        assert it.outbox.flush(20)
        assert (it.arrived(), dict(it.outbox.late)) == (["a"], {Standing.REASSIGNED: 1})


def test_a_result_is_looked_at_more_than_once_after_an_extension_in_doubt() -> None:
    """It may be undone after the first look."""
    seen = iter([TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS])
    with bench(lambda _: ours(next(seen, TaskStatus.COMPLETED))) as it:
        it.server.update = abort_extensions(1, grpc.StatusCode.INTERNAL, "RST_STREAM with error code 2")
        it.extend(lease())
        wait_for(lambda: bool(it.told))
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert (it.arrived(), it.outbox.repaired) == (["a", "a"], 1)


def test_a_result_that_does_not_stay_is_not_sent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workflow has ended: the server answers OK and changes nothing."""
    monkeypatch.setattr(outbox_module, "REPAIR_FOR", 0.2)
    with bench(lambda _: ours()) as it:
        it.server.update = abort_extensions(1, grpc.StatusCode.UNAVAILABLE)
        it.extend(lease())
        wait_for(lambda: bool(it.told))
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert len(it.arrived()) >= 3
        assert (dict(it.outbox.late), it.outbox.repaired) == ({Standing.OPEN: 1}, 1)


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.PERMISSION_DENIED])
def test_an_extension_that_never_reached_the_server_leaves_no_doubt(code: grpc.StatusCode) -> None:
    with bench(lambda _: pytest.fail("nothing to look for")) as it:
        it.server.update = abort_extensions(1, code)
        it.extend(lease())
        wait_for(lambda: bool(it.told))
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert it.outbox.late == {}


@pytest.mark.parametrize(
    ("found", "became", "told"),
    [
        (ours(TaskStatus.COMPLETED), Standing.APPLIED, False),
        (ours(TaskStatus.TIMED_OUT), Standing.IGNORED, True),
        (ours(TaskStatus.IN_PROGRESS, "other", 2), Standing.REASSIGNED, True),
        (None, Standing.GONE, False),
    ],
)
def test_a_result_whose_answer_was_lost_is_accounted_for(
    found: Task | None, became: Standing, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Semaphore(1)

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if failed.acquire(blocking=False):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "late")

    with caplog.at_level(logging.DEBUG, "conductor_grpc.poller.outbox"), bench(lambda _: found) as it:
        it.server.update = update
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert (dict(it.outbox.late), len(it.settled)) == ({became: 1}, 1)
    (record,) = [record for record in caplog.records if "in doubt, and" in record.getMessage()]
    assert (record.levelno == logging.WARNING) is told


def test_a_result_that_comes_too_late_is_looked_after() -> None:
    with bench(lambda _: ours(TaskStatus.TIMED_OUT)) as it:
        it.outbox.look_after("a")
        it.outbox.put(result())
        it.outbox.put(result(task_id="b"))
        assert it.outbox.flush(20)
        assert dict(it.outbox.late) == {Standing.IGNORED: 1}
        assert it.outbox._doubts == {}


def test_a_look_is_repeated_until_the_server_is_there() -> None:
    looks = threading.Semaphore(3)

    def find(_task_id: str) -> Task:
        if looks.acquire(blocking=False):
            raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE)
        return ours(TaskStatus.COMPLETED)

    with bench(find) as it:
        it.outbox.look_after("a")
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert dict(it.outbox.late) == {Standing.APPLIED: 1}


def test_a_look_that_is_forbidden_is_not() -> None:
    def find(_task_id: str) -> Task:
        raise AuthenticationError("no", code=grpc.StatusCode.PERMISSION_DENIED)

    with bench(find) as it:
        it.outbox.look_after("a")
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert dict(it.outbox.late) == {Standing.HIDDEN: 1}


class RestAlone:
    """A task that only REST can show: `rest_down`, or else what it shows. gRPC may be down, too, at first."""

    def __init__(self, grpc_failures: int = 0) -> None:
        self.looks = 0
        self._grpc_failures = grpc_failures

    def __call__(self, _task_id: str) -> Task:
        self.looks += 1
        if self.looks <= self._grpc_failures:
            raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE, method="TaskService/GetTask")
        raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE, method="GET /tasks/a")


@pytest.mark.parametrize("update", [result(), result(TaskResultStatus.IN_PROGRESS), hand_back(ours())])
def test_a_task_that_rest_alone_could_show_does_not_hold_room_for_ever(
    update: Update, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "UNSEEN_FOR", 0.1)
    failed = threading.Semaphore(1)

    def in_doubt_once(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if failed.acquire(blocking=False):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "late")

    with bench(RestAlone()) as it:
        it.server.update = in_doubt_once
        it.outbox.put(update)
        assert it.outbox.flush(20)
        assert (it.arrived(), len(it.settled)) == (["a"], 1)
        assert dict(it.outbox.late) == ({Standing.HIDDEN: 1} if update.repeatable else {})
    (record,) = [record for record in caplog.records if "cannot be seen over gRPC" in record.getMessage()]
    assert record.levelno == logging.WARNING
    assert "base_url" in record.getMessage()


def test_a_server_that_is_down_altogether_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "UNSEEN_FOR", 0.0)
    find = RestAlone(grpc_failures=5)
    with bench(find) as it:
        it.outbox.look_after("a")
        it.outbox.put(result())
        assert it.outbox.flush(20)
        assert find.looks == 6, "as long as gRPC failed, nothing was concluded"


def test_an_error_in_a_callback_of_the_event_loop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio itself would only log it."""
    told: list[BaseException] = []
    with bench() as it:
        it.outbox._on_death = lambda _, error: told.append(error)
        assert it.outbox.started.wait(20)
        wait_for(lambda: not it.outbox._armed)

        def broken(*_: object) -> None:
            raise RuntimeError("a bug in the extensions")

        monkeypatch.setattr(it.outbox._extensions, "begin", broken)
        it.outbox.put(result())
        wait_for(lambda: [str(error) for error in told] == ["a bug in the extensions"])


def test_a_stop_does_not_wait_for_an_extension() -> None:
    gate, begun = threading.Event(), threading.Event()
    with ScriptedServer() as server:
        server.update = lambda _result, _context: (begun.set(), gate.wait(20), None)[2]
        it = Bench(server, lambda _: None)
        it.outbox.start()
        it.extend(lease())
        assert begun.wait(20)
        it.outbox.put(result())
        it.outbox.stop()
        assert it.outbox.join(5)
        gate.set()
        assert (len(it.outbox), it.settled) == (1, [])


C, F, T, X = (
    TaskResultStatus.COMPLETED,
    TaskResultStatus.FAILED,
    TaskResultStatus.FAILED_WITH_TERMINAL_ERROR,
    TaskResultStatus.CANCELED,
)


@pytest.mark.parametrize(
    ("update", "found", "expected"),
    [
        (result(C), ours(TaskStatus.COMPLETED), Standing.APPLIED),
        (result(C), ours(TaskStatus.COMPLETED, "other"), Standing.IGNORED),
        (result(C), ours(TaskStatus.FAILED), Standing.IGNORED),
        (result(C), ours(TaskStatus.CANCELED), Standing.IGNORED),
        (result(C), ours(TaskStatus.SCHEDULED), Standing.REASSIGNED),
        (result(C), ours(TaskStatus.IN_PROGRESS), Standing.OPEN),
        (result(C), ours(TaskStatus.IN_PROGRESS, poll_count=2), Standing.REASSIGNED),
        (result(F), ours(TaskStatus.FAILED), Standing.APPLIED),
        (result(F), ours(TaskStatus.COMPLETED_WITH_ERRORS), Standing.APPLIED),
        (result(F), ours(TaskStatus.TIMED_OUT), Standing.IGNORED),
        (result(T), ours(TaskStatus.FAILED_WITH_TERMINAL_ERROR), Standing.APPLIED),
        (result(X), ours(TaskStatus.CANCELED), Standing.APPLIED),
        (hand_back(ours()), ours(TaskStatus.SCHEDULED), Standing.APPLIED),
        (hand_back(ours()), ours(), Standing.OPEN),
        (hand_back(ours()), ours(worker_id="other", poll_count=2), Standing.REASSIGNED),
        (hand_back(ours()), ours(TaskStatus.COMPLETED, "other", 2), Standing.REASSIGNED),
        (hand_back(ours()), ours(TaskStatus.TIMED_OUT), Standing.IGNORED),
        (result(C), None, Standing.GONE),
    ],
)
def test_standing(update: Update, found: Task | None, expected: Standing) -> None:
    assert standing(update, found) is expected
