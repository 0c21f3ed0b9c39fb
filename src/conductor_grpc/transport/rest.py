"""The few REST calls for what gRPC cannot carry: tasks that hold JSON integers.

Standard library only. JSON integers stay Python ints.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import ssl
import time
from collections import deque
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode, urlsplit

import grpc

from conductor_grpc.errors import (
    ClosedChannelError,
    PayloadDecodeError,
    ServerError,
    TlsError,
)
from conductor_grpc.payload.json_number import json_number
from conductor_grpc.transport.addresses import normalise_base_url
from conductor_grpc.transport.classify import ErrorKind, classify_text, server_error
from conductor_grpc.transport.refusals import HTTPS_WANTED, tls_advice, token_advice
from conductor_grpc.transport.security import Security, security_of
from conductor_grpc.transport.task_stream import CutShortError, Listing, TaskStream, UnreadableListError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.transport.credentials import Credentials
    from conductor_grpc.transport.tls import LoadedTls

_POLL_GRACE = 10.0
"""Seconds over the wait that the server has for a poll. Hanging up earlier strands the tasks it took."""

_IDLE_LIMIT = 8

_NO_TASK = re.compile(r"task not found|no such task", re.IGNORECASE)
_NO_ROUTE = re.compile(r"no static resource|no (handler|endpoint)", re.IGNORECASE)

_BY_STATUS = {
    400: (ErrorKind.INVALID, grpc.StatusCode.INVALID_ARGUMENT),
    401: (ErrorKind.AUTH, grpc.StatusCode.UNAUTHENTICATED),
    403: (ErrorKind.AUTH, grpc.StatusCode.PERMISSION_DENIED),
    404: (ErrorKind.NOT_FOUND, grpc.StatusCode.NOT_FOUND),
    408: (ErrorKind.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED),
    409: (ErrorKind.CONFLICT, grpc.StatusCode.FAILED_PRECONDITION),
    413: (ErrorKind.TOO_LARGE, grpc.StatusCode.RESOURCE_EXHAUSTED),
    429: (ErrorKind.THROTTLED, grpc.StatusCode.RESOURCE_EXHAUSTED),
    502: (ErrorKind.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
    503: (ErrorKind.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
    504: (ErrorKind.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED),
}


class RestClient:
    """Calls the server's REST API. Thread-safe; usable in a forked child, which gets connections of its own.

    Connections are kept and used again. Every call blocks. It raises a leaf of ServerError, ClosedChannelError
    once closed, and PayloadDecodeError for an answer that is not as expected. Nothing is retried.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = 10.0,
        tls: LoadedTls | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """`base_url`: as in Configuration. `timeout`: seconds to connect, and to wait for the answer.

        `tls` counts where base_url is https, by default with this machine's authorities. `credentials` go with every
        request; one refused as UNAUTHENTICATED is sent once more with a new token.
        """
        self.base_url = normalise_base_url(base_url)
        parts = urlsplit(self.base_url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path
        self._security = Security(tls, credentials)
        self._tls = (tls.context if tls else ssl.create_default_context()) if parts.scheme == "https" else None
        self._timeout = timeout
        self.measure: Callable[[str, str, float, int], None] | None = None
        """Called after each request with its method, path, seconds and HTTP status, 0 where there was no answer."""
        self._closed = False
        self._pid = os.getpid()
        # Taking from and giving to a deque is atomic, so there is no lock that a fork could leave locked.
        self._idle: deque[http.client.HTTPConnection] = deque()

    def pending_tasks(self, task_type: str, count: int = 1000) -> list[dict[str, Any]]:
        """Tasks of a type that have not ended, SCHEDULED and IN_PROGRESS, unordered, at most `count`."""
        path = f"/admin/task/{quote(task_type, safe='')}"
        return self._tasks(path, {"count": count}, self._timeout)

    def list_pending(
        self, task_type: str, count: int, keep: Callable[[dict[str, Any]], bool], *, most_bytes: int, seconds: float
    ) -> Listing:
        """As `pending_tasks`, but a list of thousands costs little memory, and no more than it may cost otherwise.

        Only tasks that `keep` is true for are kept. Beyond `most_bytes` or `seconds` the rest is not read.
        """
        path = f"/admin/task/{quote(task_type, safe='')}"
        listing = Listing()

        def read(response: http.client.HTTPResponse) -> bytes:
            stream = TaskStream(response, most_bytes, seconds)
            try:
                for task in stream:
                    listing.seen += 1
                    if keep(task):
                        listing.tasks.append(task)
            except UnreadableListError as error:
                raise self._unexpected(path, "a list of tasks", stream.head) from error
            finally:
                listing.bytes += stream.bytes
            return b""

        try:
            self._request("GET", path, {"count": count}, self._timeout, read=read)
        except CutShortError as error:
            listing.cut = str(error)
        return listing

    def poll_batch(
        self, task_type: str, worker_id: str, domain: str | None, count: int, timeout_ms: int
    ) -> list[dict[str, Any]]:
        """Poll as BatchPoll does: the tasks returned are this worker's now. `timeout_ms` -1 does not wait."""
        query: dict[str, object] = {"workerid": worker_id, "count": count, "timeout": timeout_ms}
        if domain:
            query["domain"] = domain
        path = f"/tasks/poll/batch/{quote(task_type, safe='')}"
        return self._tasks(path, query, max(self._timeout, _POLL_GRACE) + max(timeout_ms, 0) / 1000)

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        """The task with this id, None if the server does not know it."""
        path = f"/tasks/{quote(task_id, safe='')}"
        try:
            body = self._get(path, {}, self._timeout)
        except ServerError as error:
            # A base_url that leads nowhere is a 404 as well, and no statement about the task.
            if error.kind is ErrorKind.NOT_FOUND and _NO_TASK.search(error.details):
                return None
            raise
        if not body.strip():
            return None
        task = self._json(path, body)
        if not isinstance(task, dict):
            raise self._unexpected(path, "a task", body)
        return cast("dict[str, Any]", task)

    def version(self) -> str:
        """The server's version, such as `3.32.1`."""
        body = self._get("/version", {}, self._timeout)
        text = body.decode("utf-8", "replace").strip()
        if not re.fullmatch(r"[\w.+-]{1,100}", text):
            raise self._unexpected("/version", "a version", body)
        return text

    def server_time(self) -> datetime | None:
        """The server's time, to a second, as HTTP answers tell it; None if this one does not."""

        def read(response: http.client.HTTPResponse) -> bytes:
            response.read()
            return (response.getheader("Date") or "").encode()

        told = self._request("GET", "/version", {}, self._timeout, read=read).decode()
        try:
            return parsedate_to_datetime(told)
        except (TypeError, ValueError):
            return None

    def get_json(self, path: str, query: dict[str, object] | None = None) -> object:
        """The JSON answered at `path` (below base_url, parts already quoted), as for `/workflow/{id}`."""
        return self._json(path, self._get(path, query or {}, self._timeout))

    def post_json(self, path: str, document: object) -> bytes:
        """Send JSON to `path`; the answer's body. Not repeated, like everything here."""
        return self._request("POST", path, {}, self._timeout, json.dumps(document).encode())

    def close(self) -> None:
        """Close all connections; those of calls in flight close when the call ends. Twice is harmless."""
        self._closed = True
        self._drop_idle()

    def __enter__(self) -> RestClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tasks(self, path: str, query: dict[str, object], timeout: float) -> list[dict[str, Any]]:
        body = self._get(path, query, timeout)
        tasks = self._json(path, body)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise self._unexpected(path, "a list of tasks", body)
        return tasks

    def _get(self, path: str, query: dict[str, object], timeout: float) -> bytes:
        return self._request("GET", path, query, timeout)

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, object],
        timeout: float,
        content: bytes | None = None,
        read: Callable[[http.client.HTTPResponse], bytes] = http.client.HTTPResponse.read,
    ) -> bytes:
        """The body, as `read` makes it of an answer that is none of an error."""
        credentials = self._security.credentials
        if credentials is None:
            return self._send(method, path, query, timeout, content, (), read)
        self._check_open(method, path)
        return credentials.carry(lambda carried: self._send(method, path, query, timeout, content, carried, read))

    def _check_open(self, method: str, path: str) -> None:
        if self._closed:
            raise ClosedChannelError(f"{method} {path} at {self.base_url}: this client is closed. Open a new one.")

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, object],
        timeout: float,
        content: bytes | None,
        carried: tuple[tuple[str, str], ...],
        read: Callable[[http.client.HTTPResponse], bytes],
    ) -> bytes:
        self._check_open(method, path)
        headers = {"Accept": "application/json, text/plain", **dict(carried)}
        if content is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self._prefix}{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        connection = self._take()
        began, status = time.monotonic(), 0
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(timeout)
            connection.request(method, url, content, headers)
            response = connection.getresponse()
            body = read(response) if response.status == 200 else response.read()
            status = response.status
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            connection.close()
            raise self._unreachable(f"{method} {path}", error) from error
        except BaseException:
            connection.close()  # an answer half read must not meet the next request
            raise
        finally:
            if self.measure is not None:
                self.measure(method, path, time.monotonic() - began, status)
        self._give_back(connection)
        if response.status != 200:
            raise self._refused(f"{method} {path}", response, body)
        return body

    def _take(self) -> http.client.HTTPConnection:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._drop_idle()  # closes this process's copies only; the parent's connections live on
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            # The server hangs up on idle connections. To notice now beats to guess after a failed request
            # whether it was carried out.
            if connection.sock is None or not _hung_up(connection.sock):
                return connection
            connection.close()
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        if len(self._idle) >= _IDLE_LIMIT:
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last one meanwhile
                self._idle.pop().close()

    def _json(self, path: str, body: bytes) -> object:
        try:
            return json.loads(body, parse_float=json_number)
        except RecursionError as error:
            raise PayloadDecodeError(f"GET {path} at {self.base_url}: the JSON is nested too deep") from error
        except ValueError as error:
            raise self._unexpected(path, "JSON", body) from error

    def _unexpected(self, path: str, expected: str, body: bytes) -> PayloadDecodeError:
        return PayloadDecodeError(
            f"GET {path} at {self.base_url}: expected {expected}, got {_excerpt(body)!r}. "
            "Check that base_url (--base-url) leads to the server's API, mostly http://HOST:8080/api."
        )

    def _unreachable(self, method: str, error: Exception) -> ServerError:
        late = isinstance(error, TimeoutError)
        if isinstance(error, ssl.SSLError) and (refused := tls_advice(str(error), self._security.tls)) is not None:
            return self._tls_error(method, str(error), refused, type(error).__name__)
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
            advice = "This port does not speak HTTP/1: mostly it is the gRPC port; REST has 8080 by default."
        elif late:
            advice = "No answer in time: check the load of the server and the network between."
        else:
            advice = (
                'Check that the server runs and that base_url (--base-url) is its REST address, or "" if it has none.'
            )
        return server_error(
            ErrorKind.UNAVAILABLE,
            str(error) or type(error).__name__,
            method=method,
            target=self.base_url,
            code=grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.UNAVAILABLE,
            origin=type(error).__name__,
            advice=advice,
        )

    def _refused(self, method: str, response: http.client.HTTPResponse, body: bytes) -> ServerError:
        words, retryable = _error_body(body)
        if response.status == 400 and self._tls is not None:
            refused = tls_advice(words, self._security.tls)
            if refused is not None:
                return self._tls_error(method, words, refused, "HTTP 400")
        kind, code = _BY_STATUS.get(response.status, (None, grpc.StatusCode.UNKNOWN))
        advice = token_advice(code, self._security)
        if 300 <= response.status < 400:
            kind = ErrorKind.INVALID
            place = response.getheader("Location")
            advice = f"The server redirects to {place!r}: set base_url (--base-url) to where that is."
        elif kind is None and response.status < 500:
            kind = ErrorKind.INVALID
        elif kind is None:
            kind = ErrorKind.TRANSIENT if retryable else classify_text(words)
            code = grpc.StatusCode.INTERNAL
        if kind is ErrorKind.UNAVAILABLE:
            advice = "Try again after a moment; if it stays, check the server and any proxy before it."
        elif kind is ErrorKind.NOT_FOUND and _NO_ROUTE.search(words):
            advice = "Check that base_url (--base-url) leads to the server's API, mostly http://HOST:8080/api."
        elif response.status == 400 and HTTPS_WANTED in words:
            advice = "This port wants TLS: give base_url with https in place of http."
        elif response.status == 400 and "%2F" in method:
            advice = "The server's REST API does not accept names that contain a slash."
        return server_error(
            kind,
            words or response.reason,
            method=method,
            target=self.base_url,
            code=code,
            origin=f"HTTP {response.status}",
            advice=advice,
        )

    def _tls_error(self, method: str, words: str, advice: str, origin: str) -> ServerError:
        return server_error(
            ErrorKind.AUTH,
            words,
            method=method,
            target=self.base_url,
            code=grpc.StatusCode.UNAVAILABLE,
            origin=origin,
            advice=advice,
            leaf=TlsError,
        )


def open_rest_client(configuration: Configuration) -> RestClient | None:
    """A client for `configuration.base_url`; None if it has none. Raises ConfigurationError as `open_channel` does."""
    if configuration.base_url is None:
        return None
    security = security_of(configuration)
    return RestClient(
        configuration.base_url,
        timeout=configuration.call_timeout,
        tls=security.tls,
        credentials=security.credentials,
    )


def _hung_up(idle: socket.socket) -> bool:
    """Whether there is something to read on a connection on which nothing is due: its end, mostly."""
    waiting = select.poll()  # select.select() fails where the process has more than a thousand files open
    waiting.register(idle, select.POLLIN)
    return bool(waiting.poll(0))


def _error_body(body: bytes) -> tuple[str, bool]:
    """The words of an error answer and whether the server calls it retryable."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body), False
    if not isinstance(answer, dict):
        return _excerpt(body), False
    return str(answer.get("message") or answer.get("error") or ""), answer.get("retryable") is True


def _excerpt(body: bytes) -> str:
    """The readable text of an answer, shortened: without markup if it is a page."""
    text = body[:4000].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        text = re.sub(r"<!--.*?-->|<(style|script|head)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(text.split())[:200]
