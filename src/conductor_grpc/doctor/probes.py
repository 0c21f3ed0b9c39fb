"""What a socket tells about an address at which gRPC has failed."""

from __future__ import annotations

import enum
import os
import socket
import ssl
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from conductor_grpc.transport.addresses import local_host_of_target

_SECONDS: Final = 1.0
"""For each step: whoever listens answers to them at once."""

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
"""As `socket.getaddrinfo` gives it."""

_REQUEST: Final = b"GET /api/version HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"


class Listener(enum.Enum):
    """Who is at an address."""

    UNKNOWN_NAME = enum.auto()
    NOBODY = enum.auto()
    """Connections are refused."""
    SILENCE = enum.auto()
    """Nothing comes back, not even a refusal."""
    HTTP_1 = enum.auto()
    TLS = enum.auto()
    """Without TLS there is no talking to it."""
    SOMEBODY = enum.auto()
    """It takes connections."""


def host_and_port(target: str) -> tuple[str, int] | None:
    """Of a checked gRPC target; None for those that name no single host."""
    if target.startswith("dns:"):
        target = target.rpartition("/")[2].removeprefix("dns:")
    elif target.startswith(("unix:", "unix-abstract:", "ipv4:", "ipv6:")):
        return None
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def who_listens(host: str, port: int) -> Listener:
    """Connects and asks in HTTP/1 and in TLS. Blocks, some seconds at most after the name is resolved."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Listener.UNKNOWN_NAME
    answers = [_at(family, address) for family, _, _, _, address in addresses]
    for answer in (Listener.HTTP_1, Listener.TLS, Listener.SOMEBODY, Listener.SILENCE):
        if answer in answers:
            return answer
    return Listener.NOBODY


def _at(family: int, address: Address) -> Listener:
    try:
        with _connected(family, address) as plain:
            plain.sendall(_REQUEST % b"localhost")
            answer = _first_bytes(plain)
    except TimeoutError:
        return Listener.SILENCE
    except OSError:
        return Listener.NOBODY
    if b"HTTPS port" in answer:
        return Listener.TLS
    if answer.startswith(b"HTTP/1"):
        return Listener.HTTP_1
    return Listener.TLS if _speaks_tls(family, address) else Listener.SOMEBODY


def _connected(family: int, address: Address) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(_SECONDS)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def _first_bytes(connection: socket.socket) -> bytes:
    """Up to the end of a short answer; b"" from one who says nothing, or hangs up."""
    received = b""
    try:
        while len(received) < 4096 and (more := connection.recv(4096)):
            received += more
    except OSError:
        pass
    return received


def _speaks_tls(family: int, address: Address) -> bool:
    # Whom it is does not matter here, only that it is TLS: nothing is sent over it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(family, address) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        # An alert is an answer in TLS: it may want a certificate of the client.
        return "ALERT" in str(error).upper()
    except OSError:
        return False


def proxy_of(target: str) -> str | None:
    """The proxy that gRPC takes to a target, by the environment, and without the password it may hold."""
    place = host_and_port(target)
    if place is None or local_host_of_target(target) is not None:
        return None
    named = [os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy")]
    proxy = next((each for each in named if each), None)
    # gRPC knows them in lower case only.
    spared = next((value for name in ("no_grpc_proxy", "no_proxy") if (value := os.environ.get(name))), "")
    if proxy is None or any(place[0].endswith(each.strip()) for each in spared.split(",") if each.strip()):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
