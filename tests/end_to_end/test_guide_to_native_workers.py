"""The page about workers in C++, followed: compiled by its command line, run, and cancelled while it runs."""

from __future__ import annotations

import importlib
import math
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from guide import commands, write_files
from waiting import wait_for

from conductor_grpc import (
    Cancellation,
    Configuration,
    MetadataClient,
    TaskCancelledError,
    TaskPoller,
    WorkflowClient,
)
from conductor_grpc.server import EmbeddedServer
from conductor_grpc.testing import call_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = "docs/native.md"
ENDLESS = 10**15
"""Darts for a month."""
WORKFLOW = {
    "name": "estimate",
    "ownerEmail": "example@example.com",
    "tasks": [
        {
            "name": "estimate_pi",
            "taskReferenceName": "estimate_pi",
            "inputParameters": {"darts": "${workflow.input.darts}"},
        }
    ],
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page's worker, with the page's function compiled by the page's command line."""
    folder: Path = tmp_path_factory.mktemp("native")
    write_files(folder, PAGE)
    (line,) = [each for each in commands("c++", PAGE) if "montecarlo" in each]
    line = line.replace("$(python ", f"$({shlex.quote(sys.executable)} ")
    subprocess.run(["bash", "-c", line], check=True, cwd=folder, timeout=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("montecarlo_worker").estimate_pi
        for name in ("montecarlo", "montecarlo_worker"):
            patch.delitem(sys.modules, name)


@pytest.fixture
def configuration() -> Iterator[Configuration]:
    """Of a server that knows the workflow."""
    with EmbeddedServer(strict=True) as server:
        configuration = Configuration(base_url="", target=server.target, poll_wait_ms=1000, cancellation_check=0.05)
        with MetadataClient(configuration) as metadata:
            metadata.register_task({"name": "estimate_pi", "ownerEmail": "example@example.com"})
            metadata.register_workflow(WORKFLOW)
        yield configuration


def test_the_worker(worker: Any) -> None:
    result = call_worker(worker, {"darts": 100_000})
    assert result.output_data is not None
    assert math.isclose(result.output_data["pi"], math.pi, rel_tol=0.01)


def test_it_ends_with_the_error_that_the_page_names(worker: Any) -> None:
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(call_worker, worker, {"darts": ENDLESS}, cancelled=cancellation)
        cancellation.set("the test says so")
        with pytest.raises(TaskCancelledError):
            ended.result(timeout=20)


def test_a_terminated_workflow_ends_the_function(worker: Any, configuration: Configuration) -> None:
    with TaskPoller([worker], configuration) as poller, WorkflowClient(configuration) as client:
        workflow_id = client.start("estimate", {"darts": ENDLESS})
        wait_for(lambda: poller.health().workers[0].running == 1)
        client.terminate(workflow_id, "nobody wants to know")
        wait_for(lambda: poller.health().workers[0].running == 0)
        report = poller.stop(timeout=20)
    assert report.cancelled == 0


def test_a_poller_that_stops_ends_the_function(worker: Any, configuration: Configuration) -> None:
    with TaskPoller([worker], configuration) as poller, WorkflowClient(configuration) as client:
        client.start("estimate", {"darts": ENDLESS})
        wait_for(lambda: poller.health().workers[0].running == 1)
        report = poller.stop(timeout=0.5)
        assert report.cancelled == 1
        wait_for(lambda: poller.health().workers[0].running == 0)
