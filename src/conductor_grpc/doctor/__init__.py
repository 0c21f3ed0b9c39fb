"""Looks a set-up over: server, connection, definitions, queues, this machine; and says what to do about what it finds.

It changes nothing on the server, and polls no task.
"""

from __future__ import annotations

from conductor_grpc.doctor.examination import examine
from conductor_grpc.doctor.finding import Finding, Severity

__all__ = ["Finding", "Severity", "examine"]
