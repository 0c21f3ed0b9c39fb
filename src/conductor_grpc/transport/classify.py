"""From a failed gRPC call to the error a user can act on.

The server has no mapping from its exceptions to gRPC codes: what its handlers catch becomes INTERNAL with the
Java exception in a trailer, what they do not catch becomes UNKNOWN without a word. So the kind is made out
from code, exception class and text together. The tables below are that knowledge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import grpc

from conductor_grpc import errors
from conductor_grpc.errors import ErrorKind, ServerError
from conductor_grpc.transport import refusals
from conductor_grpc.transport.addresses import local_host_of_target
from conductor_grpc.transport.trailer import ServerTrace, decode_trailer

if TYPE_CHECKING:
    from conductor_grpc.transport.security import Security

__all__ = ["ErrorKind", "classify", "from_rpc_error"]

_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: ErrorKind.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorKind.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND: ErrorKind.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: ErrorKind.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: ErrorKind.INVALID,
    grpc.StatusCode.UNIMPLEMENTED: ErrorKind.INVALID,
    grpc.StatusCode.ALREADY_EXISTS: ErrorKind.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: ErrorKind.CONFLICT,
    grpc.StatusCode.ABORTED: ErrorKind.TRANSIENT,
    grpc.StatusCode.UNAUTHENTICATED: ErrorKind.AUTH,
    grpc.StatusCode.PERMISSION_DENIED: ErrorKind.AUTH,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorKind.THROTTLED,
}

_BY_EXCEPTION = {
    "NotFoundException": ErrorKind.NOT_FOUND,
    "ConflictException": ErrorKind.CONFLICT,
    "IllegalStateException": ErrorKind.CONFLICT,
    "IllegalArgumentException": ErrorKind.INVALID,
    "ConstraintViolationException": ErrorKind.INVALID,
    "InvalidFormatException": ErrorKind.INVALID,
    "AccessForbiddenException": ErrorKind.AUTH,
    "TransientException": ErrorKind.TRANSIENT,
}

# Texts decide where neither code nor exception class does. Order matters: the first hit wins.
_BY_TEXT = (
    (re.compile(r"cannot map to Value type"), ErrorKind.UNMAPPABLE_PAYLOAD),
    (re.compile(r"unset Value element"), ErrorKind.INVALID),
    (re.compile(r"header with status: 431"), ErrorKind.TOO_LARGE),
    (re.compile(r"header with status: 429"), ErrorKind.THROTTLED),
    # Code 1: a header broke somebody's limit, which says nothing about the error it should have told.
    # Other codes: the stream was reset by the server or a proxy.
    (re.compile(r"RST_STREAM with error code 1\b"), ErrorKind.UNKNOWN),
    (re.compile(r"RST_STREAM with error code \d"), ErrorKind.TRANSIENT),
    (
        re.compile(r"header with status: 5\d\d|Stream removed|Connection (closed|reset)"),
        ErrorKind.UNAVAILABLE,
    ),
    (
        re.compile(
            r"SQLITE_(BUSY|LOCKED)|database (table )?is locked|deadlock|lock (wait )?timeout"
            r"|could not obtain lock|could not serialize access|connection is not available"
            r"|too many (clients|connections)"
            r"|SQLTransient\w*Exception|\bTransient\w*Exception|CannotAcquireLockException|QueryTimeoutException"
            r"|CannotGetJdbcConnectionException|JedisConnectionException|RedisConnectionException"
            r"|SocketTimeoutException|ConnectException",
            re.IGNORECASE,
        ),
        ErrorKind.TRANSIENT,
    ),
    # Nothing wider: a result is given up when its task is not found, and "table not found" is no such news.
    (re.compile(r"no such (workflow|task)\w* found", re.IGNORECASE), ErrorKind.NOT_FOUND),
)

_TOO_LARGE = re.compile(r"exceeds maximum size|larger than max|header size exceeded", re.IGNORECASE)
_GARBLED = re.compile(r"metadata size exceeds", re.IGNORECASE)

# Characters of the server's words that a message repeats; `details` has all of them.
_SHOWN = 600

_LEAVES: dict[ErrorKind, type[ServerError]] = {
    leaf.kind: leaf
    for leaf in (
        errors.NotFoundError,
        errors.ConflictError,
        errors.InvalidRequestError,
        errors.UnmappablePayloadError,
        errors.MessageTooLargeError,
        errors.UnavailableError,
        errors.ThrottledError,
        errors.AuthenticationError,
        errors.TransientError,
        errors.UnknownServerError,
    )
}


def classify(error: grpc.RpcError) -> ErrorKind:
    """What a failed call, synchronous or asyncio, means. Pure; never raises whatever the server sent."""
    code, details, trace = status_code(error), status_details(error), decode_trailer(error)
    return ErrorKind.AUTH if not trace and _tls_advice(code, details, None) else _classify(code, details, trace)


def from_rpc_error(
    error: grpc.RpcError, method: str, target: str = "", security: Security | None = None
) -> ServerError:
    """The leaf of ServerError for a failed call, to be raised `from` it.

    `method` is the path or its short form (`TaskService/GetTask`), `target` the address called, `security` how.
    The message names method and target, the server's words and what to do.
    """
    code, details, trace = status_code(error), status_details(error), decode_trailer(error)
    kind = _classify(code, details, trace)
    tls, advice = None if trace else _tls_advice(code, details, security), None
    if security is not None and tls is None:
        if kind is ErrorKind.AUTH:
            advice = refusals.token_advice(code, security)
        elif kind is ErrorKind.UNAVAILABLE:
            advice = refusals.hung_up_advice(details, security)
    exception_class = trace.exception_class if trace else None
    words = details or (trace.message if trace else "")
    return server_error(
        ErrorKind.AUTH if tls else kind,
        words,
        method=short_name(method),
        target=target,
        code=code,
        exception_class=exception_class,
        advice=tls or advice,
        leaf=errors.TlsError if tls else None,
    )


def _tls_advice(code: grpc.StatusCode, details: str, security: Security | None) -> str | None:
    """The advice for a call that no server has seen, since TLS or a proxy's check of certificates did not let it."""
    tls = None if security is None else security.tls
    if code is grpc.StatusCode.UNAVAILABLE:
        return refusals.tls_advice(details, tls)
    if code is grpc.StatusCode.INTERNAL:
        return refusals.page_advice(details, tls)
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return refusals.certificate_advice(details, tls)
    return None


