"""Whether a server on this machine is ready: one question to REST, one to gRPC."""

from __future__ import annotations

import contextlib
import http.client
import json

import grpc

_TIMEOUT = 5.0  # seconds for one answer
_SERVING = b"\x08\x01"  # the standard health check's answer is one enum field


def rest_healthy(port: int) -> bool:
    """Asks ``/health``, the server's own; ``/actuator/health`` says DOWN even when all works."""
    connection = http.client.HTTPConnection("localhost", port, timeout=_TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
    return isinstance(answer, dict) and answer.get("healthy") is True


def grpc_serving(port: int) -> bool:
    """Asks the standard health service about the server as a whole."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"localhost:{port}", options=options) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(b"", timeout=_TIMEOUT) == _SERVING
        except grpc.RpcError:
            return False
