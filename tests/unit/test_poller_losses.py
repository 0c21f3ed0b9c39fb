"""Polls that broke and what they lost: nothing is missed, taken from others, run twice, or asked for without end."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, Task, TaskPoller, worker_task
from conductor_grpc.pb.model import taskresult_pb2, tasksummary_pb2
from conductor_grpc.poller import intake as intake_module
from conductor_grpc.poller import parts, planner, reclaim_rest
from conductor_grpc.poller.reclaim import Found

if TYPE_CHECKING:
    import pytest

POISON = "cannot map to Value type: 7"


@worker_task("work", concurrency=4)
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


class Rest:
    """An HTTP server: `answer(path)` gives (status, content type, body)."""

    def __init__(self, answer: Any) -> None:
        outer = self
        self.answer, self.paths = answer, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.paths.append(self.path)
                status, kind, body = outer.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"

    def __enter__(self) -> Rest:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def poisoned_once(server: ScriptedServer) -> Any:
    """The first poll meets an integer, later ones are normal."""
    met = threading.Event()

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if met.is_set():
            yield from server.hand_out(request, context)
        else:
            met.set()
            context.abort(grpc.StatusCode.INTERNAL, POISON)

    return poll


def test_html_from_the_rest_address_does_not_kill_the_poller() -> None:
    page = b"<html>the UI, or a login page of a proxy</html>"
    with Rest(lambda _path: (200, "text/html", page)) as rest, ScriptedServer() as server:
        server.poll = poisoned_once(server)
        with TaskPoller([work], Configuration(rest.url, target=server.target, poll_wait_ms=200)):
            wait_for(lambda: len(rest.paths) >= 2, 10)
            server.add(a_task("good"))
            server.wait_for_updates(1, 10)


def test_an_unreachable_rest_address_does_not_end_polling() -> None:
    with ScriptedServer() as server:
        server.poll = poisoned_once(server)
        with TaskPoller([work], Configuration("http://127.0.0.1:9/api", target=server.target, poll_wait_ms=200)):
            server.wait_for_polls(1)
            server.add(a_task("good"))
            server.wait_for_updates(1, 10)


def test_a_broken_connection_does_not_fail_an_integer_task_that_a_rest_worker_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    broken, searched = threading.Event(), threading.Event()

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if broken.is_set():
            yield from server.hand_out(request, context)
        else:
            broken.set()
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        searched.set()
        return [tasksummary_pb2.TaskSummary(task_id="of-a-rest-worker", workflow_id="w")]

    with ScriptedServer() as server:
        server.poll, server.search = poll, search
        server.unmappable.add("of-a-rest-worker")
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=200)):
            assert searched.wait(10)
            server.add(a_task("mine"))
            wait_for(lambda: any(u.task_id == "mine" for u in server.updates))
        assert [u.task_id for u in server.updates] == ["mine"]


def test_tasks_taken_after_the_client_gave_up_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server hangs over the deadline of the poll and takes a task half a second later."""
    from conductor_grpc.poller import sources

    monkeypatch.setattr(sources, "DEADLINE_MARGIN", 0.3)
    monkeypatch.setattr(intake_module, "SETTLING", 1.5)
    first = threading.Event()
    stranded: dict[str, Any] = {}

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if first.is_set():
            yield from server.hand_out(request, context)
            return
        first.set()
        time.sleep(1.8)  # the client gives up after 0.1 + 0.3 s, and looks after 0.1 + SETTLING
        stranded["late"] = a_task("late", worker_id=request.worker_id)

    with ScriptedServer() as server:
        server.poll = poll
        server.get = stranded.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id=t) for t in stranded]
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=100)):
            results = server.wait_for_updates(1, 10)
    assert [r.task_id for r in results] == ["late"]


def test_losses_of_a_long_outage_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(planner, "BACKOFF_LIMIT", 0.002)
    poller = TaskPoller([work], Configuration("", target="127.0.0.1:9", poll_wait_ms=1))
    poller.start()
    intake = poller._parts.lanes[0].intake
    wait_for(lambda: intake._memory.failures > 100, 30)
    size = len(intake._losses)
    poller.stop(1)
    assert size < 20


def test_the_warnings_of_a_long_outage_are_few(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.001)
    monkeypatch.setattr(planner, "BACKOFF_LIMIT", 0.002)
    poller = TaskPoller([work], Configuration("", target="127.0.0.1:9", poll_wait_ms=1))
    with caplog.at_level(logging.WARNING):
        poller.start()
        wait_for(lambda: poller._parts.lanes[0].intake._memory.failures > 100, 30)
        count = len([r for r in caplog.records if "could not look" in r.getMessage()])
        poller.stop(1)
    assert count < 20


