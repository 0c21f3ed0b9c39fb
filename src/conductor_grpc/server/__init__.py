"""Conductor servers for development and tests: the released one as a process (extra ``server``), one in this process.

Names are loaded when they are asked for: a command that needs a free port does not load an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.lazy_names import loading

if TYPE_CHECKING:
    from conductor_grpc.server.embedded import EmbeddedServer
    from conductor_grpc.server.ports import free_ports
    from conductor_grpc.server.real import RealServer

__all__ = ["EmbeddedServer", "RealServer", "free_ports"]

_HOMES = {"EmbeddedServer": "embedded", "RealServer": "real", "free_ports": "ports"}

if not TYPE_CHECKING:  # a checker that saw it would take any name for one of ours
    __getattr__ = loading(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
