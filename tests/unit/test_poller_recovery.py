"""What recovery does where the server does not show what an earlier run has left."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING
from unittest.mock import Mock

import grpc
import pytest
from journals import FORMER, left_in, opened, poller_for
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import PayloadDecodeError, Task, TaskStatus
from conductor_grpc.errors import UnavailableError, UnknownServerError
from conductor_grpc.pb.model import task_pb2, tasksummary_pb2
from conductor_grpc.poller import recovery as recovery_module
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.journal import Journal, Recovered
from conductor_grpc.poller.reclaim import Found
from conductor_grpc.poller.recovery import Recovery
from conductor_grpc.poller.sources import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc.poller.outbox_updates import Update


@pytest.fixture(autouse=True)
def _polls_are_soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "POLLS_OVER", 0.1)


def of_the_former(task_id: str, poll_count: int = 1, task_type: str = "work") -> Task:
    return Task(
        task_id=task_id,
        workflow_instance_id=f"workflow-of-{task_id}",
        task_def_name=task_type,
        poll_count=poll_count,
        worker_id=FORMER,
    )


def on_the_server(task_id: str) -> task_pb2.Task:
    return a_task(task_id, worker_id=FORMER, status=task_pb2.Task.IN_PROGRESS)


class Bench:
    """A Recovery whose journal is real, before a server and an outbox that are not."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.reclaim, self.finder = Mock(), Mock()
        self.reclaim.stranded.return_value = Found([], complete=True)
        self.custody = Custody()
        self.put: list[Update] = []
        self.recovery = Recovery(
            journal, self.custody, Mock(put=self.put.append), self.reclaim, self.finder, lambda *_: pytest.fail("died")
        )

    def run(self) -> None:
        self.recovery.start()
        assert self.recovery.join(20), "it does not end"

    def handed_back(self) -> list[str]:
        return [update.task.task_id for update in self.put]


def down(_task_id: str) -> None:
    raise UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE, method="GET /tasks")


def test_what_fails_for_ever_holds_up_nothing_else(tmp_path: Path) -> None:
    """The first task cannot be seen, and the first worker id cannot be searched for."""
    with opened(tmp_path) as journal:
        journal.worker(f"{FORMER}bad", "bad", None)
        journal.worker(FORMER, "work", None)
        journal.claimed([of_the_former("bad"), of_the_former("good")])

    def get(task_id: str) -> task_pb2.Task:
        if task_id == "bad":
            raise ConnectionError("GetTask fails with UNKNOWN")
        return on_the_server(task_id)

    def search(query: str) -> list[tasksummary_pb2.TaskSummary]:
        if "taskType=bad" in query:
            raise ConnectionError("Search fails with UNKNOWN")
        return [tasksummary_pb2.TaskSummary(task_id="stranded")] if "stranded" not in taken else []

    taken: set[str] = set()
    with ScriptedServer() as server:
        server.get, server.search = get, search
        server.update = lambda result, _context: taken.add(result.task_id)
        with poller_for(server, tmp_path) as poller:
            server.wait_for_updates(2)
            assert poller._parts.journal is not None
            journal = poller._parts.journal
            wait_for(lambda: FORMER not in {each.worker_id for each in journal._state.recovered().workers})
    assert sorted(each.task_id for each in server.updates) == ["good", "stranded"]
    left = left_in(tmp_path)
    assert [claim.task_id for claim in left.claims] == ["bad"], "for the next run"
    assert [worker.worker_id for worker in left.workers] == [f"{FORMER}bad"]


def test_a_search_that_never_succeeds_ends_and_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery_module, "PATIENCE", 0.0)
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
    with opened(tmp_path) as journal:
        it = Bench(journal)
        it.reclaim.stranded.side_effect = UnknownServerError("no index", code=grpc.StatusCode.UNKNOWN)
        it.run()
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    for part in (FORMER, "'work'", "response timeout", "base_url", "no index"):
        assert part in said
    assert left_in(tmp_path) == Recovered()


def test_a_server_that_is_down_is_waited_for_however_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "PATIENCE", 0.0)
    with opened(tmp_path) as journal:
        journal.claimed([of_the_former("a")])
    with opened(tmp_path) as journal:
        it = Bench(journal)
        again = threading.Semaphore(0)
        it.finder.find.side_effect = lambda task_id: (again.release(), down(task_id))
        it.recovery.start()
        for _ in range(3):
            assert again.acquire(timeout=20)
        it.finder.find.side_effect = lambda _: Task(
            task_id="a", status=TaskStatus.IN_PROGRESS, worker_id=FORMER, poll_count=1
        )
        assert it.recovery.join(20)
        assert it.handed_back() == ["a"]