def test_a_list_too_long_to_see_all_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim_rest, "FIRST", reclaim_rest.Bound(4, 1_000_000, 10.0))
    monkeypatch.setattr(reclaim_rest, "WHOLE", reclaim_rest.Bound(4, 1_000_000, 10.0))
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(intake_module, "LOOK_AGAIN", 0.1, raising=False)
    worker_id: list[str] = []
    looks: list[int] = []

    def task(name: str, status: str) -> dict[str, Any]:
        return {
            "taskId": name,
            "status": status,
            "workflowInstanceId": "w",
            "taskDefName": "work",
            "pollCount": 1,
            "workerId": worker_id[0] if worker_id else "",
            "inputData": {"n": 7},
        }

    def answer(path: str) -> tuple[int, str, bytes]:
        if "/admin/task/" not in path:
            return 200, "application/json", b"[]"
        looks.append(1)
        if len(looks) <= 2:  # a backlog in which the stranded one is not among those listed
            documents = [task(f"queued{n}", "SCHEDULED") for n in range(4)]
        else:
            documents = [task("stranded", "IN_PROGRESS")]
        return 200, "application/json", json.dumps(documents).encode()

    with Rest(answer) as rest, ScriptedServer() as server:
        poison = poisoned_once(server)

        def poll(request: Any, context: grpc.ServicerContext) -> Any:
            worker_id[:] = [request.worker_id]
            yield from poison(request, context)

        server.poll = poll
        with TaskPoller([work], Configuration(rest.url, target=server.target, poll_wait_ms=100)):
            results = server.wait_for_updates(1, 8)
    assert [r.task_id for r in results] == ["stranded"]


def test_a_task_whose_result_was_refused_is_not_run_again_by_reclaim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    ran: list[str] = []
    refused, looked = threading.Event(), threading.Event()
    held: dict[str, Any] = {}

    @worker_task("work")
    def once(task: Task) -> None:
        ran.append(task.task_id)

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        refused.set()
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 5000000")

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if not held:
            held["a"] = a_task("a", worker_id=request.worker_id)
            yield held["a"]
        elif refused.is_set() and not looked.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        if refused.is_set():
            looked.set()
        return [tasksummary_pb2.TaskSummary(task_id=t) for t in held]

    with ScriptedServer() as server:
        server.poll, server.update, server.search, server.get = poll, update, search, held.get
        with TaskPoller([once], Configuration("", target=server.target, poll_wait_ms=50)):
            assert looked.wait(10)
            server.wait_for_polls(len(server.polls) + 3)
    assert ran == ["a"]


def failing_once(
    server: ScriptedServer, code: grpc.StatusCode, stranded: dict[str, Any], details: str = "connection reset"
) -> Any:
    """The first poll fails and leaves task "a" with us, later ones are normal."""
    met = threading.Event()

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if met.is_set():
            yield from server.hand_out(request, context)
            return
        met.set()
        stranded["a"] = a_task("a", worker_id=request.worker_id)
        context.abort(code, details)

    return poll


def test_a_look_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.01)
    stranded: dict[str, Any] = {}
    looks: list[str] = []

    def search(query: str) -> list[tasksummary_pb2.TaskSummary]:
        looks.append(query)
        if len(looks) < 3:
            raise RuntimeError("the index is not there yet")
        return [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in stranded]

    with ScriptedServer() as server:
        server.poll = failing_once(server, grpc.StatusCode.UNAVAILABLE, stranded)
        server.search, server.get = search, stranded.get
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)) as poller:
            results = server.wait_for_updates(1)
            assert poller.health().healthy, "one failure is past"
    assert [result.task_id for result in results] == ["a"]
    assert len(looks) in (3, 4), "one that succeeds, and perhaps the one after it"


