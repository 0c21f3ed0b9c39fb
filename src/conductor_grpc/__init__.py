"""Conductor workers and clients over gRPC, with a compiled C++ core.

Everything a program needs is importable from here; `TaskPoller` is where to begin.
"""

from __future__ import annotations

from importlib.metadata import version

from conductor_grpc.clients import EventClient, MetadataClient, TaskClient, Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.configuration import Configuration
from conductor_grpc.errors import (
    AuthenticationError,
    ClosedChannelError,
    ConductorError,
    ConfigurationError,
    ConflictError,
    DefinitionError,
    ErrorKind,
    ForkedChannelError,
    InputError,
    InvalidRequestError,
    LauncherError,
    MessageTooLargeError,
    NonRetryableError,
    NotFoundError,
    PayloadDecodeError,
    PayloadEncodeError,
    PayloadError,
    PollerError,
    ServerError,
    ThrottledError,
    TransientError,
    UnavailableError,
    UnknownServerError,
    UnmappablePayloadError,
    WaitTimeoutError,
    WorkerDefinitionError,
)
from conductor_grpc.poller import DrainReport, PollerHealth, TaskPoller, WorkerHealth
from conductor_grpc.worker import Task, TaskResult, TaskResultStatus, TaskStatus, WorkerInterface, worker_task

__version__ = version("conductor-grpc-client")

__all__ = [
    "AuthenticationError",
    "ClosedChannelError",
    "ConductorError",
    "Configuration",
    "ConfigurationError",
    "ConflictError",
    "DefinitionError",
    "DrainReport",
    "ErrorKind",
    "EventClient",
    "ForkedChannelError",
    "InputError",
    "InvalidRequestError",
    "LauncherError",
    "MessageTooLargeError",
    "MetadataClient",
    "NonRetryableError",
    "NotFoundError",
    "PayloadDecodeError",
    "PayloadEncodeError",
    "PayloadError",
    "PollerError",
    "PollerHealth",
    "ServerError",
    "Task",
    "TaskClient",
    "TaskPoller",
    "TaskResult",
    "TaskResultStatus",
    "TaskStatus",
    "ThrottledError",
    "TransientError",
    "UnavailableError",
    "UnknownServerError",
    "UnmappablePayloadError",
    "WaitTimeoutError",
    "WorkerDefinitionError",
    "WorkerHealth",
    "WorkerInterface",
    "Workflow",
    "WorkflowClient",
    "WorkflowStatus",
    "__version__",
    "worker_task",
]
