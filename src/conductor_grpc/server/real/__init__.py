"""The released Conductor server, fetched and run as a process of this machine (extra ``server``)."""

from __future__ import annotations

from conductor_grpc.server.real.launcher import RealServer

__all__ = ["RealServer"]
