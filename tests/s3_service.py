"""As much of S3 as storing and reading objects takes: on loopback, in memory, for boto3 and for Amazon's Java SDK.

Signatures are not verified, only that requests are signed.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class S3Service:
    """Context manager. Buckets need not be made; `objects` are by bucket and key, `failing` makes all requests fail."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.failing = False
        service = self

        class Handler(_Handler):
            s3 = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="s3", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: ClassVar[S3Service]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = _unchunked(body)
        if self._refused():
            return
        self.s3.objects[self._place()] = body
        self._answer(200, b"")

    def do_GET(self) -> None:
        if self._refused():
            return
        found = self.s3.objects.get(self._place())
        if found is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>")
        else:
            self._answer(200, found)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Keep quiet."""

    def _place(self) -> tuple[str, str]:
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        return bucket, key

    def _refused(self) -> bool:
        if self.s3.failing:
            self._answer(500, b"<Error><Code>InternalError</Code><Message>out of order</Message></Error>")
        elif "AWS4-HMAC-SHA256" not in self.headers.get("Authorization", ""):
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>not signed</Message></Error>")
        else:
            return False
        return True

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0"')
        self.end_headers()
        self.wfile.write(body)


def _unchunked(body: bytes) -> bytes:
    """The content of `size[;chunk-signature=...] CRLF data CRLF` blocks; the trailer is left out."""
    content = bytearray()
    while True:
        head, _, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if size == 0:
            return bytes(content)
        content += body[:size]
        body = body[size + 2 :]