def server_error(
    kind: ErrorKind,
    details: str,
    *,
    method: str,
    target: str,
    code: grpc.StatusCode,
    exception_class: str | None = None,
    origin: str | None = None,
    advice: str | None = None,
    leaf: type[ServerError] | None = None,
) -> ServerError:
    """The leaf for a kind, with the one message layout that all server errors have.

    `origin` says how the other side put it (default: the gRPC status and the exception class), `advice` what
    to do (default: what fits kind and status of a gRPC call), `leaf` which class it is (default: that of the kind).
    """
    printable = "".join(char if char.isprintable() else " " for char in details[: 2 * _SHOWN])
    said = " ".join(printable.split()) or "the server gave no reason"
    shown = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}... ({len(details)} characters)"
    if origin is None:
        origin = code.name if exception_class is None else f"{code.name}, {exception_class}"
    where = f"{method} at {target}" if target else method
    return (leaf or _LEAVES[kind])(
        f"{where}: {shown.rstrip('.')} [{origin}]. {advice or _advice(kind, code, said, target, exception_class)}",
        code=code,
        method=method,
        details=details,
        exception_class=exception_class,
    )


def short_name(method: str) -> str:
    """`TaskService/GetTask` for `/conductor.grpc.tasks.TaskService/GetTask`."""
    service, slash, name = method.lstrip("/").rpartition("/")
    return f"{service.rpartition('.')[2]}{slash}{name}"


def status_code(error: grpc.RpcError) -> grpc.StatusCode:
    """The call's status code; UNKNOWN for an error that has none."""
    read = getattr(error, "code", None)
    code = read() if callable(read) else None
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def status_details(error: grpc.RpcError) -> str:
    """The call's status text; "" for an error that has none."""
    read = getattr(error, "details", None)
    details = read() if callable(read) else None
    return details if isinstance(details, str) else ""


