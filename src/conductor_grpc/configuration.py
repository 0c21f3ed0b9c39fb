"""Where the server is and how this process talks to it."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.transport import addresses
from conductor_grpc.transport.call_headers import CallHeaders
from conductor_grpc.transport.plaintext import check_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conductor_grpc.payload.external import ExternalPayloadStorage
    from conductor_grpc.transport.authentication import AuthenticationSettings
    from conductor_grpc.transport.tls import TlsSettings

TARGET_VARIABLE = "CONDUCTOR_GRPC_TARGET"
BASE_URL_VARIABLE = "CONDUCTOR_SERVER_URL"
JOURNAL_VARIABLE = "CONDUCTOR_GRPC_JOURNAL"

SERVER_PAYLOAD_THRESHOLD = 3072 * 1024
"""Bytes of JSON beyond which the server, by its defaults, moves a task's input or output to external storage."""

SERVER_PAYLOAD_LIMIT = 10_240 * 1024
"""Bytes of JSON that the server, by its defaults, lets a task's input or output have at all."""

SERVER_POLL_LIMIT_MS = 5000
"""The longest wait that the server allows for one poll; it refuses more as INVALID_ARGUMENT."""


@dataclass(frozen=True, init=False)
class Configuration:
    """Settings of workers and clients: checked at construction, then immutable, hashable and picklable.

    An address that is not given (None) is taken from the environment, `CONDUCTOR_GRPC_TARGET` and
    `CONDUCTOR_SERVER_URL`, read at construction only. Then:

    * neither known: `localhost:8090` and `http://localhost:8080/api`, the server's defaults;
    * only one known and it is on this machine: the other follows on the same host with the default port;
    * only `target` known, on another host or a unix socket: `base_url` is None, nothing uses REST;
    * only `base_url` known, on another host: ConfigurationError, for a gRPC port cannot be guessed;
    * `base_url=""`: None whatever the environment says, for a server whose REST port is not reachable.

    Raises ConfigurationError, which names the value, what was expected and what to do.
    """

    base_url: str | None
    """The server's REST address: `http(s)://host[:port]/path`, no trailing slash, `/api` where no path was
    given. Used for what gRPC cannot carry (tasks that hold JSON integers). None: REST is not available."""

    authentication_settings: AuthenticationSettings | None
    """The access key for a server that asks for a token: got by `POST {base_url}/token`, sent with every call as
    `x-authorization`, renewed in time. None: no token. Never taken from the environment by itself, see
    `AuthenticationSettings.from_environment`."""

    debug: bool
    """True: `configure_logging()` makes the package log at DEBUG."""

    target: str
    """The server's gRPC address: `host:port` or another form of gRPC name (`dns:///`, `unix:`, `ipv4:`)."""

    tls: TlsSettings | None
    """TLS to `target`, and whom to trust and what to show there and at a `base_url` with https. None: no TLS to
    `target`, and at a `base_url` with https the authorities of this machine."""

    headers: CallHeaders
    """Sent with every call, over gRPC and REST, as `{"x-tenant": "a"}`. Its repr shows no value."""

    allow_plaintext_credentials: bool
    """True: the access key, tokens and headers such as `authorization` may go to another host without TLS, where
    whoever is on the way can read them. False: ConfigurationError."""

    worker_id: str
    """The name under which this process polls. Default: `hostname-pid-random`, the same for all
    configurations made in one process. Tasks are reclaimed by it, so no two live processes may share one."""

    domain: str | None
    """The task domain polled unless a worker names its own; None: tasks without a domain."""

    big_integers: Literal["error", "string"]
    """What to do with an int beyond 2**53, which gRPC cannot carry exactly: refuse it, or send a string."""

    poll_wait_ms: int
    """Milliseconds an idle poll waits on the server, 1 to 5000 (the server's limit)."""

    drain_timeout: float
    """Seconds that running tasks get to finish when a poller stops, 0 or more."""

    outbox_limit: int
    """Finished tasks not yet acknowledged by the server beyond which no more are polled, at least 1."""

    outbox_bytes: int
    """The same limit in bytes of their results, at least 1."""

    task_limit: int | None
    """Tasks that run at a time over all workers of a poller, at least 1; each worker's own `concurrency` or slots are a
    limit besides. None: there is no such limit."""

    lease_limit: float | None
    """Seconds for which a task that exceeds its response timeout is kept by extending its lease, more than 0;
    None: for as long as it runs."""

    cancellation_check: float | None
    """Seconds that a task runs before the poller asks the server whether it is still wanted, and between two such
    looks, more than 0; None: it never asks. At most 20 looks a second, whatever the number of tasks."""

    call_timeout: float
    """Seconds until a call without a deadline of its own fails, more than 0. Long polls set their own."""

    journal: Path | None
    """The folder in which a poller remembers what it must not lose when its process is killed; each process needs
    one of its own. Default: from the environment, `CONDUCTOR_GRPC_JOURNAL`, else None, no journal; "" is None
    whatever the environment says. Relative to the folder of now, made when a poller starts."""

    crash_limit: int | None
    """With a journal: with how many processes a task may be when they die before it fails, as an attempt that counts,
    and is not handed back once more; at least 1. None: no limit, so one that kills its process does so for ever."""

    external_payload_storage: ExternalPayloadStorage | None
    """Where payloads lie that are too large for a message; the server must be configured to use the same place.
    None: an output that the server would not take, and an input that lies elsewhere, fail their task."""

    external_payload_threshold: int
    """Bytes of JSON beyond which an output goes to `external_payload_storage`, at least 1. Default: the server's
    own limit (`conductor.app.taskOutputPayloadSizeThreshold`), from which on it would move the output itself."""

    external_payload_limit: int
    """Bytes of JSON that an output in `external_payload_storage` may have, at least 1; with a larger one the task
    fails. Default: the server's own limit (`conductor.app.maxTaskOutputPayloadSizeThreshold`), beyond which it may
    be unable to end the workflow."""

    def __init__(
        self,
        base_url: str | None = None,
        debug: bool = False,
        authentication_settings: AuthenticationSettings | None = None,
        *,
        target: str | None = None,
        tls: TlsSettings | None = None,
        headers: Mapping[str, str] | None = None,
        allow_plaintext_credentials: bool = False,
        worker_id: str | None = None,
        domain: str | None = None,
        big_integers: Literal["error", "string"] = "error",
        poll_wait_ms: int = SERVER_POLL_LIMIT_MS,
        drain_timeout: float = 30.0,
        outbox_limit: int = 1000,
        outbox_bytes: int = 64 * 1024 * 1024,
        task_limit: int | None = None,
        lease_limit: float | None = None,
        cancellation_check: float | None = 5.0,
        call_timeout: float = 30.0,
        journal: str | Path | None = None,
        crash_limit: int | None = 3,
        external_payload_storage: ExternalPayloadStorage | None = None,
        external_payload_threshold: int = SERVER_PAYLOAD_THRESHOLD,
        external_payload_limit: int = SERVER_PAYLOAD_LIMIT,
    ) -> None:
        for name, flag in (("debug", debug), ("allow_plaintext_credentials", allow_plaintext_credentials)):
            if not isinstance(flag, bool):
                raise ConfigurationError(f"{name} {flag!r}: expected True or False")
        if big_integers not in ("error", "string"):
            raise ConfigurationError(f"big_integers {big_integers!r}: expected 'error' or 'string'")
        resolved_target, resolved_base_url = _resolve_addresses(target, base_url)
        values: dict[str, object] = {
            "base_url": resolved_base_url,
            "authentication_settings": authentication_settings,
            "debug": debug,
            "target": resolved_target,
            "tls": tls,
            "headers": CallHeaders(headers),
            "allow_plaintext_credentials": allow_plaintext_credentials,
            "worker_id": default_worker_id() if worker_id is None else _name("worker_id", worker_id),
            "domain": _name("domain", domain) if domain else None,
            "big_integers": big_integers,
            "poll_wait_ms": _whole("poll_wait_ms", poll_wait_ms, 1, SERVER_POLL_LIMIT_MS),
            "drain_timeout": _seconds("drain_timeout", drain_timeout),
            "outbox_limit": _whole("outbox_limit", outbox_limit, 1, None),
            "outbox_bytes": _whole("outbox_bytes", outbox_bytes, 1, None),
            "task_limit": None if task_limit is None else _whole("task_limit", task_limit, 1, None),
            "lease_limit": None if lease_limit is None else _seconds("lease_limit", lease_limit, zero=False),
            "cancellation_check": (
                None if cancellation_check is None else _seconds("cancellation_check", cancellation_check, zero=False)
            ),
            "call_timeout": _seconds("call_timeout", call_timeout, zero=False),
            "journal": _folder("journal", os.environ.get(JOURNAL_VARIABLE) if journal is None else journal),
            "crash_limit": None if crash_limit is None else _whole("crash_limit", crash_limit, 1, None),
            "external_payload_storage": _storage(external_payload_storage),
            "external_payload_threshold": _whole("external_payload_threshold", external_payload_threshold, 1, None),
            "external_payload_limit": _whole("external_payload_limit", external_payload_limit, 1, None),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        check_credentials(self)

    def with_changes(self, **changes: Any) -> Configuration:
        """A copy with some settings changed. The others stay as they are, also a base_url or journal of None.

        (`dataclasses.replace` would take them from the environment anew.)
        """
        settings: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        settings["base_url"] = self.base_url or ""
        settings["journal"] = self.journal or ""
        return Configuration(**{**settings, **changes})

    def configure_logging(self) -> None:
        """With `debug`, set the logger `conductor_grpc` to DEBUG; without, change nothing. Pollers call this.

        Where the program has set up no logging at all, a handler to stderr is added too, for Python would
        otherwise drop everything below WARNING. Calling it again changes nothing.
        """
        if not self.debug:
            return
        from conductor_grpc.worker.log_filter import TaskLogFilter  # it stands above this module

        logger = logging.getLogger("conductor_grpc")
        logger.setLevel(logging.DEBUG)
        if not logger.hasHandlers():
            handler = logging.StreamHandler()
            handler.setFormatter(
                logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(threadName)s] %(message)s%(in_task)s")
            )
            handler.addFilter(TaskLogFilter())
            logger.addHandler(handler)


