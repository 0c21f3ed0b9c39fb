"""What a handler's processes have around their workers: metrics, health, middleware, resources."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import handler_workers
import pytest
from handler_stage import Stage, pids, processes, staged
from metrics_text import Metrics, get, probe, scrape
from waiting import wait_for

from conductor_grpc import ConfigurationError, MetricsSettings, PollerError, ResourceError
from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        stage.register("pid")
        yield stage


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def test_one_file_for_all_processes_also_those_that_were_killed(stage: Stage, tmp_path: Path) -> None:
    settings = MetricsSettings(directory=tmp_path, file_name="all.log", update_interval=0.05)
    file = tmp_path / "all.log"

    def counted() -> float:
        return Metrics(file.read_text()).total("task_execution_started_total", taskType="pid") if file.exists() else 0.0

    with stage.handler([handler_workers.pid], processes=2, metrics_settings=settings) as handler:
        handler.start_processes()
        ids: list[str] = []

        def both_have_run_some() -> bool:
            ids.extend(stage.start("pid") for _ in range(10))
            stage.wait_until_completed(*ids)
            return len({stage.task(each).output_data["result"] for each in ids}) == 2

        wait_for(both_have_run_some)
        wait_for(lambda: counted() == len(ids))
        for pid in pids(handler):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(each.restarts == 1 and each.state == "running" for each in processes(handler)))
        stage.wait_until_completed(stage.start("pid"))
        wait_for(lambda: counted() == len(ids) + 1)
    assert counted() == len(ids) + 1


def test_the_endpoint_is_that_of_the_handler(stage: Stage, port: int) -> None:
    with stage.handler([handler_workers.pid], processes=2, metrics_settings=MetricsSettings(http_port=port)) as handler:
        handler.start_processes()
        temporary = handler._folders.temporary
        stage.wait_until_completed(stage.start("pid"))
        wait_for(lambda: scrape(port).total("task_execution_started_total", taskType="pid") == 1)
        wait_for(lambda: probe(port, "/readyz")[0] == 200)
        status, document = probe(port, "/readyz")
        assert (status, document["reasons"]) == (200, [])
        assert [each["name"] for each in document["health"]["processes"]] == ["pid-0", "pid-1"]
        assert [each["pid"] for each in document["health"]["processes"]] == pids(handler)
        assert document["health"]["processes"][0]["poller"]["workers"][0]["task_definition_name"] == "pid"
        assert probe(port, "/livez")[0] == 200
    assert not temporary.exists()
    with pytest.raises(ConnectionRefusedError):
        get(port, "/livez")


def test_a_process_that_is_gone_makes_the_handler_unready_and_leaves_it_alive(
    stage: Stage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conductor_grpc.handler.seat.FIRST_PAUSE", 600.0)
    monkeypatch.setattr("conductor_grpc.handler.seat.LONGEST_PAUSE", 600.0)
    with stage.handler([handler_workers.pid], processes=2, metrics_settings=MetricsSettings(http_port=port)) as handler:
        handler.start_processes()
        os.kill(pids(handler)[1], signal.SIGKILL)
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        (reason,) = probe(port, "/readyz")[1]["reasons"]
        assert reason.startswith("process pid-1 is restarting: the last one was killed by SIGKILL")
        assert probe(port, "/livez")[0] == 200
        report = handler.stop_processes()
    assert (report.processes[0].clean, report.processes[1].clean, report.exit_code) == (True, False, 1)


def test_what_a_process_tells_is_in_the_answer(stage: Stage, port: int) -> None:
    settings = MetricsSettings(http_port=port, poll_overdue_after=0.5)
    nowhere = {"target": f"127.0.0.1:{free_ports(1)[0]}"}
    with stage.handler([handler_workers.pid], metrics_settings=settings, changes=nowhere) as handler:
        handler.start_processes()
        wait_for(lambda: probe(port, "/readyz")[0] == 503)
        (reason,) = probe(port, "/readyz")[1]["reasons"]
        assert reason.startswith("process pid-0: no poll for 'pid' has succeeded")


def test_a_port_in_use_is_told_before_any_process_is_started(stage: Stage, port: int) -> None:
    with stage.handler([handler_workers.pid], metrics_settings=MetricsSettings(http_port=port)) as first:
        first.start_processes()
        second = stage.handler([handler_workers.pid], metrics_settings=MetricsSettings(http_port=port))
        with pytest.raises(ConfigurationError, match=rf"http_port={port}\): cannot listen there"):
            second.start_processes()
        assert second.health().processes == ()


def test_middleware_and_resources_are_those_of_each_process(stage: Stage) -> None:
    stage.register("resource")
    handler = stage.handler(
        [handler_workers.with_resource],
        middleware=[handler_workers.noting],
        resources={"text": handler_workers.resource},
    )
    with handler:
        handler.start_processes()
        workflow_id = stage.start("resource")
        stage.wait_until_completed(workflow_id)
        assert stage.task(workflow_id).output_data == {"result": "a resource", "noted by": pids(handler)[0]}


def broken_resource() -> Iterator[str]:
    raise OSError("no database")
    yield ""


def test_a_resource_that_cannot_be_opened_is_an_error_of_the_start(stage: Stage) -> None:
    handler = stage.handler([handler_workers.with_resource], resources={"text": broken_resource})
    with pytest.raises(ResourceError, match=r"'resource-0' cannot begin: .*'text' could not be opened.*no database"):
        handler.start_processes()
    with pytest.raises(PollerError):
        handler.start_processes()
