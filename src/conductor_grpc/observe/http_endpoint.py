"""`/metrics`, `/livez` and `/readyz` over HTTP."""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.observe.exposition import CONTENT_TYPE
from conductor_grpc.poller.part import BackgroundPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conductor_grpc.observe.probes import Verdict
    from conductor_grpc.poller.part import DeathHandler

logger = logging.getLogger(__name__)

CLIENT_TIMEOUT: Final = 5.0
"""Seconds that a client gets to send its request and to take the answer."""


class HttpEndpoint(BackgroundPart):
    """Answers GET on a port of this machine until it is stopped; each request has a thread, so a slow one holds up
    nobody. Listens from construction on."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[], bytes],
        probes: Mapping[str, Callable[[], Verdict]],
        on_death: DeathHandler,
    ) -> None:
        """`probes` by their path, as in `/livez`.

        Raises:
            ConfigurationError: Nothing can listen there.
        """
        super().__init__("conductor-metrics-http", on_death)
        try:
            self._server = _Server((host, port), metrics, probes)
        except OSError as error:
            raise ConfigurationError(
                f"MetricsSettings(http_host={host!r}, http_port={port}): cannot listen there, {error}: choose another"
                " port, or an address of this machine. Each process needs a port of its own"
            ) from error
        self._woken, self._waker = socket.socketpair()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), port

    def close(self) -> None:
        """After the end, or instead of a start: listen no more."""
        self._server.server_close()
        self._woken.close()
        self._waker.close()

    def _run(self) -> None:
        # Not serve_forever, whose shutdown waits for ever for a loop that was never begun.
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self.stopping:
                if any(key.fileobj is self._server for key, _ in selector.select()):
                    self._server.handle_request()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._waker.send(b"\0")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Of handle_request, which is called when a client is there. It may be gone again by then, so nothing must block.
    timeout = 0.0

    def __init__(
        self, address: tuple[str, int], metrics: Callable[[], bytes], probes: Mapping[str, Callable[[], Verdict]]
    ) -> None:
        self.metrics = metrics
        self.probes = probes
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)
        self.socket.setblocking(False)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # the one in between asks the name service, which may take long
        self.server_name, self.server_port = "conductor-grpc", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        del request
        logger.debug("the request of %s failed", client_address, exc_info=True)  # mostly, it has hung up


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CLIENT_TIMEOUT
    server_version = "conductor-grpc"
    sys_version = ""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        try:
            if path == "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE, self.server.metrics())
            elif (probe := self.server.probes.get(path)) is not None:
                verdict = probe()
                self._answer_json(HTTPStatus.OK if verdict.good else HTTPStatus.SERVICE_UNAVAILABLE, verdict.document)
            else:
                known = ["/metrics", *self.server.probes]
                self._answer_json(HTTPStatus.NOT_FOUND, {"reasons": [f"{path!r}: expected one of {', '.join(known)}"]})
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            logger.exception("%s cannot be answered", path)
            self._answer_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"reasons": [f"{type(error).__name__}: {error}"]})

    do_HEAD = do_GET  # noqa: N815

    def _answer_json(self, status: HTTPStatus, document: dict[str, object]) -> None:
        self._answer(status, "application/json", json.dumps(document, indent=1).encode() + b"\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        logger.debug(format, *args)