def configured(configuration: Configuration | None) -> Configuration:
    """The one given, or one from the environment.

    Raises:
        ConfigurationError: That is something else, or the environment has no usable value.
    """
    if configuration is None:
        return Configuration()
    if not isinstance(configuration, Configuration):
        raise ConfigurationError(f"configuration is {configuration!r:.80}, expected a Configuration(...), or None")
    return configuration


def _resolve_addresses(target: str | None, base_url: str | None) -> tuple[str, str | None]:
    if target is None:
        target = os.environ.get(TARGET_VARIABLE) or None
    if base_url is None:
        base_url = os.environ.get(BASE_URL_VARIABLE) or None
    target = None if target is None else addresses.check_target(target)
    if base_url is not None and base_url != "":
        normalised = addresses.normalise_base_url(base_url)
        return target or _target_beside(normalised), normalised
    if target is None:
        target = f"localhost:{addresses.DEFAULT_GRPC_PORT}"
    return target, None if base_url == "" else addresses.default_base_url(target)


def _target_beside(base_url: str) -> str:
    host = addresses.host_of_base_url(base_url)
    if not addresses.is_local(host):
        raise ConfigurationError(
            f"base_url {base_url!r} is on another host and no gRPC target is given: pass target="
            f"'{host}:{addresses.DEFAULT_GRPC_PORT}' (with your server's gRPC port) or set {TARGET_VARIABLE}"
        )
    return f"{host}:{addresses.DEFAULT_GRPC_PORT}"