def test_a_task_that_cannot_be_seen_is_handed_back_by_one_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Later it may well be with another worker, from which that would take it."""
    monkeypatch.setattr(recovery_module, "PATIENCE", 0.0)
    with opened(tmp_path) as journal:
        journal.claimed([of_the_former("a")])
    with opened(tmp_path) as journal:
        it = Bench(journal)
        it.finder.find.side_effect = PayloadDecodeError("base_url leads to a login page")
        it.run()
        assert it.handed_back() == ["a"]
        assert it.put[0].task.workflow_instance_id == "workflow-of-a"
        on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("journal-*"))
        assert b'[["a", 1]]' in on_disk, "it was forgotten before"
    assert "a login page" in caplog.text
    assert "runs twice" in caplog.text
    assert left_in(tmp_path) == Recovered()


def test_a_task_with_integers_is_not_handed_back_unseen_where_rest_shows_it(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.claimed([of_the_former("mine"), of_the_former("theirs")])
    shown = {
        "mine": {"taskId": "mine", "status": "IN_PROGRESS", "workerId": FORMER, "pollCount": 1, "inputData": {"x": 7}},
        "theirs": {"taskId": "theirs", "status": "IN_PROGRESS", "workerId": "other", "pollCount": 2},
    }
    with ScriptedServer() as server:
        server.unmappable = {"mine", "theirs"}
        poller = poller_for(server, tmp_path)
        assemble = poller._parts.assemble

        def with_rest() -> None:
            assemble()
            assert poller._parts._finder is not None
            poller._parts._finder._rest = Mock(get_task=shown.get)

        poller._parts.assemble = with_rest  # type: ignore[method-assign]
        with poller:
            wait_for(lambda: not poller._parts.recovery.alive)  # type: ignore[union-attr]
            server.wait_for_updates(1)
    assert [each.task_id for each in server.updates] == ["mine"]
    assert left_in(tmp_path) == Recovered()


def test_what_both_its_claim_and_its_worker_id_lead_to_is_handed_back_once(tmp_path: Path) -> None:
    """The second time it might be with another worker already."""
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
        journal.claimed([of_the_former("a")])
    with opened(tmp_path) as journal:
        it = Bench(journal)
        mine = Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id=FORMER, poll_count=1)
        answers = iter([UnavailableError("down", code=grpc.StatusCode.UNAVAILABLE)])

        def find(_task_id: str) -> Task:
            for failure in answers:
                raise failure
            return mine

        it.finder.find.side_effect = find
        it.reclaim.stranded.side_effect = [Found([mine], complete=True), Found([], complete=True)]
        it.run()
        assert it.handed_back() == ["a"]
        assert it.finder.find.call_count == 2


def test_a_task_found_but_not_readable_is_known_by_its_worker_id_in_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
    with opened(tmp_path) as journal:
        it = Bench(journal)
        item = Unreadable("a", "workflow-of-a", PayloadDecodeError("an unknown status"))
        it.reclaim.stranded.side_effect = [Found([item], complete=True), Found([], complete=True)]
        it.run()
        assert it.handed_back() == ["a"], "which never reaches the server"
    with opened(tmp_path) as journal:
        it = Bench(journal)
        it.finder.find.return_value = Task(task_id="a", status=TaskStatus.IN_PROGRESS, worker_id=FORMER, poll_count=3)
        it.run()
        assert it.handed_back() == ["a"]


def test_outcomes_of_an_earlier_run_are_not_kept_once_they_are_sent(tmp_path: Path) -> None:
    size = 1_000_003
    with opened(tmp_path) as journal:
        task = of_the_former("a")
        journal.finished(task, b"x" * size)

    def kept() -> int:
        gc.collect()
        return sum(type(each) is bytes and len(each) == size for tuple_ in _tuples() for each in tuple_)

    with opened(tmp_path) as journal:
        it = Bench(journal)
        it.recovery.send_outcomes()
        assert kept() > 0
        (update,) = it.put
        it.journal.settled((update.task.task_id, update.task.poll_count))
        it.put.clear()
        del update
        assert kept() == 0


def _tuples() -> list[tuple[object, ...]]:
    return [each for each in gc.get_objects() if isinstance(each, tuple)]
