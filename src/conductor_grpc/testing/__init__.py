"""Tests of workers and workflows: one worker without a server, or all of it on an embedded one.

With pytest the fixtures of `conductor_grpc.testing.plugin` are simply there, the names below are for what they do
not cover and for annotations. Nothing here needs pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.lazy_names import loading

if TYPE_CHECKING:
    from conductor_grpc.testing.calling import call_worker
    from conductor_grpc.testing.client import ConductorClient
    from conductor_grpc.testing.task_run import TaskRun
    from conductor_grpc.testing.workers import WorkerRunner
    from conductor_grpc.testing.workflow_run import WorkflowRun

__all__ = ["ConductorClient", "TaskRun", "WorkerRunner", "WorkflowRun", "call_worker"]

_HOMES = {
    "ConductorClient": "client",
    "TaskRun": "task_run",
    "WorkerRunner": "workers",
    "WorkflowRun": "workflow_run",
    "call_worker": "calling",
}

if not TYPE_CHECKING:  # a checker that saw it would take any name for one of ours
    __getattr__ = loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
