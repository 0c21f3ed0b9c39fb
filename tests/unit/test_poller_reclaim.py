"""Which tasks are found again, and whose they are."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task

from conductor_grpc import Configuration, Task, TaskPoller, worker_task
from conductor_grpc.errors import NotFoundError, UnmappablePayloadError
from conductor_grpc.pb.model import tasksummary_pb2
from conductor_grpc.poller import reclaim as reclaim_module
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.reclaim import GrpcReclaim, Reclaim, RestReclaim, TaskFinder
from conductor_grpc.poller.sources import Unreadable
from conductor_grpc.transport.channel import open_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.transport.channel import Channel


def a_document(task_id: str, status: str = "IN_PROGRESS", worker_id: str = "me", **fields: Any) -> dict[str, Any]:
    return {
        "taskId": task_id,
        "status": status,
        "workerId": worker_id,
        "workflowInstanceId": "w",
        "inputData": {"n": 7},
        **fields,
    }


class FakeRest:
    """The part of RestClient that reclaiming uses. Like the server it lists what is pending in no order."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = list(documents)
        self.counts: list[int] = []
        self.listing = lambda: None

    def pending_tasks(self, _task_type: str, count: int) -> list[dict[str, Any]]:
        self.counts.append(count)
        documents = self.documents[:count]
        self.listing()
        return documents

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        return next((each for each in self.documents if each["taskId"] == task_id), None)


def look(reclaim: Reclaim, most: int = 10) -> list[Task | Unreadable]:
    return reclaim.stranded("work", "me", int(time.time() * 1000), most).tasks


def ids(found: list[Task | Unreadable]) -> list[str]:
    return sorted(each.task_id for each in found)


def rest_reclaim(rest: FakeRest, custody: Custody) -> RestReclaim:
    return RestReclaim(rest, custody)  # type: ignore[arg-type]


def test_over_rest_only_what_is_in_progress_and_ours_and_not_in_hand() -> None:
    custody = Custody()
    custody.take("held")
    rest = FakeRest(
        a_document("held"),
        a_document("queued", "SCHEDULED"),
        a_document("foreign", worker_id="somebody else"),
        a_document("of the other lane", worker_id="me1"),
        a_document("stranded"),
        a_document("odd", inputData="no object"),
    )
    found = look(rest_reclaim(rest, custody))
    assert ids(found) == ["odd", "stranded"]
    stranded = next(each for each in found if each.task_id == "stranded")
    assert isinstance(stranded, Task)
    assert stranded.input_data == {"n": 7}
    assert isinstance(next(each for each in found if each.task_id == "odd"), Unreadable)


def test_over_rest_a_task_released_after_the_list_was_made_is_not_stranded() -> None:
    custody = Custody()
    custody.take("a")
    rest = FakeRest(a_document("a"))
    rest.listing = lambda: custody.release("a")
    assert look(rest_reclaim(rest, custody)) == []


def test_a_long_list_is_asked_for_in_growing_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim_module, "LIST_FIRST", 2)
    monkeypatch.setattr(reclaim_module, "LIST_LIMIT", 32)
    rest = FakeRest(*(a_document(f"queued{n}", "SCHEDULED") for n in range(9)), a_document("stranded"))
    assert ids(look(rest_reclaim(rest, Custody()))) == ["stranded"]
    assert rest.counts == [2, 8, 32]


def test_a_list_beyond_the_limit_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(reclaim_module, "LIST_FIRST", 2)
    monkeypatch.setattr(reclaim_module, "LIST_LIMIT", 8)
    rest = FakeRest(a_document("stranded"), *(a_document(f"queued{n}", "SCHEDULED") for n in range(20)))
    assert ids(look(rest_reclaim(rest, Custody()))) == ["stranded"]
    assert rest.counts == [2, 8]
    assert "more than 8 tasks of type 'work'" in caplog.text


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def channel(server: ScriptedServer) -> Iterator[Channel]:
    with open_channel(Configuration("", target=server.target)) as channel:
        yield channel


def in_progress(server: ScriptedServer, *tasks: Any, hidden: tuple[str, ...] = ()) -> None:
    """The server's index lists `tasks`, and `hidden` ones that gRPC cannot carry."""
    server.get = {task.task_id: task for task in tasks}.get
    server.unmappable.update(hidden)
    listed = [*(task.task_id for task in tasks), *hidden]
    server.search = lambda _query: [
        tasksummary_pb2.TaskSummary(task_id=task_id, workflow_id=f"workflow-of-{task_id}") for task_id in listed
    ]


def test_over_grpc_only_what_is_ours_and_not_in_hand(server: ScriptedServer, channel: Channel) -> None:
    custody = Custody()
    custody.take("held")
    in_progress(
        server,
        a_task("held", worker_id="me"),
        a_task("foreign", worker_id="somebody else"),
        a_task("stranded", worker_id="me"),
    )
    assert ids(look(GrpcReclaim(channel, custody))) == ["stranded"]


