"""Addresses of the server: the gRPC target and the REST base URL, checked before anything connects."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from conductor_grpc.errors import ConfigurationError

DEFAULT_GRPC_PORT = 8090
DEFAULT_REST_PORT = 8080

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SOCKET_SCHEMES = ("unix:", "unix-abstract:")
_LIST_SCHEMES = ("ipv4:", "ipv6:")
_HOST = re.compile(r"\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]@?#]+")


def check_target(target: str) -> str:
    """Return the gRPC target without surrounding blanks, or raise ConfigurationError.

    Accepted: `host:port`, `[ipv6]:port`, and gRPC's own `dns:[//authority/]host:port`, `ipv4:a:port,b:port`,
    `ipv6:[a]:port`, `unix:path`, `unix:///path`, `unix-abstract:name`.
    """
    _require_text("target", target, "localhost:8090")
    target = target.strip()
    if target.startswith(_SOCKET_SCHEMES):
        if not target.partition(":")[2].strip("/"):
            raise ConfigurationError(f"target {target!r}: expected a socket after the scheme: unix:/run/conductor.sock")
        return target
    _refuse_url(target)
    if target.startswith(_LIST_SCHEMES):
        addresses = target.partition(":")[2].split(",")
    elif target.startswith("dns:"):
        addresses = [target[len("dns:") :].rpartition("/")[2]]
    else:
        addresses = [target]
    for address in addresses:
        _check_host_and_port(target, address)
    return target


def _refuse_url(target: str) -> None:
    if not re.match(r"(?i)(https?|grpcs?|tcp)://", target):
        return
    scheme, _, rest = target.partition("://")
    host, _, path = rest.partition("/")
    host = host or "localhost"
    suggestion = host if re.search(r":\d+$", host) else f"{host}:{DEFAULT_GRPC_PORT}"
    hint = ""
    if scheme.lower() in ("http", "https") and (path.strip("/") or host.endswith(f":{DEFAULT_REST_PORT}")):
        hint = f" (a REST address goes into base_url; the server's gRPC port is {DEFAULT_GRPC_PORT} by default)"
    raise ConfigurationError(
        f"target {target!r}: expected host:port without a scheme or path, such as {suggestion!r}{hint}"
    )


def _check_host_and_port(target: str, address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not port or address.endswith("]"):
        known = address.rstrip(":") or "localhost"
        suggestion = f"localhost:{known}" if known.isdecimal() else f"{known}:{DEFAULT_GRPC_PORT}"
        raise ConfigurationError(f"target {target!r} has no port: expected host:port, such as {suggestion!r}")
    if not _HOST.fullmatch(host):
        raise ConfigurationError(
            f"target {target!r}: {host!r} is not a host name; expected host:port, such as 'localhost:8090' "
            "(an IPv6 address goes into brackets: '[::1]:8090')"
        )
    _check_port("target", target, port)


def _check_port(name: str, value: str, port: str) -> None:
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise ConfigurationError(f"{name} {value!r}: port {port!r} is not a number from 1 to 65535")


def _require_text(name: str, value: object, example: str) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} {value!r}: expected a string such as {example!r}, got {type(value).__name__}")
    if not value.strip():
        raise ConfigurationError(f"{name} is empty: expected a string such as {example!r}")


def normalise_base_url(base_url: str) -> str:
    """Return the REST address as `scheme://host[:port]/path`, or raise ConfigurationError.

    Without a scheme it is http. Trailing slashes go. An empty path becomes `/api`, the server's own.
    """
    _require_text("base_url", base_url, "http://localhost:8080/api")
    url = base_url.strip()
    expected = "expected http(s)://host[:port][/path], such as 'http://localhost:8080/api'"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError as error:
        raise ConfigurationError(f"base_url {base_url!r} is not a URL ({error}); {expected}") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"base_url {base_url!r}: scheme {parts.scheme!r} is not http or https; {expected}")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"base_url {base_url!r} has a query or fragment: leave it out; {expected}")
    if parts.username is not None or parts.password is not None:
        # The value itself is not repeated: it may hold a password.
        raise ConfigurationError(f"base_url holds user information before the '@': leave it out; {expected}")
    host, _, port = parts.netloc.partition(":") if not parts.netloc.startswith("[") else _split_bracketed(parts.netloc)
    if not _HOST.fullmatch(host):
        raise ConfigurationError(f"base_url {base_url!r}: {host!r} is not a host name; {expected}")
    if port:
        _check_port("base_url", base_url, port)
    if re.search(r"[\s\x00-\x1f\x7f]", parts.path):
        raise ConfigurationError(f"base_url {base_url!r}: the path holds blanks or control characters; {expected}")
    netloc = f"{host}:{port}" if port else host
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/') or '/api'}"


def _split_bracketed(netloc: str) -> tuple[str, str, str]:
    host, bracket, rest = netloc.partition("]")
    return host + bracket, ":", rest.removeprefix(":")


def default_base_url(target: str) -> str | None:
    """Where a server with this gRPC address has its REST by its own defaults; None where it is on another machine."""
    host = local_host_of_target(target)
    return None if host is None else f"http://{host}:{DEFAULT_REST_PORT}/api"


def local_host_of_target(target: str) -> str | None:
    """The host of a checked target if it is this machine, else None (a unix socket has no host)."""
    if target.startswith(_SOCKET_SCHEMES):
        return None
    address = re.sub(r"^(ipv4|ipv6):", "", target)
    if address.startswith("dns:"):
        address = address.rpartition("/")[2].removeprefix("dns:")
    host = address.rpartition(":")[0]
    return host if is_local(host) else None


def stays_on_this_machine(target: str) -> bool:
    """Whether what goes to a checked target cannot leave this machine."""
    # Another authority than the machine's own may have its own idea of "localhost".
    asks_elsewhere = target.startswith("dns://") and not target.startswith("dns:///")
    return target.startswith(_SOCKET_SCHEMES) or (local_host_of_target(target) is not None and not asks_elsewhere)


def host_of_base_url(base_url: str) -> str:
    """The host of a normalised base URL, an IPv6 address in brackets."""
    host = urlsplit(base_url).hostname or ""
    return f"[{host}]" if ":" in host else host


def is_local(host: str) -> bool:
    """Whether the host is this machine by name."""
    return host.lower() in _LOCAL_HOSTS
