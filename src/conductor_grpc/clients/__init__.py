"""Every call of the server's four services, with Python types."""

from __future__ import annotations

from conductor_grpc.clients.event import EventClient
from conductor_grpc.clients.metadata import MetadataClient, Registered
from conductor_grpc.clients.results import (
    PolledTasks,
    QueueShard,
    TaskSummary,
    WorkflowStatus,
    WorkflowSummary,
)
from conductor_grpc.clients.search import SearchOptions, SearchResult
from conductor_grpc.clients.task import TaskClient
from conductor_grpc.clients.workflow import WorkflowClient
from conductor_grpc.clients.workflow_run import Workflow

__all__ = [
    "EventClient",
    "MetadataClient",
    "PolledTasks",
    "QueueShard",
    "Registered",
    "SearchOptions",
    "SearchResult",
    "TaskClient",
    "TaskSummary",
    "Workflow",
    "WorkflowClient",
    "WorkflowStatus",
    "WorkflowSummary",
]
