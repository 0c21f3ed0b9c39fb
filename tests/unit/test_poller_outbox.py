"""The outbox against a gRPC server with scripted answers."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import any_pb2
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskResult, TaskResultStatus, TaskStatus
from conductor_grpc.errors import (
    InvalidRequestError,
    NotFoundError,
    PayloadDecodeError,
    ServerError,
    UnavailableError,
    UnmappablePayloadError,
)
from conductor_grpc.pb.model import taskresult_pb2
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller.outbox import Outbox
from conductor_grpc.poller.outbox_updates import Purpose, Update, hand_back, result_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Find = Callable[[str], Task | None]


def completed(task_id: str) -> Update:
    task = Task(task_id=task_id, workflow_instance_id="w", worker_id="me", poll_count=1)
    result = TaskResult(workflow_instance_id="w", task_id=task_id, status=TaskResultStatus.COMPLETED)
    return result_update(task, result, result.to_wire())


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(outbox_module, "RETRY_LIMIT", 0.05)


@contextmanager
def running(
    target: str, find: Find = lambda _: None, limit: int = 1000, outbox_bytes: int = 2**26
) -> Iterator[tuple[Outbox, list[str]]]:
    settled: list[str] = []
    outbox = Outbox(
        Configuration(target=target, outbox_limit=limit, outbox_bytes=outbox_bytes),
        lambda update: settled.append(update.task.task_id),
        find,
        lambda _, error: pytest.fail(f"the outbox died: {error}"),
    )
    outbox.start()
    try:
        yield outbox, settled
    finally:
        outbox.stop()
        assert outbox.join(20)


def failing(times: int, code: grpc.StatusCode, details: str) -> Callable[..., None]:
    left = threading.Semaphore(times)

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if left.acquire(blocking=False):
            context.abort(code, details)

    return update


def test_many_results_arrive_once_each() -> None:
    with ScriptedServer() as server, running(server.target) as (outbox, settled):
        for number in range(500):
            outbox.put(completed(str(number)))
        assert outbox.flush(30)
        assert len(outbox) == 0
        assert outbox.accepted[Purpose.RESULT] == 500
    assert sorted(result.task_id for result in server.updates) == sorted(map(str, range(500)))
    assert sorted(settled) == sorted(map(str, range(500)))


def test_what_was_put_before_the_start_is_sent() -> None:
    with ScriptedServer() as server:
        outbox = Outbox(Configuration(target=server.target), lambda _: None, lambda _: None, lambda *_: None)
        outbox.put(completed("early"))
        outbox.start()
        assert outbox.flush(20)
        outbox.stop()
        assert outbox.join(20)
    assert [result.task_id for result in server.updates] == ["early"]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL])
@pytest.mark.feature("Results are sent again")
@pytest.mark.bug("Hatchet: retry that never runs")
def test_a_terminal_result_is_sent_until_it_is_taken(code: grpc.StatusCode) -> None:
    with ScriptedServer() as server, running(server.target) as (outbox, _):
        server.update = failing(7, code, "not now")
        outbox.put(completed("a"))
        assert outbox.flush(20)
        assert server.attempts == 8
        assert len(server.updates) == 1
        assert outbox.refused == 0


@pytest.mark.feature("conductor-python: retried updates")
@pytest.mark.feature("conductor-python: slot and lease while retrying")
def test_updates_that_fail_do_not_hold_up_others() -> None:
    def update(result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if result.task_id.startswith("bad"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "never")

    with ScriptedServer() as server, running(server.target) as (outbox, settled):
        server.update = update
        for number in range(outbox_module.IN_FLIGHT + 10):
            outbox.put(completed(f"bad{number}"))
        outbox.put(completed("good"))
        wait_for(lambda: settled == ["good"])
        assert not outbox.flush(0)


@pytest.mark.feature("conductor-python: retried updates")
def test_what_the_server_will_never_take_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer() as server, running(server.target) as (outbox, settled):
        server.update = failing(1, grpc.StatusCode.NOT_FOUND, "No such workflow found by id: w")
        with caplog.at_level(logging.ERROR):
            outbox.put(completed("a"))
            assert outbox.flush(20)
        assert (outbox.refused, outbox.accepted[Purpose.RESULT]) == (1, 0)
    assert settled == ["a"]
    assert "No such workflow found by id: w" in caplog.text
    assert "task a" in caplog.text


def given_back(poll_count: int = 1) -> Update:
    return hand_back(Task(task_id="a", workflow_instance_id="w", worker_id="me", poll_count=poll_count))


@pytest.mark.parametrize(
    ("found", "sent_again"),
    [
        (Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id="me", poll_count=1), True),
        (Task(task_id="a", status=TaskStatus.SCHEDULED, worker_id="me", poll_count=1), False),
        (Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id="other", poll_count=2), False),
        (Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id="me", poll_count=2), False),
        (None, False),
    ],
    ids=["still ours", "applied", "another worker has it", "we got it again", "gone"],
)
def test_an_update_that_is_not_repeatable_is_repeated_only_if_it_was_not_applied(
    found: Task | None, sent_again: bool
) -> None:
    with ScriptedServer() as server, running(server.target, lambda _: found) as (outbox, settled):
        server.update = failing(1, grpc.StatusCode.UNAVAILABLE, "in doubt")
        outbox.put(given_back())
        assert outbox.flush(20)
        assert server.attempts == (2 if sent_again else 1)
        assert outbox.accepted[Purpose.HAND_BACK] == 1
    assert settled == ["a"]


def test_a_hand_back_keeps_what_the_task_came_with() -> None:
    with ScriptedServer() as server, running(server.target) as (outbox, _):
        task = Task.from_wire(a_task("a", reason_for_incompletion="waiting", worker_id="me").SerializeToString())
        task.output_data = {"progress": 3}
        outbox.put(hand_back(task))
        (result,) = server.wait_for_updates(1)
    assert result.status == taskresult_pb2.TaskResult.IN_PROGRESS
    assert result.callback_after_seconds == 0
    assert result.output_data["progress"].number_value == 3
    assert result.reason_for_incompletion == "waiting"


def test_no_room_until_half_empty() -> None:
    gate = threading.Semaphore(0)
    with ScriptedServer() as server, running(server.target, limit=8) as (outbox, _):
        server.update = lambda _result, _context: (gate.acquire(timeout=30), None)[1]
        for number in range(8):
            assert outbox.wait_for_room(0)
            outbox.put(completed(str(number)))
        assert not outbox.wait_for_room(0)
        room: list[bool] = []
        waiting = threading.Thread(target=lambda: room.append(outbox.wait_for_room(20)))
        waiting.start()
        for _ in range(3):
            gate.release()
        wait_for(lambda: len(outbox) == 5)
        assert room == [], "below the limit, but more than half full"
        gate.release()
        waiting.join(20)
        assert room == [True]
        for _ in range(4):
            gate.release()
        assert outbox.flush(20)


@pytest.mark.feature("conductor-python: result that could not be sent")
@pytest.mark.bug("pubsub: success after failure")
def test_what_cannot_be_sent_before_the_end_is_counted() -> None:
    with ScriptedServer() as server, running(server.target) as (outbox, settled):
        server.update = failing(10**6, grpc.StatusCode.UNAVAILABLE, "down")
        outbox.put(completed("a"))
        outbox.put(completed("b"))
        assert not outbox.flush(0.1)
        outbox.stop()
        assert outbox.join(20)
        outbox.put(completed("c"))
        assert len(outbox) == 3
    assert settled == []


def in_progress() -> Update:
    task = Task(task_id="a", workflow_instance_id="w", worker_id="me", poll_count=1)
    result = TaskResult("w", "a", TaskResultStatus.IN_PROGRESS, callback_after_seconds=5)
    return result_update(task, result, result.to_wire())


def test_a_worker_s_in_progress_result_is_not_repeated_once_it_was_applied() -> None:
    """Repeated, it would take the task from the worker that has it by now."""
    found = Task(task_id="a", status=TaskStatus.SCHEDULED, worker_id="me", poll_count=1)
    with ScriptedServer() as server, running(server.target, lambda _: found) as (outbox, _):
        server.update = failing(1, grpc.StatusCode.UNAVAILABLE, "in doubt")
        outbox.put(in_progress())
        assert outbox.flush(20)
        assert (server.attempts, outbox.accepted[Purpose.RESULT]) == (1, 1)


@pytest.mark.parametrize("error", [UnmappablePayloadError, PayloadDecodeError])
def test_an_update_of_a_task_that_cannot_be_looked_at_is_repeated(error: type[Exception]) -> None:
    def find(_task_id: str) -> Task:
        if error is PayloadDecodeError:
            raise PayloadDecodeError("odd")
        raise UnmappablePayloadError("integers", code=grpc.StatusCode.INTERNAL, method="GetTask", details="")

    with ScriptedServer() as server, running(server.target, find) as (outbox, _):
        server.update = failing(1, grpc.StatusCode.UNAVAILABLE, "in doubt")
        outbox.put(given_back())
        assert outbox.flush(20)
        assert (server.attempts, len(server.updates)) == (2, 1)


def test_a_look_that_fails_leaves_the_update_in_doubt() -> None:
    """The server is down for both at first."""
    looks = threading.Semaphore(3)

    def find(_task_id: str) -> Task:
        if looks.acquire(blocking=False):
            raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE, method="GetTask", details="")
        return Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id="me", poll_count=1)

    with ScriptedServer() as server, running(server.target, find) as (outbox, _):
        server.update = failing(1, grpc.StatusCode.UNAVAILABLE, "in doubt")
        outbox.put(given_back())
        assert outbox.flush(20)
        assert (server.attempts, len(server.updates), outbox.refused) == (2, 1, 0)


def test_a_server_that_refuses_all_updates_makes_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "conductor_grpc.poller.outbox"),
        ScriptedServer() as server,
        running(server.target) as (outbox, _),
    ):
        server.update = failing(100, grpc.StatusCode.UNAVAILABLE, "down")
        for number in range(50):
            outbox.put(completed(str(number)))
        assert outbox.flush(30)
    assert len(caplog.records) == 1


def test_no_more_updates_are_on_their_way_than_the_server_can_work_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "IN_FLIGHT", 3)
    gate = threading.Semaphore(0)
    with ScriptedServer() as server, running(server.target) as (outbox, _):
        server.update = lambda _result, _context: (gate.acquire(timeout=30), None)[1]
        for number in range(12):
            outbox.put(completed(str(number)))
        wait_for(lambda: server.attempts == 3)
        gate.release()
        wait_for(lambda: server.attempts == 4)
        assert len(server.updates) == 1
        for _ in range(11):
            gate.release()
        assert outbox.flush(20)


@pytest.mark.parametrize("leaf", [NotFoundError, InvalidRequestError])
def test_a_look_that_is_refused_does_not_lose_the_update(leaf: type[ServerError]) -> None:
    def find(_task_id: str) -> Task:
        raise leaf("no static resource: base_url is wrong", code=grpc.StatusCode.NOT_FOUND, method="GET", details="x")

    with ScriptedServer() as server, running(server.target, find) as (outbox, _):
        server.update = failing(1, grpc.StatusCode.UNAVAILABLE, "in doubt")
        outbox.put(given_back())
        assert outbox.flush(10)
        assert (outbox.refused, len(server.updates)) == (0, 1)


@pytest.mark.parametrize(("times", "refused"), [(1, 0), (10**6, 1)], ids=["passing", "staying"])
def test_an_odd_answer_is_believed_only_if_it_stays_the_same(times: int, refused: int) -> None:
    """As of a proxy that has no route for a moment, or never has one."""
    with ScriptedServer() as server, running(server.target) as (outbox, _):
        server.update = failing(times, grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404")
        outbox.put(completed("a"))
        assert outbox.flush(10)
        assert (outbox.refused, len(server.updates)) == (refused, 1 - refused)
        assert server.attempts == (outbox_module.DOUBTFUL_ATTEMPTS if refused else 2)


@pytest.mark.feature("Flow control: bytes")
def test_no_room_for_more_bytes_until_half_of_them_are_gone() -> None:
    size = len(completed("0").wire)
    gate = threading.Semaphore(0)
    with ScriptedServer() as server, running(server.target, outbox_bytes=4 * size) as (outbox, _):
        server.update = lambda _result, _context: (gate.acquire(timeout=30), None)[1]
        for number in range(4):
            assert outbox.wait_for_room(0)
            outbox.put(completed(str(number)))
        assert (outbox.bytes, outbox.wait_for_room(0)) == (4 * size, False)
        room: list[bool] = []
        waiting = threading.Thread(target=lambda: room.append(outbox.wait_for_room(20)))
        waiting.start()
        gate.release()
        wait_for(lambda: len(outbox) == 3)
        assert room == [], "below the limit, but more than half full"
        gate.release()
        waiting.join(20)
        assert room == [True]
        gate.release(2)
        assert outbox.flush(20)
        assert outbox.bytes == 0


def test_a_hand_back_keeps_no_payload() -> None:
    """A thousand of them may wait, and an input may have three megabytes."""
    task = Task(task_id="a", workflow_instance_id="w", input_data={"x": "x" * 10_000}, output_data={"y": "y" * 10_000})
    update = hand_back(task)
    assert (update.task.task_id, update.task.input_data, update.task.output_data) == ("a", {}, {})


@pytest.mark.parametrize("others_get_through", [True, False])
def test_errors_that_nobody_explains_are_not_borne_for_ever(
    others_get_through: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "GIVE_UP_ALONE" if others_get_through else "GIVE_UP", 0.2)

    def update(result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        if result.task_id == "bad":
            context.abort(grpc.StatusCode.UNKNOWN, "Application error processing RPC")

    with ScriptedServer() as server, running(server.target) as (outbox, settled):
        server.update = update
        outbox.put(completed("bad"))
        wait_for(lambda: server.attempts >= 2)
        if others_get_through:
            outbox.put(completed("good"))
        assert outbox.flush(20)
        assert (outbox.given_up, outbox.refused) == (1, 1)
        assert settled == (["good", "bad"] if others_get_through else ["bad"])
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "task bad, which is given up" in record.getMessage()


@pytest.mark.bug("Temporal: completion dropped after ten seconds")
def test_an_error_that_is_explained_is_borne_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not know what ails it, then is away, then does not know again."""
    monkeypatch.setattr(outbox_module, "GIVE_UP", 0.2)
    attempts: list[int] = []

    def update(_result: taskresult_pb2.TaskResult, context: grpc.ServicerContext) -> None:
        attempts.append(1)
        if len(attempts) < 40:
            odd = len(attempts) % 2
            context.abort(grpc.StatusCode.UNKNOWN if odd else grpc.StatusCode.UNAVAILABLE, "not now")

    with ScriptedServer() as server, running(server.target) as (outbox, _):
        server.update = update
        outbox.put(completed("a"))
        assert outbox.flush(30)
        assert (outbox.given_up, len(server.updates)) == (0, 1)


def test_a_hand_back_keeps_the_output_message() -> None:
    message = any_pb2.Any(type_url="type.example.com/x", value=b"\x00\xff")
    with ScriptedServer() as server, running(server.target) as (outbox, _):
        came = a_task("a", worker_id="me", output_message=message)
        came.output_data["progress"].number_value = 3
        outbox.put(hand_back(Task.from_wire(came.SerializeToString())))
        (result,) = server.wait_for_updates(1)
    assert result.output_message == message
    assert (result.task_id, result.worker_id, result.output_data["progress"].number_value) == ("a", "me", 3)
