"""Which tasks are found again, and whose they are."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task

from conductor_grpc import Configuration, MetadataClient, Task, TaskPoller, WorkflowClient, worker_task
from conductor_grpc.errors import (
    NotFoundError,
    ServerError,
    UnavailableError,
    UnknownServerError,
    UnmappablePayloadError,
)
from conductor_grpc.pb.model import tasksummary_pb2
from conductor_grpc.poller import reclaim_rest
from conductor_grpc.poller.custody import Custody
from conductor_grpc.poller.reclaim import GrpcReclaim, Reclaim, TaskFinder, TaskIndex
from conductor_grpc.poller.reclaim_rest import Bound, RestReclaim
from conductor_grpc.poller.sources import Unreadable
from conductor_grpc.server.embedded import EmbeddedServer
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.task_stream import Listing
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def list_pending(
        self, _task_type: str, count: int, keep: Callable[[dict[str, Any]], bool], *, most_bytes: int, seconds: float
    ) -> Listing:
        del seconds
        self.counts.append(count)
        documents = self.documents[:count]
        self.listing()
        bytes_read = 2_000 * len(documents)
        cut = "it is longer" if bytes_read > most_bytes else ""
        seen = documents[: most_bytes // 2_000]
        return Listing([each for each in seen if keep(each)], len(seen), bytes_read, cut)

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        return next((each for each in self.documents if each["taskId"] == task_id), None)


def look(reclaim: Reclaim, most: int = 10) -> list[Task | Unreadable]:
    return reclaim.stranded("work", "me", int(time.time() * 1000), most).tasks


def ids(found: list[Task | Unreadable]) -> list[str]:
    return sorted(each.task_id for each in found)


class FakeIndex:
    """The server's index of tasks; None: it has none."""

    def __init__(self, *task_ids: str, total: int | None = None) -> None:
        self.found = [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in task_ids]
        self.total = len(task_ids) if total is None else total
        self.queued = 0
        self.asked: list[int] = []

    def in_progress(self, _task_type: str, since_ms: int) -> tuple[list[tasksummary_pb2.TaskSummary], bool]:
        self.asked.append(since_ms)
        return self.found, self.total <= len(self.found)

    def waiting(self, _task_type: str) -> int:
        return self.queued

    def knows(self, _task_type: str) -> bool:
        return self.total > 0


class FakeFinder:
    """GetTask; of those in `hidden` it says that they hold integers."""

    def __init__(self, *tasks: Task, hidden: tuple[str, ...] = ()) -> None:
        self.tasks = {task.task_id: task for task in tasks}
        self.hidden = hidden

    def over_grpc(self, task_id: str) -> Task | None:
        if task_id in self.hidden:
            raise UnmappablePayloadError(code=grpc.StatusCode.INTERNAL)
        return self.tasks.get(task_id)


def rest_reclaim(
    rest: FakeRest, custody: Custody, index: FakeIndex | None = None, finder: FakeFinder | None = None
) -> RestReclaim:
    return RestReclaim(rest, index or FakeIndex(), finder or FakeFinder(), custody)  # type: ignore[arg-type]


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


def queued(count: int) -> list[dict[str, Any]]:
    return [a_document(f"queued{n}", "SCHEDULED") for n in range(count)]


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim_rest, "FIRST", Bound(4, 1_000_000, 10.0))
    monkeypatch.setattr(reclaim_rest, "WHOLE", Bound(32, 1_000_000, 10.0))


