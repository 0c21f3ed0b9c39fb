"""A real Conductor server on this machine, for development and tests (extra ``server``)."""

from __future__ import annotations

from conductor_grpc.server.ports import free_ports
from conductor_grpc.server.real import RealServer

__all__ = ["RealServer", "free_ports"]
