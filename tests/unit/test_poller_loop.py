"""The whole poller against a gRPC server with scripted faults."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, DrainReport, Task, TaskPoller, WorkerInterface, worker_task
from conductor_grpc.errors import PollerError, WorkerDefinitionError
from conductor_grpc.pb.model import task_pb2, taskresult_pb2, tasksummary_pb2
from conductor_grpc.poller import intake as intake_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.pb.services import task_service_pb2

COMPLETED = taskresult_pb2.TaskResult.COMPLETED
FAILED_WITH_TERMINAL_ERROR = taskresult_pb2.TaskResult.FAILED_WITH_TERMINAL_ERROR


@worker_task("work", concurrency=4)
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


def poller_for(server: ScriptedServer, *workers: WorkerInterface, **settings: Any) -> TaskPoller:
    settings = {"poll_wait_ms": 200, **settings}
    return TaskPoller(workers or (work,), Configuration("", target=server.target, **settings))


@pytest.mark.feature("conductor-python: threads instead of processes")
def test_tasks_are_run_and_acknowledged() -> None:
    with ScriptedServer() as server, poller_for(server) as poller:
        server.add(*(a_task(str(number)) for number in range(50)))
        results = server.wait_for_updates(50)
        assert poller.health().healthy
        wait_for(lambda: len(poller._parts.custody) == 0)
    assert sorted(int(result.task_id) for result in results) == list(range(50))
    assert {result.status for result in results} == {COMPLETED}
    assert {result.output_data["ran"].string_value for result in results} == {str(n) for n in range(50)}
    assert {result.worker_id for result in results} == {server.polls[0].worker_id}


@pytest.mark.bug("Java: over-delivery")
def test_a_server_that_sends_more_than_asked_for_loses_nothing() -> None:
    def generous(request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        request.count += 7
        request.timeout = -1
        return server.hand_out(request, context)

    with ScriptedServer() as server:
        server.poll = generous
        server.add(*(a_task(str(number)) for number in range(40)))
        with poller_for(server):
            results = server.wait_for_updates(40)
    assert sorted(int(result.task_id) for result in results) == list(range(40))


def test_a_stream_that_breaks_keeps_what_came_and_finds_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tasks handed out, one received: the other two are IN_PROGRESS under our worker id."""
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    broken = threading.Event()
    stranded = {"b": a_task("b"), "c": a_task("c")}

    def breaking(request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        if broken.is_set():
            yield from server.hand_out(request, context)
            return
        for task in stranded.values():
            task.worker_id = request.worker_id
        broken.set()
        yield a_task("a")
        context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    with ScriptedServer() as server:
        server.poll = breaking
        server.get = stranded.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in (*stranded, "x")]
        with poller_for(server):
            results = server.wait_for_updates(3)
    assert sorted(result.task_id for result in results) == ["a", "b", "c"]


