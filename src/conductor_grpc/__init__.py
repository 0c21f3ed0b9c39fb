"""Conductor workers and clients over gRPC, with a compiled C++ core.

Everything a program needs is importable from here; `TaskPoller` is where to begin. Names are loaded when they are
asked for: whoever needs an error class, or none of it, does not load gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.lazy_names import loading

if TYPE_CHECKING:
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
        ExternalPayloadError,
        ForkedChannelError,
        InputError,
        InvalidRequestError,
        JournalError,
        LauncherError,
        MessageTooLargeError,
        NonRetryableError,
        NotFoundError,
        PayloadDecodeError,
        PayloadEncodeError,
        PayloadError,
        PollerError,
        ResourceError,
        ServerError,
        TaskCancelledError,
        ThrottledError,
        TlsError,
        TokenError,
        TokenUnavailableError,
        TransientError,
        UnavailableError,
        UnknownServerError,
        UnmappablePayloadError,
        WaitTimeoutError,
        WorkerDefinitionError,
        WorkerProcessError,
    )
    from conductor_grpc.handler import HandlerHealth, HandlerReport, ProcessHealth, ProcessReport, TaskHandler
    from conductor_grpc.headers import get_cmake_dir, get_include
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.payload.external import ExternalPayloadStorage, FilesystemPayloadStorage, S3PayloadStorage
    from conductor_grpc.poller import DrainReport, PollerHealth, TaskPoller, WorkerHealth
    from conductor_grpc.transport.authentication import AuthenticationSettings
    from conductor_grpc.transport.tls import TlsSettings
    from conductor_grpc.worker import (
        AsyncCallNext,
        CallNext,
        Cancellation,
        Middleware,
        Resource,
        Task,
        TaskContext,
        TaskInProgress,
        TaskLogFilter,
        TaskResult,
        TaskResultStatus,
        TaskStatus,
        WorkerInterface,
        current_task,
        rate_limit,
        timing,
        worker_task,
    )
    from conductor_grpc.worker.definition import TaskDefinition
    from conductor_grpc.worker.inputs.schema import input_schema, output_schema
    from conductor_grpc.worker.slots.machine_load import Load
    from conductor_grpc.worker.slots.resource_based import ResourceBasedSlots
    from conductor_grpc.worker.slots.supplier import FixedSlots, SlotSupplier, SlotUse

    __version__: str

__all__ = [
    "AsyncCallNext",
    "AuthenticationError",
    "AuthenticationSettings",
    "CallNext",
    "Cancellation",
    "ClosedChannelError",
    "ConductorError",
    "Configuration",
    "ConfigurationError",
    "ConflictError",
    "DefinitionError",
    "DrainReport",
    "ErrorKind",
    "EventClient",
    "ExternalPayloadError",
    "ExternalPayloadStorage",
    "FilesystemPayloadStorage",
    "FixedSlots",
    "ForkedChannelError",
    "HandlerHealth",
    "HandlerReport",
    "InputError",
    "InvalidRequestError",
    "JournalError",
    "LauncherError",
    "Load",
    "MessageTooLargeError",
    "MetadataClient",
    "MetricsSettings",
    "Middleware",
    "NonRetryableError",
    "NotFoundError",
    "PayloadDecodeError",
    "PayloadEncodeError",
    "PayloadError",
    "PollerError",
    "PollerHealth",
    "ProcessHealth",
    "ProcessReport",
    "Resource",
    "ResourceBasedSlots",
    "ResourceError",
    "S3PayloadStorage",
    "ServerError",
    "SlotSupplier",
    "SlotUse",
    "Task",
    "TaskCancelledError",
    "TaskClient",
    "TaskContext",
    "TaskDefinition",
    "TaskHandler",
    "TaskInProgress",
    "TaskLogFilter",
    "TaskPoller",
    "TaskResult",
    "TaskResultStatus",
    "TaskStatus",
    "ThrottledError",
    "TlsError",
    "TlsSettings",
    "TokenError",
    "TokenUnavailableError",
    "TransientError",
    "UnavailableError",
    "UnknownServerError",
    "UnmappablePayloadError",
    "WaitTimeoutError",
    "WorkerDefinitionError",
    "WorkerHealth",
    "WorkerInterface",
    "WorkerProcessError",
    "Workflow",
    "WorkflowClient",
    "WorkflowStatus",
    "__version__",
    "current_task",
    "get_cmake_dir",
    "get_include",
    "input_schema",
    "output_schema",
    "rate_limit",
    "timing",
    "worker_task",
]

_HOMES = {
    "AsyncCallNext": "worker",
    "AuthenticationError": "errors",
    "AuthenticationSettings": "transport.authentication",
    "CallNext": "worker",
    "Cancellation": "worker",
    "ClosedChannelError": "errors",
    "ConductorError": "errors",
    "Configuration": "configuration",
    "ConfigurationError": "errors",
    "ConflictError": "errors",
    "DefinitionError": "errors",
    "DrainReport": "poller",
    "ErrorKind": "errors",
    "EventClient": "clients",
    "ExternalPayloadError": "errors",
    "ExternalPayloadStorage": "payload.external",
    "FilesystemPayloadStorage": "payload.external",
    "ForkedChannelError": "errors",
    "HandlerHealth": "handler",
    "HandlerReport": "handler",
    "InputError": "errors",
    "InvalidRequestError": "errors",
    "JournalError": "errors",
    "LauncherError": "errors",
    "MessageTooLargeError": "errors",
    "MetadataClient": "clients",
    "MetricsSettings": "observe",
    "Middleware": "worker",
    "NonRetryableError": "errors",
    "NotFoundError": "errors",
    "PayloadDecodeError": "errors",
    "PayloadEncodeError": "errors",
    "PayloadError": "errors",
    "PollerError": "errors",
    "PollerHealth": "poller",
    "ProcessHealth": "handler",
    "ProcessReport": "handler",
    "Resource": "worker",
    "ResourceError": "errors",
    "S3PayloadStorage": "payload.external",
    "ServerError": "errors",
    "Task": "worker",
    "TaskCancelledError": "errors",
    "TaskClient": "clients",
    "TaskContext": "worker",
    "TaskHandler": "handler",
    "TaskDefinition": "worker.definition",
    "TaskInProgress": "worker",
    "TaskLogFilter": "worker",
    "TaskPoller": "poller",
    "TaskResult": "worker",
    "TaskResultStatus": "worker",
    "TaskStatus": "worker",
    "ThrottledError": "errors",
    "TlsError": "errors",
    "TlsSettings": "transport.tls",
    "TokenError": "errors",
    "TokenUnavailableError": "errors",
    "TransientError": "errors",
    "UnavailableError": "errors",
    "UnknownServerError": "errors",
    "UnmappablePayloadError": "errors",
    "WaitTimeoutError": "errors",
    "WorkerDefinitionError": "errors",
    "WorkerProcessError": "errors",
    "WorkerHealth": "poller",
    "WorkerInterface": "worker",
    "Workflow": "clients",
    "WorkflowClient": "clients",
    "WorkflowStatus": "clients",
    "current_task": "worker",
    "get_cmake_dir": "headers",
    "get_include": "headers",
    "input_schema": "worker.inputs.schema",
    "output_schema": "worker.inputs.schema",
    "rate_limit": "worker",
    "timing": "worker",
    "worker_task": "worker",
    "FixedSlots": "worker.slots.supplier",
    "SlotSupplier": "worker.slots.supplier",
    "SlotUse": "worker.slots.supplier",
    "ResourceBasedSlots": "worker.slots.resource_based",
    "Load": "worker.slots.machine_load",
}

_MODULES = ("clients", "configuration", "definitions", "errors", "payload", "pb", "poller", "transport", "worker")
"""`import conductor_grpc` is enough for these."""

if not TYPE_CHECKING:  # a checker that saw it would take any name for one of ours
    _load = loading(__name__, {**_HOMES, **{name: name for name in _MODULES}})

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("conductor-grpc-client")
        return _load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
