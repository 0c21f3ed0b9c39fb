"""Tasks that may be what kills their processes: how often they are handed back, and what ends that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from journals import FORMER, left_in, opened, poller_for, work
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, TaskResult, TaskResultStatus, worker_task
from conductor_grpc.pb.model import task_pb2, taskresult_pb2, tasksummary_pb2
from conductor_grpc.poller import recovery as recovery_module
from conductor_grpc.poller.journal import Recovered, state
from conductor_grpc.poller.journal import journal as journal_module

if TYPE_CHECKING:
    from pathlib import Path

IN_PROGRESS = taskresult_pb2.TaskResult.IN_PROGRESS
FAILED = taskresult_pb2.TaskResult.FAILED


@pytest.fixture(autouse=True)
def _polls_are_soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_module, "POLLS_OVER", 0.1)


def held(poll_count: int) -> Task:
    return Task(
        task_id="deadly",
        workflow_instance_id="workflow-of-deadly",
        task_def_name="work",
        poll_count=poll_count,
        worker_id=FORMER,
    )


def killed_with(folder: Path, poll_count: int) -> None:
    """What a run leaves that was killed while it ran the task."""
    with opened(folder) as journal:
        journal.claimed([held(poll_count)])


def next_run(folder: Path, poll_count: int, **settings: int | None) -> taskresult_pb2.TaskResult:
    """What it says of the task that it finds."""

    def get(_task_id: str) -> task_pb2.Task:
        found = a_task("deadly", worker_id=FORMER, status=task_pb2.Task.IN_PROGRESS)
        found.poll_count = poll_count
        found.output_data["step"].string_value = "begun"
        return found

    @worker_task("work")
    def work() -> None: ...

    with ScriptedServer() as server:
        server.get = get
        configuration = Configuration("", target=server.target, poll_wait_ms=200, journal=folder, **settings)  # type: ignore[arg-type]
        with TaskPoller([work], configuration):
            (update,) = server.wait_for_updates(1)
    assert left_in(folder) == Recovered()
    return update


def test_the_third_process_that_dies_with_a_task_is_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for poll_count in (1, 2):
        killed_with(tmp_path, poll_count)
        assert next_run(tmp_path, poll_count).status == IN_PROGRESS
    assert "is failed" not in caplog.text
    killed_with(tmp_path, 3)
    update = next_run(tmp_path, 3)
    assert update.status == FAILED, "an attempt that counts: the server tries again as the definition says"
    assert update.reason_for_incompletion.startswith("3 processes in a row died while they had this task")
    assert update.output_data["step"].string_value == "begun"
    assert "task deadly of type 'work' is failed: 3 processes have died with it" in caplog.text


@pytest.mark.parametrize(("limit", "status"), [(1, FAILED), (2, IN_PROGRESS), (None, IN_PROGRESS)])
def test_the_limit_is_a_setting(tmp_path: Path, limit: int | None, status: int) -> None:
    killed_with(tmp_path, 1)
    assert next_run(tmp_path, 1, crash_limit=limit).status == status


def test_one_death_counts_once_however_often_it_is_looked_at(tmp_path: Path) -> None:
    killed_with(tmp_path, 1)
    for _ in range(5):
        with opened(tmp_path) as journal:
            (claim,) = journal.recover().claims
            assert journal.crashed(claim) == 1
            assert journal.crashed(claim) == 1


def test_a_task_that_was_run_after_all_begins_anew(tmp_path: Path) -> None:
    for poll_count in (1, 2):
        killed_with(tmp_path, poll_count)
        next_run(tmp_path, poll_count)
    with opened(tmp_path) as journal:
        done = held(3)
        result = TaskResult(done.workflow_instance_id, done.task_id, TaskResultStatus.COMPLETED)
        journal.finished(done, result.to_wire())
        journal.settled((done.task_id, done.poll_count))
    killed_with(tmp_path, 4)
    assert next_run(tmp_path, 4).status == IN_PROGRESS


def test_it_is_remembered_in_the_next_file_and_for_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = state.Claim.of(held(1))
    with opened(tmp_path) as journal:
        assert journal.crashed(claim) == 1
    with opened(tmp_path) as journal:  # which has moved to a new file
        assert journal.crashed(claim._replace(poll_count=2)) == 2
    monkeypatch.setattr(journal_module, "CRASHES_KEPT", 0.0)
    time.sleep(0.002)  # the clock goes by milliseconds
    with opened(tmp_path) as journal:
        assert journal.crashed(claim._replace(poll_count=3)) == 1


def test_it_counts_as_well_where_the_search_for_its_worker_finds_the_task_first(tmp_path: Path) -> None:
    killed_with(tmp_path, 1)
    with opened(tmp_path) as journal:
        journal.worker(FORMER, "work", None)
    found = a_task("deadly", worker_id=FORMER, status=task_pb2.Task.IN_PROGRESS)
    found.poll_count = 1
    looks = iter([None])  # the first one fails

    def get(_task_id: str) -> task_pb2.Task:
        if next(looks, found) is None:
            raise ConnectionError("the database is away")
        return found

    with ScriptedServer() as server:
        server.get = get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id="deadly", workflow_id="w")]
        configuration = Configuration("", target=server.target, poll_wait_ms=200, journal=tmp_path, crash_limit=1)
        with TaskPoller([work], configuration):
            (update,) = server.wait_for_updates(1)
    assert update.status == FAILED


def test_a_task_that_nobody_can_see_is_handed_back_all_the_same(tmp_path: Path) -> None:
    """It may be with another worker by now: failed blindly, its work would be lost."""
    killed_with(tmp_path, 1)
    with ScriptedServer() as server:
        server.unmappable = {"deadly"}
        with poller_for(server, tmp_path):
            (update,) = server.wait_for_updates(1)
    assert update.status == IN_PROGRESS
    wait_for(lambda: left_in(tmp_path) == Recovered())
