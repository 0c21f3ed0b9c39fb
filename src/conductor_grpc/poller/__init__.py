"""The poll/ack loop: from the server's queue to the acknowledged result."""

from __future__ import annotations

from conductor_grpc.poller.drain import DrainReport
from conductor_grpc.poller.health import PollerHealth, WorkerHealth
from conductor_grpc.poller.task_poller import TaskPoller

__all__ = ["DrainReport", "PollerHealth", "TaskPoller", "WorkerHealth"]
