"""Every error a user of this package can meet, under one root.

The docstring of a class is its default message. Errors cross process boundaries, so each of them pickles with
all its attributes, those of a user's own subclasses included.
"""

from __future__ import annotations

import enum
import inspect
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import grpc


class ErrorKind(enum.Enum):
    """What an error of the server means for the caller.

    The server's own status codes say little (nearly everything is INTERNAL): branch on the kind instead.
    """

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UNMAPPABLE_PAYLOAD = "unmappable_payload"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    THROTTLED = "throttled"
    AUTH = "auth"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"

    @property
    def retryable(self) -> bool:
        """True if the same request may succeed later without anybody changing anything.

        Says nothing about whether repeating it is *safe*: a poll may have taken tasks before it failed.
        """
        return self in _RETRYABLE_KINDS


_RETRYABLE_KINDS = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED, ErrorKind.TRANSIENT})


class ConductorError(Exception):
    """Something went wrong in the Conductor client."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(_default_message(type(self)) if message is None else message)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with `args`, which differ from its parameters in most subclasses.
        return _restore, (type(self), self.args, self.__dict__.copy())


def _default_message(cls: type[ConductorError]) -> str:
    return (inspect.getdoc(cls) or cls.__name__).partition("\n\n")[0].replace("\n", " ")


def _restore(cls: type[ConductorError], args: tuple[object, ...], state: dict[str, object]) -> ConductorError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _located(message: str, path: str) -> str:
    """The message with the path in front, unless it names the path itself."""
    # A path that is one plain word, such as "a", says nothing by occurring somewhere in the text.
    named = message.startswith(f"{path}:") or (path in message and not path.isidentifier())
    return message if not path or named else f"{path}: {message}"


class ConfigurationError(ConductorError):
    """A setting has a value that cannot work."""


class DefinitionError(ConductorError):
    """A task or workflow definition is not valid.

    `path` is the JSON path of the offending value, e.g. `tasks[2].inputParameters`; "" for the whole of it.
    """

    def __init__(self, message: str | None = None, path: str = "") -> None:
        super().__init__(_located(_default_message(type(self)) if message is None else message, path))
        self.path = path


class PayloadError(ConductorError):
    """A payload could not be converted.

    `path` leads to the offending value, e.g. `output.items[3].price`; "" where there is none.
    """

    def __init__(self, message: str | None = None, path: str = "") -> None:
        super().__init__(_located(_default_message(type(self)) if message is None else message, path))
        self.path = path


class PayloadEncodeError(PayloadError):
    """A Python value has no representation in the server's JSON values."""


class PayloadDecodeError(PayloadError):
    """Bytes from the server are not the message they should be."""


class ExternalPayloadError(PayloadError):
    """A payload in external storage could not be stored or read.

    `path` is the storage's own path of it; "" where there is none yet.
    """


class InputError(ConductorError):
    """An input of the worker is missing or has the wrong type.

    `parameter` is its name in the task's input data.
    """

    def __init__(self, parameter: str, message: str | None = None) -> None:
        super().__init__(_located(_default_message(type(self)) if message is None else message, parameter))
        self.parameter = parameter


class WorkerDefinitionError(ConductorError):
    """A worker is declared in a way that cannot work."""


class NonRetryableError(ConductorError):
    """The worker says that trying this task again is of no use.

    Raised by a worker, it ends the task as FAILED_WITH_TERMINAL_ERROR whatever retries its definition allows.
    """


class TaskCancelledError(ConductorError):
    """The task was cancelled while it ran, so nobody waits for its result.

    Raised by a worker whose task was cancelled, it ends the work without a result. From a worker whose task was not,
    it is an error like any other.
    """


class WorkerProcessError(ConductorError):
    """The process that ran the task has died.

    Not raised by anything: it is the reason of the task's failure. Workers with `executor="process"` only.
    """


class ForkedChannelError(ConductorError):
    """This gRPC channel was opened before the process forked and cannot be used in the child.

    gRPC's threads do not survive a fork. Start processes with "spawn", or open the client in the child.
    """


class ClosedChannelError(ConductorError):
    """This client is closed and cannot be used any more: open a new one."""


class LauncherError(ConductorError):
    """The Conductor server could not be started."""


class JournalError(ConductorError):
    """The journal's folder is in use by another process."""


class PollerError(ConductorError):
    """A background part of the poller died; the log has its traceback."""


class ResourceError(ConductorError):
    """A resource of the workers could not be opened."""


class WaitTimeoutError(ConductorError):
    """The workflow did not end in the time given; it goes on running on the server."""

    def __init__(self, message: str | None = None, workflow_id: str = "") -> None:
        super().__init__(message)
        self.workflow_id = workflow_id


class ServerError(ConductorError):
    """The server answered with an error, or could not be reached.

    `kind` is a constant of each leaf. `code` is the gRPC status (for REST the one nearest to the HTTP one),
    `method` names the call (`TaskService/GetTask`, `GET /tasks/{id}`), `details` are the server's own words,
    `exception_class` is the Java exception if the server told it, e.g. `NotFoundException`.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.UNKNOWN

    def __init__(
        self,
        message: str | None = None,
        *,
        code: grpc.StatusCode,
        method: str = "",
        details: str = "",
        exception_class: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.method = method
        self.details = details
        self.exception_class = exception_class


class NotFoundError(ServerError):
    """The server knows no such workflow, task or definition."""

    kind = ErrorKind.NOT_FOUND


class ConflictError(ServerError):
    """The request contradicts the state on the server."""

    kind = ErrorKind.CONFLICT


class InvalidRequestError(ServerError):
    """The server refuses the request as invalid."""

    kind = ErrorKind.INVALID


class UnmappablePayloadError(ServerError):
    """The answer holds a value, mostly a JSON integer, that the server cannot send over gRPC."""

    kind = ErrorKind.UNMAPPABLE_PAYLOAD


class MessageTooLargeError(ServerError):
    """The request or the answer is larger than the receiver accepts (4 MiB for a request)."""

    kind = ErrorKind.TOO_LARGE


class UnavailableError(ServerError):
    """The server cannot be reached or did not answer in time."""

    kind = ErrorKind.UNAVAILABLE


class ThrottledError(ServerError):
    """The server, or a proxy before it, asks to slow down."""

    kind = ErrorKind.THROTTLED


class AuthenticationError(ServerError):
    """The server, or a proxy before it, does not accept the credentials."""

    kind = ErrorKind.AUTH


class TlsError(AuthenticationError):
    """No call was made, for one end of the connection does not accept what the other shows in TLS."""


class TokenError(AuthenticationError):
    """No call was made, for the token service does not give a token for this key."""


class TokenUnavailableError(UnavailableError):
    """No call was made, for the token service cannot be reached or failed, and there is no token."""


class TransientError(ServerError):
    """The server failed in a way that is expected to pass, such as a locked database."""

    kind = ErrorKind.TRANSIENT


class UnknownServerError(ServerError):
    """The server failed and did not say why."""

    kind = ErrorKind.UNKNOWN