def _name(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} {value!r}: expected a string that is not blank, or None for the default")
    if not value.isprintable():
        raise ConfigurationError(f"{name} {value!r} holds control characters: leave them out")
    return value


def _folder(name: str, value: object) -> Path | None:
    if value is None or value == "":
        return None
    if not isinstance(value, (str, Path)) or "\0" in str(value):
        raise ConfigurationError(f"{name} {value!r}: expected the path of a folder, or None")
    # Absolute from now on: a process may change its folder before it starts a poller.
    return Path(os.path.abspath(os.path.expanduser(value)))  # noqa: PTH100, PTH111 - resolve() would follow links


def _storage(value: object) -> object:
    if value is not None and not all(callable(getattr(value, name, None)) for name in ("upload", "download")):
        # Its type only: what it is made of may be secret.
        raise ConfigurationError(
            f"external_payload_storage is a {type(value).__name__}: expected an object with the methods upload and"
            " download, such as FilesystemPayloadStorage(folder), or None"
        )
    return value


def _whole(name: str, value: object, least: int, most: int | None) -> int:
    expected = f"expected a whole number from {least} to {most}" if most else f"expected a whole number >= {least}"
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise ConfigurationError(f"{name} {value!r}: {expected}")
    return value


def _seconds(name: str, value: object, *, zero: bool = True) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not zero):  # type: ignore[operator]
        raise ConfigurationError(f"{name} {value!r}: expected seconds, a finite number {'>=' if zero else '>'} 0")
    return float(value)  # type: ignore[arg-type]


_worker_ids: dict[int, str] = {}


def default_worker_id() -> str:
    """`hostname-pid-random`, the same in one process whenever asked, another one in a forked child."""
    pid = os.getpid()
    # setdefault: two threads that ask at once for the first time get the same answer.
    return _worker_ids.setdefault(pid, f"{socket.gethostname()}-{pid}-{secrets.token_hex(4)}")
