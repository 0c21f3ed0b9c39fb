"""What stands before the server in a guarded installation: certificates, nginx, and a service that gives tokens."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import trustme
from waiting import wait_for

from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_x_authorization $accepted {{ default 0; {tokens} }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name localhost;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        {client_certificates}
        location /api/ {{
            if ($accepted = 0) {{ return 401; }}
            proxy_pass {rest};
        }}
        {token_service}
        location / {{
            if ($accepted = 0) {{ return 401; }}
            grpc_read_timeout 60s;
            error_page 401 = @unauthenticated;
            grpc_pass grpc://{target};
        }}
        location @certificate {{
            default_type application/grpc;
            add_header grpc-status 16 always;
            add_header grpc-message "the client certificate is not accepted: $ssl_client_verify" always;
            return 204;
        }}
        location @unauthenticated {{
            default_type application/grpc;
            add_header grpc-status 16 always;
            add_header grpc-message "the x-authorization is missing or not valid" always;
            return 204;
        }}
    }}
}}
"""


class Certificates:
    """An authority, the certificates it gives out, and their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, host: str, *, expired: bool = False) -> tuple[Path, Path]:
        """The files of a certificate and its key."""
        now = datetime.now(timezone.utc)
        issued = self._authority.issue_cert(
            host,
            not_before=now - timedelta(days=30),
            not_after=now - timedelta(days=1) if expired else now + timedelta(days=1),
        )
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return certificate, key


class Nginx:
    """nginx that terminates TLS before a server.

    Without `tokens` it asks for none. A client certificate that it does not accept it answers by its page of HTTP 400,
    or, if it `speaks_grpc`, by UNAUTHENTICATED.
    """

    def __init__(
        self,
        folder: Path,
        certificates: Certificates,
        target: str,
        base_url: str | None = None,
        *,
        server_certificate: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        speaks_grpc: bool = False,
        tokens: tuple[str, ...] = (),
        token_service: str | None = None,
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = server_certificate or certificates.issue("server", "127.0.0.1")
        shutil.copy(certificate, folder / "server.pem")
        shutil.copy(key, folder / "server.key")
        (self.port,) = free_ports(1)
        # Not "localhost": where that has a second address, on which nothing listens, gRPC may tell of that one only.
        self.target = f"127.0.0.1:{self.port}"
        self.base_url = f"https://127.0.0.1:{self.port}/api"
        accepted = " ".join(f'"{token}" 1;' for token in tokens) if tokens else "'' 1; ~. 1;"
        (folder / "nginx.conf").write_text(
            NGINX_CONFIGURATION.format(
                folder=folder,
                port=self.port,
                tokens=accepted,
                rest=f"{base_url}/" if base_url else "http://127.0.0.1:1/",
                target=target,
                token_service=(
                    f"location = /api/token {{ proxy_pass {token_service}/token; }}"
                    if token_service is not None
                    else ""
                ),
                client_certificates=(
                    f"ssl_client_certificate {client_ca}; ssl_verify_client on;" if client_ca is not None else ""
                )
                + ("error_page 495 496 = @certificate;" if speaks_grpc else ""),
            )
        )

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        assert program is not None, "nginx is missing: apt-get install nginx-light"
        self._process = subprocess.Popen(
            [program, "-p", self._folder, "-c", self._folder / "nginx.conf", "-e", self._folder / "error.log"]
        )
        try:
            wait_for(self._listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def json_web_token(name: str, expires_in: float, lives: float | None = None) -> str:
    """A token whose expiry can be read; with `lives`, its time of issue too. Nobody checks its signature here."""
    claims: dict[str, object] = {"sub": name, "exp": time.time() + expires_in}
    if lives is not None:
        claims["iat"] = time.time() + expires_in - lives
    parts = ({"alg": "none"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".s"


class TokenService(ThreadingHTTPServer):
    """`POST /api/token`: the answers are taken from `give` in turn, the last for ever; requests are kept."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *give: str) -> None:
        super().__init__(("localhost", 0), _TokenHandler)
        self.give = list(give)
        self.status = 200
        self.requests: list[dict[str, Any]] = []
        self.before_answer: Callable[[], object] = lambda: None
        self.asked = threading.Semaphore(0)
        self.sent_headers: list[dict[str, str]] = []

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self.server_port}/api"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *arguments: object) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class _TokenHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TokenService

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        service = self.server
        service.requests.append({"path": self.path, **json.loads(body)})
        service.sent_headers.append({name.lower(): value for name, value in self.headers.items()})
        service.asked.release()
        service.before_answer()
        token = service.give.pop(0) if len(service.give) > 1 else service.give[0]
        answer = {"token": token} if service.status == 200 else {"message": token}
        self._answer(service.status, answer)

    def do_GET(self) -> None:
        self.server.sent_headers.append({name.lower(): value for name, value in self.headers.items()})
        accepted = self.headers.get("x-authorization") == self.server.give[-1]
        self._answer(200 if accepted else 401, [] if accepted else {"message": "expired"})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""
