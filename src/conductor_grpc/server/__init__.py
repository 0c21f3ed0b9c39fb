"""Conductor servers for development and tests: the released one as a process (extra ``server``), and one inside this process."""

from __future__ import annotations

from conductor_grpc.server.embedded import EmbeddedServer
from conductor_grpc.server.ports import free_ports
from conductor_grpc.server.real import RealServer

__all__ = ["EmbeddedServer", "RealServer", "free_ports"]
