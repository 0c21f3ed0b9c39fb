"""The poller with a journal: what it writes, and what it does with what an earlier run has left."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from journals import FORMER, left_in, opened, poller_for, work
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import (
    Configuration,
    JournalError,
    ResourceError,
    Task,
    TaskPoller,
    TaskResult,
    TaskResultStatus,
    worker_task,
)
from conductor_grpc.pb.model import task_pb2, taskresult_pb2, tasksummary_pb2
from conductor_grpc.poller import outbox as outbox_module
from conductor_grpc.poller import recovery as recovery_module
from conductor_grpc.poller.intake import Intake
from conductor_grpc.poller.journal import Recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


IN_PROGRESS = taskresult_pb2.TaskResult.IN_PROGRESS
COMPLETED = taskresult_pb2.TaskResult.COMPLETED


@pytest.fixture(autouse=True)
def _polls_are_soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "POLLS_OVER", 0.1)


def of_the_former(task_id: str, poll_count: int = 1, worker_id: str = FORMER) -> Task:
    return Task(
        task_id=task_id,
        workflow_instance_id=f"workflow-of-{task_id}",
        task_def_name="work",
        poll_count=poll_count,
        worker_id=worker_id,
    )


def wire_of(task: Task) -> bytes:
    result = TaskResult(task.workflow_instance_id, task.task_id, TaskResultStatus.COMPLETED, {"from": "the former"})
    result.worker_id = task.worker_id
    return result.to_wire()


def on_the_server(task_id: str, worker_id: str = FORMER, status: int = task_pb2.Task.IN_PROGRESS) -> task_pb2.Task:
    return a_task(task_id, worker_id=worker_id, status=status)


def test_claims_and_outcomes_are_written_and_settled(tmp_path: Path) -> None:
    release = threading.Event()
    running = threading.Semaphore(0)

    @worker_task("work", concurrency=4)
    def held() -> None:
        running.release()
        release.wait(30)

    with ScriptedServer() as server:
        server.add(a_task("a"), a_task("b"))
        with poller_for(server, tmp_path, held) as poller:
            assert running.acquire(timeout=20)
            assert running.acquire(timeout=20)
            with pytest.raises(JournalError):
                poller_for(server, tmp_path).start()
            assert poller.health().journal_failure is None
            release.set()
            server.wait_for_updates(2)
    assert left_in(tmp_path) == Recovered(), "a stop in order leaves nothing, not even the worker id"


@pytest.mark.feature("Results that cannot be sent")
def test_what_the_server_does_not_take_is_sent_by_the_next_run(tmp_path: Path) -> None:
    def down(_result: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    with ScriptedServer() as server:
        server.add(a_task("a"))
        server.update = down
        poller = poller_for(server, tmp_path)
        poller.start()
        wait_for(lambda: server.attempts > 0)
        assert poller.stop(timeout=0).unsent == 1
        (outcome,) = left_in(tmp_path).outcomes
        assert outcome.claim.task_id == "a"

        server.update = lambda _result, _context: None
        server.get = {"a": on_the_server("a", outcome.claim.worker_id)}.get
        with poller_for(server, tmp_path):
            (result,) = server.wait_for_updates(1)
        assert result.output_data["ran"].string_value == "a"
    assert left_in(tmp_path) == Recovered()


def test_outcomes_of_an_earlier_run_are_sent_unless_the_server_has_them(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for task_id in ("new", "known", "gone", "reassigned"):
            task = of_the_former(task_id)
            journal.finished(task, wire_of(task))
    with ScriptedServer() as server:
        server.get = {
            "new": on_the_server("new"),
            "known": on_the_server("known", status=task_pb2.Task.COMPLETED),
            "reassigned": on_the_server("reassigned", "another"),
        }.get
        with poller_for(server, tmp_path) as poller:
            wait_for(lambda: poller.health().unsent == 0)
            wait_for(lambda: len(poller._parts.custody) == 0)
            assert poller.health().late == {"applied": 1, "gone": 1, "reassigned": 1}
        assert [(each.task_id, each.status) for each in server.updates] == [("new", COMPLETED)]
        assert server.updates[0].output_data["from"].string_value == "the former"
    assert left_in(tmp_path) == Recovered()


def test_unfinished_tasks_of_an_earlier_run_are_handed_back_if_they_still_are_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for task_id in ("open", "done", "gone", "reassigned", "again"):
            journal.claimed([of_the_former(task_id)])
    again = on_the_server("again")
    again.poll_count = 2
    with ScriptedServer() as server:
        server.get = {
            "open": on_the_server("open"),
            "done": on_the_server("done", status=task_pb2.Task.COMPLETED),
            "reassigned": on_the_server("reassigned", "another"),
            "again": again,
        }.get
        with poller_for(server, tmp_path) as poller:
            wait_for(lambda: not poller._parts.journal._state.recovered().claims)  # type: ignore[union-attr]
            server.add(a_task("other"))
            server.wait_for_updates(2)
    sent = {each.task_id: each for each in server.updates}
    assert set(sent) == {"open", "other"}
    assert (sent["open"].status, sent["open"].callback_after_seconds) == (IN_PROGRESS, 0)
    assert left_in(tmp_path) == Recovered()


def test_a_task_that_grpc_cannot_carry_is_handed_back_by_its_ids(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.claimed([of_the_former("poison")])
    with ScriptedServer() as server:
        server.unmappable = {"poison"}
        with poller_for(server, tmp_path):
            (sent,) = server.wait_for_updates(1)
    assert (sent.task_id, sent.workflow_instance_id, sent.status) == ("poison", "workflow-of-poison", IN_PROGRESS)
    assert left_in(tmp_path) == Recovered()


def test_tasks_that_never_reached_an_earlier_run_are_handed_back(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
        journal.claimed([of_the_former("claimed")])
    stranded = {task_id: on_the_server(task_id) for task_id in ("claimed", "stranded")}
    stranded["foreign"] = on_the_server("foreign", "another")

    def take(result: taskresult_pb2.TaskResult, _context: object) -> None:
        stranded[result.task_id].status = task_pb2.Task.SCHEDULED

    with ScriptedServer() as server:
        server.get, server.update = stranded.get, take
        server.search = lambda _query: [
            tasksummary_pb2.TaskSummary(task_id=task_id)
            for task_id, task in list(stranded.items())
            if task.status == task_pb2.Task.IN_PROGRESS
        ]
        with poller_for(server, tmp_path) as poller:
            wait_for(lambda: not poller._parts.recovery.alive)  # type: ignore[union-attr]
            wait_for(lambda: poller.health().unsent == 0)
    assert sorted((each.task_id, each.status) for each in server.updates) == [
        ("claimed", IN_PROGRESS),
        ("stranded", IN_PROGRESS),
    ]
    assert left_in(tmp_path) == Recovered()


def test_recovery_waits_for_a_server_that_is_down_and_holds_up_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
        journal.claimed([of_the_former("a")])
    failures = iter([True] * 3)

    def get(task_id: str) -> task_pb2.Task:
        if next(failures, False):
            raise ConnectionError("GetTask fails with UNKNOWN")
        return on_the_server(task_id)

    with ScriptedServer() as server:
        server.get = get
        server.add(a_task("new"))
        began = time.monotonic()
        with poller_for(server, tmp_path):
            first = server.wait_for_updates(1)[0]
            server.wait_for_updates(2)
    assert first.task_id == "new"
    assert time.monotonic() - began < 20
    assert {each.task_id for each in server.updates} == {"new", "a"}


def test_a_stop_does_not_wait_for_recovery_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "POLLS_OVER", 60.0)  # or the search for the worker id may end before the stop
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
        journal.claimed([of_the_former("a")])

    def down(_task_id: str) -> task_pb2.Task:
        raise ConnectionError("GetTask fails with UNKNOWN")

    with ScriptedServer() as server:
        server.get = down
        with poller_for(server, tmp_path):
            server.wait_for_polls(1)
    left = left_in(tmp_path)
    assert [claim.task_id for claim in left.claims] == ["a"]
    assert [worker.worker_id for worker in left.workers] == [FORMER]


def test_a_stop_while_recovery_waits_for_an_answer_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as journal:
        journal.claimed([of_the_former("a")])
    asked, answer = threading.Event(), threading.Event()

    def slow(_task_id: str) -> None:
        asked.set()
        answer.wait(20)

    with ScriptedServer() as server:
        server.get = slow
        try:
            poller = poller_for(server, tmp_path)
            poller.start()
            assert asked.wait(20)
            poller.stop()
            assert poller._parts.recovery is not None
            assert poller._parts.recovery.join(20)
        finally:
            answer.set()
        assert poller.join(20), "and raises nothing"
    assert not [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert [claim.task_id for claim in left_in(tmp_path).claims] == ["a"]


def test_a_start_that_fails_ends_the_recovery_it_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)

    def no_threads(_intake: Intake) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Intake, "start", no_threads)
    monkeypatch.setattr(recovery_module, "POLLS_OVER", 30.0)
    with ScriptedServer() as server:
        poller = poller_for(server, tmp_path)
        with pytest.raises(RuntimeError):
            poller.start()
        assert poller._parts.recovery is not None
        assert poller._parts.recovery.join(20)
        assert poller.join(0), "and raises nothing"
    assert not [record for record in caplog.records if record.levelname == "CRITICAL"]


def test_a_start_that_fails_before_it_polls_leaves_nothing_to_look_for(tmp_path: Path) -> None:
    def refused() -> Iterator[object]:
        raise OSError("no database")
        yield

    configuration = Configuration("", target="localhost:1", journal=tmp_path)
    with pytest.raises(ResourceError, match="no database"):
        TaskPoller([work], configuration, resources={"pool": refused}).start()
    assert left_in(tmp_path).workers == ()


def test_what_recovery_has_found_is_not_forgotten_before_it_is_handed_back(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)

    def down(_result: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "UpdateTask alone fails")

    with ScriptedServer() as server:
        server.get = {"stranded": on_the_server("stranded")}.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id="stranded")]
        server.update = down
        poller = poller_for(server, tmp_path)
        poller.start()
        wait_for(lambda: not poller._parts.recovery.alive)  # type: ignore[union-attr]
        assert poller.stop(timeout=0).unsent == 1

        server.search = lambda _query: []
        server.update = lambda _result, _context: None
        with poller_for(server, tmp_path):
            (sent,) = server.wait_for_updates(1)
    assert (sent.task_id, sent.status) == ("stranded", IN_PROGRESS)
    assert left_in(tmp_path) == Recovered()


def test_a_type_with_integers_is_polled_with_care_from_the_start(tmp_path: Path) -> None:
    def poisoned(request: object, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        del request
        context.abort(grpc.StatusCode.INTERNAL, "cannot map to Value type: 7")
        yield from ()

    with ScriptedServer() as server:
        server.poll = poisoned
        with poller_for(server, tmp_path):
            server.wait_for_polls(2)
        assert left_in(tmp_path).integer_types == {"work"}
        server.poll = server.hand_out
        server.polls.clear()
        server.add(*(a_task(str(number)) for number in range(10)))
        with poller_for(server, tmp_path):
            server.wait_for_updates(10)
        assert {poll.count for poll in server.polls} == {1}

        with_rest = Configuration("http://127.0.0.1:1/api", target=server.target, journal=tmp_path)
        poller = TaskPoller([work], with_rest)
        poller._parts.assemble()
        assert poller.health().workers[0].source == "rest"
        poller._abort()


@pytest.mark.parametrize("value", [None, "another", 7])
def test_a_worker_that_spoils_the_ids_of_its_task_harms_nothing(tmp_path: Path, value: object) -> None:
    """Journal, custody, lease and outbox go by the ids that the server gave."""

    @worker_task("work", concurrency=1)
    def spoils(task: Task) -> dict[str, int]:
        for name in ("task_id", "workflow_instance_id", "poll_count", "worker_id", "task_def_name"):
            setattr(task, name, value)
        return {"done": 1}

    with ScriptedServer() as server:
        server.add(*(a_task(name, response_timeout_seconds=60) for name in ("a", "b")))
        with poller_for(server, tmp_path, spoils) as poller:
            results = server.wait_for_updates(2)
            wait_for(lambda: poller.health().unsent == 0)
            assert (len(poller._parts.custody), len(poller._parts.leases)) == (0, 0)
    # With the ids of another task it fails, since a result for that one is none of its business.
    status = COMPLETED if value is None else taskresult_pb2.TaskResult.FAILED_WITH_TERMINAL_ERROR
    assert [(each.task_id, each.workflow_instance_id, each.status) for each in results] == [
        ("a", "workflow-of-a", status),
        ("b", "workflow-of-b", status),
    ]
    assert left_in(tmp_path) == Recovered()


def test_what_is_given_up_leaves_memory_and_is_tried_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexplained(_result: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNKNOWN, "nobody knows")

    monkeypatch.setattr(outbox_module, "GIVE_UP", 0.0)
    with ScriptedServer() as server:
        server.add(a_task("a"))
        server.update = unexplained
        with poller_for(server, tmp_path) as poller:
            wait_for(lambda: poller.health().given_up == 1)
            assert poller._parts.journal is not None
            state = poller._parts.journal._state
            wait_for(lambda: not state.recovered().outcomes)
        (outcome,) = left_in(tmp_path).outcomes
        server.update = lambda _result, _context: None
        server.get = {"a": on_the_server("a", outcome.claim.worker_id)}.get
        with poller_for(server, tmp_path):
            server.wait_for_updates(1)
    assert left_in(tmp_path) == Recovered()


def test_work_goes_on_where_the_journal_cannot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with ScriptedServer() as server, poller_for(server, tmp_path / "file" / "folder") as poller:
        server.add(a_task("a"))
        server.wait_for_updates(1)
        health = poller.health()
        assert health.journal_failure is not None
        assert health.healthy
    assert sum("journal" in record.getMessage() and record.levelname == "ERROR" for record in caplog.records) == 1