def test_tasks_of_others_and_tasks_in_hand_are_not_reclaimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    held, release = a_task("held"), threading.Event()
    foreign = a_task("foreign", worker_id="somebody else")
    searched = threading.Event()
    ran: list[str] = []

    @worker_task("work", concurrency=2)
    def slow(task: Task) -> None:
        ran.append(task.task_id)
        release.wait(30)

    def breaking(request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        if searched.is_set():
            yield from server.hand_out(request, context)
        elif not ran:
            held.worker_id = request.worker_id
            yield held
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")

    def search(_query: str) -> list[tasksummary_pb2.TaskSummary]:
        searched.set()
        return [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in ("held", "foreign")]

    with ScriptedServer() as server:
        server.poll, server.search = breaking, search
        server.get = {"held": held, "foreign": foreign}.get
        with poller_for(server, slow):
            assert searched.wait(30)
            server.wait_for_polls(4)
            release.set()
            server.wait_for_updates(1)
    assert ran == ["held"]


def test_a_task_that_cannot_be_decoded_fails_with_the_reason() -> None:
    with ScriptedServer() as server, poller_for(server) as poller:
        server.add(a_task("odd", status=77), a_task("good"))
        results = {result.task_id: result for result in server.wait_for_updates(2)}
        assert poller.health().healthy
    assert results["good"].status == COMPLETED
    assert results["odd"].status == FAILED_WITH_TERMINAL_ERROR
    assert "77" in results["odd"].reason_for_incompletion
    assert results["odd"].workflow_instance_id == "workflow-of-odd"


@pytest.mark.feature("Change while running")
@pytest.mark.feature("conductor-python: pause")
def test_polling_pauses_and_resumes() -> None:
    @worker_task("other")
    def other() -> None:
        pass

    with ScriptedServer() as server, poller_for(server, work, other) as poller:
        server.poll = lambda request, context: (
            server.hand_out(request, context) if request.task_type == "work" else iter(())
        )
        wait_for(lambda: any(poll.task_type == "work" for poll in list(server.polls)))
        poller.pause("work")
        assert poller.health().workers[0].paused
        wait_for(lambda: poller._parts.lanes[0].slots.free == 4)  # the poll in flight has come back
        server.add(a_task("a"))
        server.wait_for_polls(len(server.polls) + 5)  # of the other, which is not paused
        assert len(server.queue) == 1
        poller.resume("work")
        server.wait_for_updates(1)
        with pytest.raises(WorkerDefinitionError, match="'wrok', only 'other', 'work'"):
            poller.pause("wrok")


def test_a_full_outbox_stops_the_polling() -> None:
    gate = threading.Semaphore(0)
    with ScriptedServer() as server, poller_for(server, outbox_limit=4) as poller:
        server.update = lambda _result, _context: (gate.acquire(timeout=60), None)[1]
        server.add(*(a_task(str(number)) for number in range(100)))
        try:
            wait_for(lambda: poller.health().unsent >= 4)
            wait_for(lambda: poller.health().workers[0].running == 0)
            assert len(server.queue) >= 100 - 4 - 4, "what is not polled is left to other workers"
        finally:
            for _ in range(100):
                gate.release()
        server.wait_for_updates(100)


def test_an_outbox_that_fills_up_while_a_slot_is_waited_for_stops_the_polling() -> None:
    running, release, gate = threading.Event(), threading.Event(), threading.Event()

    @worker_task("work")
    def long() -> None:
        running.set()
        release.wait(30)

    @worker_task("other", concurrency=2)
    def other() -> None:
        pass

    queues = {"work": [a_task("first")], "other": []}

    def poll(request: task_service_pb2.BatchPollRequest, _context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        queue = queues[request.task_type]
        yield from (queue.pop(0) for _ in range(min(request.count, len(queue))))

    with ScriptedServer() as server, poller_for(server, long, other, outbox_limit=2) as poller:
        server.update = lambda _result, _context: (gate.wait(30), None)[1]
        server.poll = poll
        try:
            assert running.wait(20)
            wait_for(lambda: bool(poller._parts.lanes[0].slots._permits._waiters))  # type: ignore[attr-defined]
            queues["other"] += [a_task("1", "other"), a_task("2", "other")]
            wait_for(lambda: poller.health().unsent == 2)
            queues["work"].append(a_task("next"))
            release.set()
            wait_for(lambda: len(poller._parts.outbox._room._fewer._waiters) == 2)  # type: ignore[attr-defined]
            assert len(queues["work"]) == 1
        finally:
            gate.set()
            release.set()
        server.wait_for_updates(4)


def test_stop_twice_and_from_many_threads_gives_one_report() -> None:
    with ScriptedServer() as server:
        poller = poller_for(server)
        poller.start()
        poller.start()
        server.add(a_task("a"))
        server.wait_for_updates(1)
        reports: list[DrainReport] = []
        threads = [threading.Thread(target=lambda: reports.append(poller.stop())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len({id(report) for report in reports}) == 1
        assert poller.join(0)
        assert poller.health().reasons == ("stopped",)
        with pytest.raises(PollerError, match="make a new one"):
            poller.start()


def test_stop_before_start_is_harmless() -> None:
    with ScriptedServer() as server:
        poller = poller_for(server)
        assert poller.stop() == DrainReport()
        assert server.polls == []


@pytest.mark.bug("Hatchet: dead worker, living listener")
def test_a_part_that_dies_takes_the_poller_down_loudly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the planner")

    with ScriptedServer() as server:
        poller = poller_for(server)
        monkeypatch.setattr("conductor_grpc.poller.planner.next_poll", broken)
        poller.start()
        with pytest.raises(PollerError, match="conductor-intake-work died: RuntimeError: a bug in the planner"):
            poller.join(30)
        assert "a bug in the planner" in str(poller.health().reasons)
        assert poller.health().healthy is False
    assert any(record.levelname == "CRITICAL" for record in caplog.records)


def test_run_drains_on_sigterm_and_restores_the_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with ScriptedServer() as server:
        server.add(a_task("a"))

        def terminate() -> None:
            server.wait_for_updates(1)
            os.kill(os.getpid(), signal.SIGTERM)

        helper = threading.Thread(target=terminate)
        helper.start()
        report = poller_for(server).run()
        helper.join()
    assert report.unsent == 0
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_signal_ends_the_drain_and_hands_the_running_task_back() -> None:
    running, release = threading.Event(), threading.Event()

    @worker_task("work")
    def stuck() -> None:
        running.set()
        release.wait(60)

    with ScriptedServer() as server:
        server.add(a_task("a"))
        poller = poller_for(server, stuck, drain_timeout=60)

        def terminate_twice() -> None:
            assert running.wait(30)
            os.kill(os.getpid(), signal.SIGINT)
            wait_for(lambda: "stopping" in poller.health().reasons and poller._deadline is not None)
            os.kill(os.getpid(), signal.SIGTERM)

        helper = threading.Thread(target=terminate_twice)
        helper.start()
        report = poller.run()
        helper.join()
        release.set()
    assert report == DrainReport(cancelled=1)
    (result,) = server.updates
    assert result.status == taskresult_pb2.TaskResult.IN_PROGRESS


@pytest.mark.feature("Domains")
@pytest.mark.feature("conductor-python: domains")
def test_a_worker_s_own_domain_wins_over_the_configured_one() -> None:
    @worker_task("work", domain="its own")
    def special() -> None:
        pass

    with ScriptedServer() as server, poller_for(server, work, special, domain="configured"):
        wait_for(lambda: {poll.domain for poll in list(server.polls)} == {"configured", "its own"})


def test_a_server_that_answers_late_is_waited_for() -> None:
    """A poll given up too early strands its tasks."""
    late = threading.Event()

    def slow(request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.Task]:
        late.wait(0.8)  # beyond the 0.2 s that the poll was to wait
        yield from server.hand_out(request, context)

    with ScriptedServer() as server:
        server.poll = slow
        server.add(a_task("a"))
        with poller_for(server):
            server.wait_for_updates(1)
        assert server.polls[0].count == 1


def test_two_workers_of_one_type_poll_under_different_ids() -> None:
    with ScriptedServer() as server, poller_for(server, work, work):
        wait_for(lambda: len({poll.worker_id for poll in list(server.polls)}) == 2)


def test_two_pollers_given_one_worker_id_poll_under_different_ids() -> None:
    """As the processes of one deployment, whose tasks must not look stranded to each other."""
    with ScriptedServer() as server, poller_for(server, worker_id="orders"), poller_for(server, worker_id="orders"):
        wait_for(lambda: len({poll.worker_id for poll in list(server.polls)}) == 2)
        assert all(poll.worker_id.startswith("orders/") for poll in list(server.polls))


@pytest.mark.parametrize("workers", [[], work, [work, "not a worker"]])
def test_bad_workers_are_refused_at_construction(workers: Any) -> None:
    with pytest.raises(WorkerDefinitionError):
        TaskPoller(workers)


@pytest.mark.feature("conductor-python: poll filter")
def test_a_pause_while_all_slots_are_taken_keeps_the_next_poll_from_going_out() -> None:
    running, release = threading.Event(), threading.Event()

    @worker_task("work")
    def slow() -> None:
        running.set()
        release.wait(30)

    with ScriptedServer() as server, poller_for(server, slow) as poller:
        server.add(a_task("a"))
        assert running.wait(20)
        polls = len(server.polls)
        poller.pause("work")
        release.set()
        server.wait_for_updates(1)
        wait_for(lambda: poller._parts.lanes[0].slots.free == 1)
        server.add(a_task("b"))
        assert len(server.polls) == polls
        poller.resume("work")
        server.wait_for_updates(2)


def test_a_task_that_cannot_be_read_fails_under_the_worker_id_that_got_it() -> None:
    odd = a_task("a")
    odd.status = 99
    with ScriptedServer() as server:
        server.add(odd)
        with poller_for(server):
            (result,) = server.wait_for_updates(1)
        assert (result.status, result.worker_id) == (FAILED_WITH_TERMINAL_ERROR, server.polls[0].worker_id)
