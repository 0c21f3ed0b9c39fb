"""Conductor workers and clients over gRPC, with a compiled C++ core.

Everything a program needs is importable from here; `TaskPoller` is where to begin.
"""

from __future__ import annotations

from importlib.metadata import version

from conductor_grpc.clients import EventClient, MetadataClient, TaskClient, Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import ConductorError, ErrorKind, NonRetryableError, ServerError
from conductor_grpc.poller import DrainReport, PollerHealth, TaskPoller, WorkerHealth
from conductor_grpc.worker import Task, TaskResult, TaskResultStatus, TaskStatus, WorkerInterface, worker_task

__version__ = version("conductor-grpc-client")

__all__ = [
    "ConductorError",
    "Configuration",
    "DrainReport",
    "ErrorKind",
    "EventClient",
    "MetadataClient",
    "NonRetryableError",
    "PollerHealth",
    "ServerError",
    "Task",
    "TaskClient",
    "TaskPoller",
    "TaskResult",
    "TaskResultStatus",
    "TaskStatus",
    "WorkerHealth",
    "WorkerInterface",
    "Workflow",
    "WorkflowClient",
    "WorkflowStatus",
    "__version__",
    "worker_task",
]
