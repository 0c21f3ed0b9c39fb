"""One task in the hands of the slots."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.poller.lease import Lease
    from conductor_grpc.worker.context import Cancellation, TaskContext
    from conductor_grpc.worker.result import TaskResult
    from conductor_grpc.worker.task import Task

    Outcome = tuple[TaskResult, bytes]
    """A result and its serialised UpdateTaskRequest."""

    Runner = Callable[["Run"], Outcome | None]
    """Runs one task; None if its worker has given it up because it was cancelled. Never raises."""


@dataclass(slots=True, eq=False)
class Run:
    """A task from its arrival until its outcome is delivered."""

    context: TaskContext
    held: Task
    """The task as the server knows it, without its payload. The worker cannot reach it, so its ids stay right."""
    begun: float = field(default_factory=time.monotonic)
    """When it arrived and, later, when a worker began it, by the monotonic clock."""
    lease: Lease | None = None
    """None where its type has no response timeout."""
    task: Task = field(init=False)
    """As it came, without what lies in external storage. It is the worker's, which may have put anything into it."""

    def __post_init__(self) -> None:
        self.task = self.context.task

    @property
    def cancelled(self) -> Cancellation:
        return self.context.cancelled
