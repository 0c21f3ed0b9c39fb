"""grpc.health.v1: whoever asks, about whatever service, is told SERVING, as by the released server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from conductor_grpc.server.embedded.services.answers import unimplemented

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.services.answers import Handlers

SERVICE: Final = "grpc.health.v1.Health"

_SERVING: Final = b"\x08\x01"  # HealthCheckResponse, of which one field is set


def handlers() -> Handlers:
    """Of the health service's calls, by path. Watch is left out by the released server too."""
    return {
        f"/{SERVICE}/Check": grpc.unary_unary_rpc_method_handler(_check),
        f"/{SERVICE}/Watch": unimplemented(f"Method {SERVICE}/Watch is unimplemented"),
    }


def _check(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return _SERVING
