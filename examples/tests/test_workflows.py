"""The example workflows on an embedded server, with the workers that main.py runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from main import workers

if TYPE_CHECKING:
    from conductor_grpc.testing import ConductorClient, WorkerRunner

DEFINITIONS = Path(__file__).parents[1] / "definitions"


@pytest.mark.parametrize(
    ("workflow", "output"),
    [
        ("workflow_with_python_task_example", {"workerOutput": {"key": "value"}}),
        ("workflow_with_cpp_task_example", {"workerOutput": {"sum": 3}}),
    ],
)
def test_it_completes(
    conductor_client: ConductorClient, run_worker: WorkerRunner, workflow: str, output: dict[str, object]
) -> None:
    conductor_client.register(DEFINITIONS)
    run_worker(workers)
    run = conductor_client.start(workflow)
    run.assert_completed()
    assert run.output == output