class Clock:
    """Stands for `time` in the module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(reclaim_rest, "time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.usefixtures("small_bounds")
def test_with_a_backlog_the_index_is_asked_and_each_task_looked_up() -> None:
    custody = Custody()
    custody.take("held", 1)

    def on_the_server(task_id: str, worker_id: str = "me", status: TaskStatus = TaskStatus.IN_PROGRESS) -> Task:
        return Task(task_id=task_id, worker_id=worker_id, status=status, poll_count=1)

    rest = FakeRest(
        *queued(9), a_document("integers"), a_document("of others", worker_id="you"), a_document("odd", inputData="no")
    )
    finder = FakeFinder(
        on_the_server("plain"),
        on_the_server("held"),
        on_the_server("foreign", "you"),
        on_the_server("ended", status=TaskStatus.COMPLETED),
        hidden=("integers", "of others", "odd"),
    )
    index = FakeIndex("plain", "held", "foreign", "ended", "gone", "integers", "of others", "odd")
    found = rest_reclaim(rest, custody, index, finder).stranded("work", "me", 7, 0)
    assert ids(found.tasks) == ["integers", "odd", "plain"]
    assert found.complete
    assert rest.counts == [4]
    assert index.asked == [7]


@pytest.mark.usefixtures("small_bounds")
def test_more_hits_than_the_index_returns_are_told() -> None:
    index = FakeIndex("a", total=501)
    assert not rest_reclaim(FakeRest(*queued(9)), Custody(), index).stranded("work", "me", 7, 0).complete


@pytest.mark.usefixtures("small_bounds")
def test_without_an_index_the_whole_list_is_read() -> None:
    rest = FakeRest(*queued(9), a_document("stranded"))
    assert ids(look(rest_reclaim(rest, Custody()))) == ["stranded"]
    assert rest.counts == [4, 32]


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("error", [UnknownServerError, UnavailableError])
def test_an_index_that_fails_is_none_unless_that_passes(error: type[ServerError]) -> None:
    rest, index = FakeRest(*queued(9), a_document("stranded")), FakeIndex()

    def fail(*_: object) -> Any:
        raise error(code=grpc.StatusCode.UNKNOWN)

    index.in_progress = index.waiting = fail  # type: ignore[assignment]
    if error is UnavailableError:
        with pytest.raises(UnavailableError):
            look(rest_reclaim(rest, Custody(), index))
    else:
        assert ids(look(rest_reclaim(rest, Custody(), index))) == ["stranded"]


@pytest.mark.usefixtures("small_bounds")
def test_a_list_beyond_the_limit_is_told_and_what_was_read_of_it_is_found(caplog: pytest.LogCaptureFixture) -> None:
    rest = FakeRest(a_document("stranded"), *queued(40))
    found = rest_reclaim(rest, Custody()).stranded("work", "me", 0, 0)
    assert ids(found.tasks) == ["stranded"]
    assert not found.complete
    assert "longer than can be read (32 tasks, 1000000 bytes" in caplog.text


def test_a_list_of_too_many_bytes_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim_rest, "FIRST", Bound(100, 10_000, 10.0))
    monkeypatch.setattr(reclaim_rest, "WHOLE", Bound(100, 10_000, 10.0))
    found = rest_reclaim(FakeRest(a_document("stranded"), *queued(40)), Custody()).stranded("work", "me", 0, 0)
    assert (ids(found.tasks), found.complete) == (["stranded"], False)


@pytest.mark.usefixtures("small_bounds")
def test_looks_are_as_rare_as_they_are_dear(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand tasks of 2 kB may be read every 40 s, not at every poll that fails."""
    monkeypatch.setattr(reclaim_rest, "RATE", 1_000)
    rest = FakeRest(*queued(31))
    reclaim = rest_reclaim(rest, Custody())
    assert reclaim.stranded("work", "me", 0, 0).again is None
    refused = reclaim.stranded("work", "me", 0, 0)
    assert (refused.tasks, refused.complete) == ([], False)
    assert refused.again == pytest.approx((4 + 31) * 2 - reclaim_rest.CREDIT)
    assert rest.counts == [4, 32]
    clock.now += refused.again
    assert reclaim.stranded("work", "me", 0, 0).complete
    assert rest.counts == [4, 32, 4, 32]
    assert reclaim.stranded("other work", "me", 0, 0).complete, "each type has a rate of its own"


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize(("queued_there", "lists"), [(3, [4]), (4, [])])
def test_the_list_is_not_even_asked_for_where_the_index_tells_of_a_backlog(queued_there: int, lists: list[int]) -> None:
    rest, index = FakeRest(*queued(9)), FakeIndex("a")
    index.queued = queued_there
    assert rest_reclaim(rest, Custody(), index).stranded("work", "me", 0, 0).complete
    assert rest.counts == lists
    assert index.asked == [0]


def test_a_slow_look_is_dear(clock: Clock) -> None:
    rest = FakeRest()

    def take_three_seconds() -> None:
        clock.now += 3.0

    rest.listing = take_three_seconds
    reclaim = rest_reclaim(rest, Custody())
    reclaim.stranded("work", "me", 0, 0)
    assert reclaim.stranded("work", "me", 0, 0).again == pytest.approx(20.0 - reclaim_rest.CREDIT)


def test_a_look_that_fails_is_dear_too(clock: Clock) -> None:
    rest = FakeRest()

    def fail() -> None:
        clock.now += 11.0
        raise UnavailableError(code=grpc.StatusCode.DEADLINE_EXCEEDED)

    rest.listing = fail
    reclaim = rest_reclaim(rest, Custody())
    with pytest.raises(UnavailableError):
        reclaim.stranded("work", "me", 0, 0)
    assert reclaim.stranded("work", "me", 0, 0).again == pytest.approx(100.0 - reclaim_rest.CREDIT)


@pytest.mark.usefixtures("small_bounds", "clock")
def test_the_last_look_is_not_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim_rest, "RATE", 1_000)
    rest = FakeRest(*queued(31), a_document("stranded"))
    reclaim = rest_reclaim(rest, Custody())
    reclaim.stranded("work", "me", 0, 0)
    assert look(reclaim) == []
    assert ids(reclaim.stranded("work", "me", 0, 0, last=True).tasks) == ["stranded"]


@pytest.mark.usefixtures("clock")
def test_a_few_short_lists_may_be_read_at_once() -> None:
    reclaim = rest_reclaim(FakeRest(*queued(50)), Custody())
    assert all(reclaim.stranded("work", "me", 0, 0).complete for _ in range(10))


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


def test_how_many_wait_is_told_by_the_queue() -> None:
    with EmbeddedServer(strict=True) as embedded:
        configuration = Configuration(target=embedded.target)
        with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as workflows:
            metadata.register_task({"name": "work", "ownerEmail": "owner@example.com"})
            task = {"name": "work", "taskReferenceName": "only", "type": "SIMPLE"}
            metadata.register_workflow({"name": "flow", "version": 1, "schemaVersion": 2, "tasks": [task]})
            for _ in range(3):
                workflows.start("flow")
        with open_channel(configuration) as channel:
            assert TaskIndex(channel).waiting("work") == 3
            assert TaskIndex(channel).waiting("other") == 0


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