def test_tasks_taken_by_a_server_that_stood_still_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes up the poll that broke only after it has answered the first look."""
    monkeypatch.setattr(intake_module, "SETTLING", 0.2)
    stranded: dict[str, Any] = {}
    lost: list[str] = []
    looks: list[list[str]] = []

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if lost:
            yield from server.hand_out(request, context)
        else:
            lost.append(request.worker_id)
            context.abort(grpc.StatusCode.UNAVAILABLE, "ping timeout")

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        looks.append(list(stranded))
        stranded["late"] = a_task("late", worker_id=lost[0])
        return [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in looks[-1]]

    with ScriptedServer() as server:
        server.poll, server.search, server.get = poll, search, stranded.get
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=100)):
            assert [result.task_id for result in server.wait_for_updates(1)] == ["late"]
    assert looks[:2] == [[], ["late"]]


def test_a_poll_that_was_refused_has_lost_nothing() -> None:
    """What the server refuses before it looks at its queue is not looked for, and the next poll is not kept short."""
    stranded: dict[str, Any] = {}
    with ScriptedServer() as server:
        server.poll = failing_once(server, grpc.StatusCode.PERMISSION_DENIED, stranded, "no")
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=2500)) as poller:
            server.wait_for_polls(2)
            assert poller._parts.lanes[0].intake._losses == []
            assert server.polls[1].timeout == 2500
            server.add(a_task("b"))
            server.wait_for_updates(1)


def test_losses_are_looked_for_only_when_the_server_must_have_ended_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.5)
    stranded: dict[str, Any] = {}
    looked_at: list[float] = []

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        looked_at.append(time.monotonic())
        return [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in stranded]

    with ScriptedServer() as server:
        server.poll = failing_once(server, grpc.StatusCode.UNAVAILABLE, stranded)
        server.search, server.get = search, stranded.get
        began = time.monotonic()
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=1000)):
            server.wait_for_updates(1)
    assert looked_at[0] - began >= 1.5


def test_polls_that_fail_are_not_repeated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "BACKOFF_FIRST", 0.5)
    polled_at: list[float] = []

    def poll(_request: Any, context: grpc.ServicerContext) -> Any:
        polled_at.append(time.monotonic())
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    with ScriptedServer() as server:
        server.poll = poll
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)):
            server.wait_for_polls(2)
    assert polled_at[1] - polled_at[0] >= 0.35


def test_without_rest_a_type_with_integers_is_polled_one_by_one() -> None:
    with ScriptedServer() as server:
        server.poll = poisoned_once(server)
        server.add(*(a_task(str(number)) for number in range(20)))
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)):
            server.wait_for_updates(20)
        assert {poll.count for poll in server.polls} == {1}


def test_a_hidden_task_is_in_hand_until_its_failure_is_acknowledged() -> None:
    """Else each look until then would fail it once more."""
    gate = threading.Event()
    with ScriptedServer() as server:
        server.poll = poisoned_once(server)
        server.unmappable.add("hidden")
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id="hidden", workflow_id="w")]
        server.update = lambda _result, _context: (gate.wait(30), None)[1]
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=50)) as poller:
            wait_for(lambda: server.attempts == 1)
            assert len(poller._parts.custody) == 1
            gate.set()
            (result,) = server.wait_for_updates(1)
            wait_for(lambda: len(poller._parts.custody) == 0)
    assert result.status == taskresult_pb2.TaskResult.FAILED_WITH_TERMINAL_ERROR


class PutOff:
    """Stands for GrpcReclaim: finds nothing at first, and says when it will look again."""

    def __init__(self, again: float, *then: Task) -> None:
        self.again, self.then = again, list(then)
        self.looks: list[bool] = []

    def __call__(self, *_: object) -> PutOff:
        return self

    def stranded(self, _type: str, _worker_id: str, _since_ms: int, _most: int, *, last: bool = False) -> Found:
        self.looks.append(last)
        if len(self.looks) == 1 or not self.then:
            return Found([], complete=False, again=self.again)
        return Found([*self.then], complete=True)


def test_a_look_that_is_put_off_is_made_when_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    reclaim = PutOff(0.05, Task(task_id="a", workflow_instance_id="w", task_def_name="work"))
    monkeypatch.setattr(parts, "GrpcReclaim", reclaim)
    with ScriptedServer() as server:
        server.poll = poisoned_once(server)
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=100)):
            assert [result.task_id for result in server.wait_for_updates(1, 10)] == ["a"]
    assert reclaim.looks == [False, False]


def test_a_stop_does_not_wait_for_a_look_that_is_put_off_but_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.1)
    reclaim = PutOff(600.0)
    monkeypatch.setattr(parts, "GrpcReclaim", reclaim)
    with ScriptedServer() as server:
        server.poll = poisoned_once(server)
        with TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=100, drain_timeout=20.0)):
            wait_for(lambda: len(reclaim.looks) == 1, 10)
            began = time.monotonic()
        assert time.monotonic() - began < 15
    assert reclaim.looks == [False, True]


def test_what_a_poll_that_breaks_during_the_stop_has_taken_is_handed_back() -> None:
    """Even where the look for it takes a while."""
    polled, stopping, lost = threading.Event(), threading.Event(), list[str]()

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        lost.append(request.worker_id)
        polled.set()
        assert stopping.wait(20)
        context.abort(grpc.StatusCode.INTERNAL, "broken")
        yield

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        time.sleep(0.5)
        return [tasksummary_pb2.TaskSummary(task_id="a")]

    with ScriptedServer() as server:
        server.poll, server.search = poll, search
        server.get = lambda task_id: a_task(task_id, worker_id=lost[0])
        poller = TaskPoller([work], Configuration("", target=server.target, poll_wait_ms=100))
        poller.start()
        assert polled.wait(20)
        ended = threading.Thread(target=poller.stop)
        ended.start()
        while not poller._stopping:
            time.sleep(0.01)
        stopping.set()
        ended.join(30)
        assert [(update.task_id, update.status) for update in server.updates] == [("a", 0)]
