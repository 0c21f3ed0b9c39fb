"""HUMAN: waits until somebody completes it."""

from __future__ import annotations

from conductor_grpc.server.embedded.engine.control.base import SingleTask


class Human(SingleTask):
    """IN_PROGRESS until an UpdateTask ends it."""