def test_over_grpc_the_index_is_asked_for_this_type_in_progress_since_the_poll(
    server: ScriptedServer, channel: Channel
) -> None:
    asked: list[str] = []

    def search(query: str) -> list[tasksummary_pb2.TaskSummary]:
        asked.append(query)
        return []

    server.search = search
    GrpcReclaim(channel, Custody()).stranded("work", "me", 1_000_000, 1)
    assert asked == ["taskType=work AND status=IN_PROGRESS AND updateTime>970000"]


def test_over_grpc_a_task_that_has_gone_since_the_search_is_no_error(server: ScriptedServer, channel: Channel) -> None:
    server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id="gone")]
    assert look(GrpcReclaim(channel, Custody())) == []


def test_over_grpc_a_task_taken_and_released_during_the_look_is_not_stranded(
    server: ScriptedServer, channel: Channel
) -> None:
    custody = Custody()
    task = a_task("a", worker_id="me")

    def get(_task_id: str) -> Any:
        custody.take("a")
        custody.release("a")
        return task

    in_progress(server, task)
    server.get = get
    assert look(GrpcReclaim(channel, custody)) == []


@pytest.mark.parametrize(("most", "expected"), [(3, ["a", "b", "mine"]), (2, ["mine"])])
def test_over_grpc_hidden_tasks_are_ours_only_if_the_poll_can_have_lost_them_all(
    server: ScriptedServer, channel: Channel, caplog: pytest.LogCaptureFixture, most: int, expected: list[str]
) -> None:
    in_progress(server, a_task("mine", worker_id="me"), hidden=("a", "b"))
    found = look(GrpcReclaim(channel, Custody()), most)
    assert ids(found) == expected
    hidden = [each for each in found if isinstance(each, Unreadable)]
    assert all(each.workflow_instance_id == f"workflow-of-{each.task_id}" for each in hidden)
    assert ("some belong to other workers" in caplog.text) == (hidden == [])


def test_a_hidden_task_that_is_in_hand_is_not_found_twice(server: ScriptedServer, channel: Channel) -> None:
    custody = Custody()
    custody.take("a")
    in_progress(server, hidden=("a",))
    assert look(GrpcReclaim(channel, custody)) == []


def test_a_task_is_found_over_grpc_or_where_it_holds_integers_over_rest(
    server: ScriptedServer, channel: Channel
) -> None:
    in_progress(server, a_task("plain"), hidden=("integers", "gone"))
    finder = TaskFinder(channel, FakeRest(a_document("integers")))  # type: ignore[arg-type]
    plain, integers = finder.find("plain"), finder.find("integers")
    assert plain is not None
    assert integers is not None
    assert (plain.task_id, integers.input_data) == ("plain", {"n": 7})
    assert finder.find("unknown") is None
    assert finder.find("gone") is None
    with pytest.raises(UnmappablePayloadError):
        TaskFinder(channel).find("integers")


def test_a_rest_address_that_leads_elsewhere_is_no_statement_about_the_task(
    server: ScriptedServer, channel: Channel
) -> None:
    server.unmappable.add("a")
    rest = FakeRest()

    def refuse(_task_id: str) -> None:
        raise NotFoundError("no route", code=grpc.StatusCode.NOT_FOUND, method="GET", details="")

    rest.get_task = refuse  # type: ignore[method-assign]
    with pytest.raises(NotFoundError):
        TaskFinder(channel, rest).find("a")  # type: ignore[arg-type]


def test_what_is_found_again_while_all_slots_are_taken_waits_and_holds_back_the_next_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six stranded, one slot: they run one after the other, and the seventh is left on the queue meanwhile."""
    stranded: dict[str, Any] = {}
    running, go = threading.Semaphore(0), threading.Semaphore(0)
    ran: list[str] = []
    broken = threading.Event()

    @worker_task("work", concurrency=1)
    def slow(task: Task) -> None:
        ran.append(task.task_id)
        running.release()
        go.acquire(timeout=30)

    def poll(request: Any, context: Any) -> Any:
        if broken.is_set():
            yield from server.hand_out(request, context)
            return
        broken.set()
        for n in range(6):
            stranded[str(n)] = a_task(str(n), worker_id=request.worker_id)
        in_progress(server, *stranded.values())
        context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    monkeypatch.setattr("conductor_grpc.poller.intake.SETTLING", 0.0)
    with ScriptedServer() as server:
        server.poll = poll
        with TaskPoller([slow], Configuration("", target=server.target, poll_wait_ms=50)):
            assert running.acquire(timeout=20)
            polls = len(server.polls)
            server.add(a_task("queued"))
            for _ in range(5):
                go.release()
                assert running.acquire(timeout=20)
            assert len(server.polls) == polls, "polled although every slot was owed"
            assert [task.task_id for task in server.queue] == ["queued"]
            for _ in range(2):
                go.release()
            server.wait_for_updates(7)
    assert sorted(ran) == [*"012345", "queued"]
