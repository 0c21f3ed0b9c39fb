"""What can go wrong inside the engine, under the names of the released server's Java exceptions.

The engine raises these; `services` turns them into gRPC statuses, in strict mode exactly as the released server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import grpc

if TYPE_CHECKING:
    from conductor_grpc.clients.results import WorkflowStatus
    from conductor_grpc.server.embedded.engine.records import TaskRecord


class EngineError(Exception):
    """The base of all of them. `str(error)` is the message that the client sees."""

    java_class: ClassVar[str] = "java.lang.RuntimeException"
    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    """What a server that tells its errors apart answers: the code outside strict mode."""


class NotFoundFailure(EngineError):
    """No such workflow, task or definition."""

    java_class = "com.netflix.conductor.core.exception.NotFoundException"
    code = grpc.StatusCode.NOT_FOUND


class ConflictFailure(EngineError):
    """It exists already, or is in a state that does not allow the request."""

    java_class = "com.netflix.conductor.core.exception.ConflictException"
    code = grpc.StatusCode.FAILED_PRECONDITION


class AlreadyExistsFailure(ConflictFailure):
    """A definition with this name (and version) exists."""

    code = grpc.StatusCode.ALREADY_EXISTS


class IllegalArgumentFailure(EngineError):
    """A request that makes no sense."""

    java_class = "java.lang.IllegalArgumentException"
    code = grpc.StatusCode.INVALID_ARGUMENT


class ConstraintViolation(EngineError):
    """A field that the server's bean validation refuses."""

    java_class = "jakarta.validation.ConstraintViolationException"
    code = grpc.StatusCode.INVALID_ARGUMENT


class IllegalStateFailure(EngineError):
    """The workflow is not in a state for this."""

    java_class = "java.lang.IllegalStateException"
    code = grpc.StatusCode.FAILED_PRECONDITION


class NonTransientFailure(EngineError):
    """It would fail again however often it is tried."""

    java_class = "com.netflix.conductor.core.exception.NonTransientException"
    code = grpc.StatusCode.FAILED_PRECONDITION


class UnmappableValue(EngineError):
    """A value that the released server cannot put on the wire: any integer. Raised in strict mode only."""

    java_class = "java.lang.ClassCastException"
    code = grpc.StatusCode.INTERNAL


class UnsetValue(EngineError):
    """A google.protobuf.Value without a kind in a request."""

    java_class = "java.lang.ClassCastException"
    code = grpc.StatusCode.INVALID_ARGUMENT


class OutOfBoundsFailure(EngineError):
    """Something that is expected in a definition is not in it."""

    java_class = "java.lang.IndexOutOfBoundsException"
    code = grpc.StatusCode.INVALID_ARGUMENT


class ClassCastFailure(EngineError):
    """A value of a type that the released server does not expect. Raised in strict mode only."""

    java_class = "java.lang.ClassCastException"


class UnsupportedFailure(EngineError):
    """Only the released server can do this. Its message is always shown, in strict mode too: nobody but us says it."""

    java_class = "java.lang.UnsupportedOperationException"
    code = grpc.StatusCode.UNIMPLEMENTED


class StoreFailure(EngineError):
    """The disk does not take what has changed: nothing of it may be acknowledged."""

    java_class = "com.netflix.conductor.core.exception.TransientException"
    code = grpc.StatusCode.UNAVAILABLE


class TerminateWorkflow(Exception):
    """The decider's way to end a workflow that cannot go on; never leaves the engine."""

    def __init__(self, reason: str, status: WorkflowStatus, task: TaskRecord | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.task = task
