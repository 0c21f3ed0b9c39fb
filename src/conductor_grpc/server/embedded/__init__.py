"""A Conductor server inside this process, for development and tests: no Java, started in milliseconds."""

from __future__ import annotations

from conductor_grpc.server.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