def _classify(code: grpc.StatusCode, details: str, trace: ServerTrace | None) -> ErrorKind:
    if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        if _TOO_LARGE.search(details):
            return ErrorKind.TOO_LARGE
        if _GARBLED.search(details):
            return ErrorKind.UNKNOWN
    kind = _BY_CODE.get(code)
    if kind is None and trace and trace.exception_class:
        kind = _BY_EXCEPTION.get(trace.exception_class)
    if kind is not None:
        return kind
    return classify_text("\n".join((details, trace.message, *trace.causes)) if trace else details)


def classify_text(text: str) -> ErrorKind:
    """What the words of an error mean where nothing but words is known; UNKNOWN if they say nothing."""
    return next((kind for pattern, kind in _BY_TEXT if pattern.search(text)), ErrorKind.UNKNOWN)


_ADVICE = {
    ErrorKind.NOT_FOUND: "Check the id or name, and that this is the server that has it.",
    ErrorKind.CONFLICT: "Read the current state from the server before trying again.",
    ErrorKind.INVALID: "Correct the request; sending the same again gives the same answer.",
    ErrorKind.UNMAPPABLE_PAYLOAD: (
        "The data holds a JSON integer, which this server cannot send over gRPC: read it over REST "
        "(set base_url, --base-url), or start the workflow with numbers sent as floats."
    ),
    ErrorKind.TOO_LARGE: (
        "Requests to the server may have 4 MiB (4194304 bytes): send less, or store the data elsewhere and "
        "send where it is."
    ),
    ErrorKind.THROTTLED: "Wait before trying again, and poll less often or with fewer workers.",
    ErrorKind.AUTH: "Check the credentials and their rights, at the server and at any proxy before it.",
    ErrorKind.TRANSIENT: "This is expected to pass: try again after a moment.",
    ErrorKind.UNKNOWN: "The server's log tells the cause.",
}


def _advice(kind: ErrorKind, code: grpc.StatusCode, details: str, target: str, exception_class: str | None) -> str:
    if kind is ErrorKind.UNAVAILABLE:
        return _unavailable_advice(code, details, target)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        if exception_class is not None:
            # Only the handler of a call names an exception.
            return "This server knows the call, but cannot do what it asks for."
        where = target or "this target"
        return f"The server at {where} does not know the call: is it a Conductor gRPC port, and new enough?"
    if code is grpc.StatusCode.CANCELLED and kind is ErrorKind.TRANSIENT:
        return "The server ended the call without an answer, as it does for the unary Poll of an empty queue."
    if kind is ErrorKind.UNKNOWN and code is grpc.StatusCode.UNKNOWN:
        return "The server hides the cause; mostly the request is not valid. Its log tells more."
    return _ADVICE[kind]


# As grpcio words it when the other side answers in HTTP/1 or closes during the handshake.
_NOT_HTTP2 = ("http1", "http/1", "settings frame", "connect: socket closed", ": socket closed")
_UNRESOLVED = ("dns", "errors resolving", "name resolution", "lookup")


def _unavailable_advice(code: grpc.StatusCode, details: str, target: str) -> str:
    lowered = details.lower()
    where = target or "the target"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "No answer in time: check the load of the server, or allow more time (call_timeout)."
    if any(sign in lowered for sign in _NOT_HTTP2):
        return (
            f"Something listens at {where} but hangs up on gRPC: mostly it is the server's REST port; "
            "its gRPC port is 8090 by default. If it is one that wants TLS: Configuration(tls=TlsSettings())."
        )
    if any(sign in lowered for sign in _UNRESOLVED):
        return "The host name cannot be resolved: check target."
    start_one = " `conductor-grpc server` starts one on this machine." if local_host_of_target(target) else ""
    return (
        f"Check that the server runs with conductor.grpc-server.enabled=true and that {where} is its gRPC "
        f"port (8090 by default).{start_one}"
    )
