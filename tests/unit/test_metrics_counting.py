"""What a poller counts, seen through its endpoint."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from metrics_text import scrape
from scripted_server import ScriptedServer, a_task
from waiting import wait_for

from conductor_grpc import Configuration, MetricsSettings, NonRetryableError, Task, TaskPoller, TaskResult, worker_task
from conductor_grpc.observe.catalogue import CANONICAL, CATALOGUE
from conductor_grpc.observe.reading import read
from conductor_grpc.pb.model import task_pb2, tasksummary_pb2
from conductor_grpc.poller import intake as intake_module
from conductor_grpc.poller.measures import Measures
from conductor_grpc.poller.outbox_truth import Standing
from conductor_grpc.server import free_ports
from conductor_grpc.transport.rest import RestClient
from conductor_grpc.transport.server_version import LeaseSupport
from conductor_grpc.worker.status import TaskResultStatus

if TYPE_CHECKING:
    from conductor_grpc import WorkerInterface
    from conductor_grpc.testing import ConductorClient, WorkerRunner

OWNER = {"ownerEmail": "someone@example.com"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def poller_for(server: Any, port: int, *workers: WorkerInterface, **settings: Any) -> TaskPoller:
    configuration = Configuration("", target=server.target, **{"poll_wait_ms": 100, **settings})
    return TaskPoller(workers, configuration, metrics_settings=MetricsSettings(http_port=port))


@worker_task("sum", concurrency=3)
def add(x: int) -> Any:
    if x == 1:
        raise ValueError("text that is another one each time")
    if x == 2:
        raise NonRetryableError("never")
    if x == 3:
        return TaskResult(status=TaskResultStatus.FAILED)
    return {"text": "y" * 2_000}


@pytest.mark.bug("D3")
def test_executions(conductor_client: ConductorClient, conductor_server: Any, port: int) -> None:
    conductor_client.register(
        {"name": "sum", "retryCount": 0, **OWNER},
        {
            "name": "adding",
            **OWNER,
            "tasks": [{"name": "sum", "taskReferenceName": "s", "inputParameters": {"x": "${workflow.input.x}"}}],
        },
    )
    runs = [conductor_client.start("adding", {"x": number % 8}) for number in range(16)]
    with poller_for(conductor_server, port, add):
        for run in runs:
            run.wait()
        wait_for(lambda: scrape(port).total("task_update_time_seconds_count") == 16)
        metrics = scrape(port)
    assert metrics.value("task_execution_started_total", taskType="sum") == 16
    assert metrics.value("task_execute_time_seconds_count", taskType="sum", status="SUCCESS") == 10
    assert metrics.value("task_execute_time_seconds_count", taskType="sum", status="FAILURE") == 6
    assert metrics.of("task_execute_error_total") == {
        (("exception", exception), ("taskType", "sum")): 2.0
        for exception in ("ValueError", "NonRetryableError", "FAILED")
    }
    assert metrics.value("task_update_time_seconds_count", taskType="sum", status="SUCCESS") == 16
    assert metrics.of("task_update_error_total") == {}
    sizes = [metrics.value("task_result_size_bytes_bucket", taskType="sum", le=le) for le in ("1000.0", "10000.0")]
    assert sizes[1] == 16
    assert sizes[0] is not None
    assert sizes[0] <= 6, "an output of 2,000 letters was counted as a small one"
    assert (metrics.value("task_result_size_bytes_sum", taskType="sum") or 0) > 20_000
    assert (metrics.value("task_poll_total", taskType="sum") or 0) >= 2
    assert metrics.value("active_workers", taskType="sum") == 0
    assert metrics.value("conductor_worker_slots_free", taskType="sum") == 3


def test_the_time_of_an_execution(port: int) -> None:
    release = threading.Event()

    @worker_task("work", concurrency=2)
    def work() -> None:
        release.wait(30)

    with ScriptedServer() as server, poller_for(server, port, work) as poller:
        server.add(a_task("a"))
        wait_for(lambda: scrape(port).value("active_workers", taskType="work") == 1)
        metrics = scrape(port)
        assert metrics.value("conductor_worker_slots_used", taskType="work") == 1
        assert metrics.value("conductor_worker_slots_free", taskType="work") == 1
        assert metrics.value("task_execution_started_total", taskType="work") == 1
        assert metrics.total("task_execute_time_seconds_count") == 0, "it has not ended yet"
        threading.Timer(0.3, release.set).start()
        server.wait_for_updates(1)
        wait_for(lambda: poller.health().workers[0].running == 0)
        metrics = scrape(port)
        buckets = metrics.of("task_execute_time_seconds_bucket")
        assert buckets[("le", "0.25"), ("status", "SUCCESS"), ("taskType", "work")] == 0
        assert buckets[("le", "+Inf"), ("status", "SUCCESS"), ("taskType", "work")] == 1
        assert 0.25 < (metrics.value("task_execute_time_seconds_sum", taskType="work", status="SUCCESS") or 0) < 30


@worker_task("work")
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


def test_failed_polls_and_updates(port: int) -> None:
    failing = threading.Event()

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if failing.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        return server.hand_out(request, context)

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        if server.attempts == 1:
            context.abort(grpc.StatusCode.INTERNAL, "no idea")

    with ScriptedServer() as server, poller_for(server, port, work):
        server.poll, server.update = poll, update
        failing.set()
        wait_for(lambda: scrape(port).total("task_poll_error_total") >= 2)
        failing.clear()
        wait_for(lambda: bool(scrape(port).value("task_poll_time_seconds_count", taskType="work", status="SUCCESS")))
        server.add(a_task("a"))
        server.wait_for_updates(1)
        wait_for(lambda: scrape(port).value("conductor_worker_outbox_updates") == 0)
        metrics = scrape(port)
    polls = metrics.value("task_poll_error_total", taskType="work", exception="UnavailableError")
    assert polls == metrics.value("task_poll_time_seconds_count", taskType="work", status="FAILURE")
    assert metrics.value("task_poll_total", taskType="work") == metrics.total("task_poll_time_seconds_count")
    assert metrics.total("task_update_error_total", taskType="work") == 1
    assert metrics.value("task_update_time_seconds_count", taskType="work", status="FAILURE") == 1
    assert metrics.value("task_update_time_seconds_count", taskType="work", status="SUCCESS") == 1


def test_what_was_reclaimed(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(intake_module, "SETTLING", 0.0)
    stranded: dict[str, task_pb2.Task] = {}

    def poll(request: Any, context: grpc.ServicerContext) -> Any:
        if not stranded:
            stranded["a"] = a_task("a", worker_id=request.worker_id, status=task_pb2.Task.IN_PROGRESS)
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        return server.hand_out(request, context)

    with ScriptedServer() as server:
        server.poll, server.get = poll, stranded.get
        server.search = lambda _query: [tasksummary_pb2.TaskSummary(task_id=task_id) for task_id in stranded]
        with poller_for(server, port, work):
            server.wait_for_updates(1)
            assert scrape(port).value("conductor_worker_reclaimed_total", taskType="work") == 1


def test_a_journal_that_is_off(port: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ScriptedServer() as server:
        for folder, failed in ((tmp_path / "good", 0), (tmp_path / "file" / "bad", 1)):
            with poller_for(server, port, work, journal=folder):
                assert scrape(port).value("conductor_worker_journal_failed") == failed


def test_pauses_and_full_houses(port: int) -> None:
    release = threading.Event()

    @worker_task("work")
    def stuck() -> None:
        release.wait(30)

    with ScriptedServer() as server, poller_for(server, port, stuck) as poller:
        server.add(a_task("a"))
        wait_for(lambda: bool(scrape(port).value("task_execution_queue_full_total", taskType="work")))
        release.set()
        poller.pause("work")
        poller.pause("work")
        assert scrape(port).value("task_paused_total", taskType="work") == 1
        poller.resume("work")
        poller.pause("work")
        assert scrape(port).value("task_paused_total", taskType="work") == 2


@pytest.mark.feature("Metrics")
def test_what_the_health_knows_is_a_metric_too(port: int) -> None:
    """Outbox, leases, standing of late updates, journal: each by a value that is not the one it begins with."""
    with ScriptedServer() as server:
        poller = poller_for(server, port, work)
        outbox, leases = poller._parts.outbox, poller._parts.leases
        outbox.refused, outbox.repaired, leases.extended, leases.lost = 2, 3, 4, 5
        outbox.late[Standing.REASSIGNED] = 6
        with poller:
            metrics = scrape(port)
    assert metrics.value("conductor_worker_updates_refused_total") == 2
    assert metrics.value("conductor_worker_updates_repaired_total") == 3
    assert metrics.value("conductor_worker_lease_extensions_total") == 4
    assert metrics.value("conductor_worker_leases_lost_total") == 5
    assert metrics.value("conductor_worker_late_updates_total", standing="reassigned") == 6
    assert metrics.value("conductor_worker_late_updates_total", standing="applied") == 0


def test_a_full_outbox_shows_its_length_and_age(port: int) -> None:
    failing = threading.Event()
    failing.set()

    def update(_result: Any, context: grpc.ServicerContext) -> None:
        if failing.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    with ScriptedServer() as server, poller_for(server, port, work):
        server.update = update
        server.add(a_task("a"), a_task("b"))
        wait_for(lambda: scrape(port).value("conductor_worker_outbox_updates") == 2)
        metrics = scrape(port)
        assert (metrics.value("conductor_worker_outbox_bytes") or 0) > 100
        first = metrics.value("conductor_worker_outbox_oldest_seconds") or 0
        assert first > 0
        wait_for(lambda: (scrape(port).value("conductor_worker_outbox_oldest_seconds") or 0) > first + 0.2)
        failing.clear()
        wait_for(lambda: scrape(port).value("conductor_worker_outbox_updates") == 0)
        assert scrape(port).value("conductor_worker_outbox_oldest_seconds") == 0


def test_an_extension_that_is_not_answered_is_a_lag(port: int) -> None:
    release = threading.Event()

    @worker_task("work")
    def slow() -> None:
        release.wait(30)

    def update(result: Any, _context: grpc.ServicerContext) -> None:
        if result.extend_lease:
            release.wait(30)

    with ScriptedServer() as server:
        poller = poller_for(server, port, slow)
        poller._parts.leases._support = None
        poller._parts.leases._ask_support = lambda: LeaseSupport.YES
        with poller:
            server.update = update
            server.add(a_task("a", response_timeout_seconds=1))
            try:
                wait_for(lambda: (scrape(port).value("conductor_worker_lease_lag_seconds") or 0) > 0.1)
            finally:
                release.set()
            wait_for(lambda: scrape(port).value("conductor_worker_lease_lag_seconds") == 0)


def test_calls_over_rest_are_counted_by_the_pattern_of_their_path() -> None:
    with ScriptedServer() as server:
        measures = Measures()
        (unused,) = free_ports(1)
        client = RestClient(f"http://127.0.0.1:{unused}/api", timeout=5)
        client.measure = measures.rest_called
        for call in (lambda: client.get_task("1"), lambda: client.get_task("2"), client.version):
            with pytest.raises(Exception, match=r"cannot|refused|reach"):
                call()
        poller = TaskPoller([work], Configuration("", target=server.target))
        values = read(poller.health(), measures).by_name["http_api_client_request_seconds"]
    assert {labels: sum(value.counts) for labels, value in values.items()} == {  # type: ignore[union-attr]
        ("GET", "/tasks/{taskId}", "0"): 2,
        ("GET", "/version", "0"): 1,
    }


def test_without_settings_nothing_is_counted(run_worker: WorkerRunner) -> None:
    poller = run_worker(work)
    assert poller._parts.outbox.measure is None
    assert [(lane.intake.measure, lane.slots.measure) for lane in poller._parts.lanes] == [(None, None)]


@pytest.mark.feature("Metrics")
@pytest.mark.feature("conductor-python: canonical metrics")
def test_the_canonical_names() -> None:
    assert {each.name for each in CANONICAL} == {
        "task_poll_total",
        "task_poll_error_total",
        "task_poll_time_seconds",
        "task_execution_started_total",
        "task_execute_error_total",
        "task_execute_time_seconds",
        "task_update_error_total",
        "task_update_time_seconds",
        "task_execution_queue_full_total",
        "task_paused_total",
        "task_result_size_bytes",
        "active_workers",
        "http_api_client_request_seconds",
        "thread_uncaught_exceptions_total",
    }


def test_the_document_names_every_metric_with_its_type_and_labels() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows}
    assert documented == {each.name: (each.kind, each.labels, each.meaning) for each in CATALOGUE.values()}
