"""Workflows of one SIMPLE task each: registered, started beforehand, and checked afterwards."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from conductor_grpc import ConductorError, Configuration, MetadataClient, TaskClient, WorkflowClient, WorkflowStatus
from conductor_grpc.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

_THREADS = 8
_ATTEMPTS = 5
_OWNER = "benchmark@example.com"


class VoidRunError(Exception):
    """The run cannot be counted; the text says why."""


class Workload:
    """The work of one run, under a task type of its own, so that no run sees what another left behind."""

    def __init__(self, configuration: Configuration, task_type: str) -> None:
        self.task_type = task_type
        self._configuration = configuration
        self._ids: list[str] = []

    def prepare(self, count: int, progress: Callable[[int], None]) -> None:
        """Register the definitions and start `count` workflows over gRPC. Blocks; `progress` gets each step."""
        self.register()
        self.start(count, progress)

    def register(self) -> None:
        """Register the definitions."""
        with MetadataClient(self._configuration) as metadata:
            metadata.register_task(
                {
                    "name": self.task_type,
                    "ownerEmail": _OWNER,
                    "retryCount": 0,
                    "timeoutSeconds": 600,
                    "responseTimeoutSeconds": 600,
                }
            )
            metadata.register_workflow(
                {
                    "name": self.task_type,
                    "version": 1,
                    "schemaVersion": 2,
                    "ownerEmail": _OWNER,
                    "timeoutPolicy": "ALERT_ONLY",
                    "timeoutSeconds": 0,
                    "tasks": [
                        {
                            "name": self.task_type,
                            "taskReferenceName": "only",
                            "type": "SIMPLE",
                            "inputParameters": {"number": "${workflow.input.number}", "text": "hello"},
                        }
                    ],
                }
            )

    def start(self, count: int, progress: Callable[[int], None]) -> None:
        """Start `count` workflows. Blocks; `progress` gets each step."""
        with WorkflowClient(self._configuration) as workflows, ThreadPoolExecutor(_THREADS) as threads:
            for workflow_id in threads.map(lambda _: self._start_one(workflows), range(count)):
                self._ids.append(workflow_id)
                progress(1)

    def _start_one(self, workflows: WorkflowClient) -> str:
        # SQLite refuses a transaction now and then when others write at the same time ("database is locked"). Should
        # the server have started the workflow all the same, it is one more that the client does and nobody counts.
        for attempt in range(1, _ATTEMPTS):
            with contextlib.suppress(TransientError):
                return workflows.start(self.task_type, {"number": 1.5})
            time.sleep(0.1 * attempt)
        return workflows.start(self.task_type, {"number": 1.5})

    def left(self) -> int:
        """How many tasks the server still has in the queue of this workload."""
        with TaskClient(self._configuration) as tasks:
            return tasks.queue_sizes([self.task_type])[self.task_type]

    def acknowledged(self) -> list[float]:
        """When the server took each result, in seconds since the epoch, sorted.

        Raises VoidRunError unless every workflow is COMPLETED by exactly one task.
        """
        with WorkflowClient(self._configuration) as workflows, ThreadPoolExecutor(_THREADS) as threads:
            return sorted(threads.map(lambda workflow_id: _end_of(workflows, workflow_id), self._ids))


def _end_of(workflows: WorkflowClient, workflow_id: str) -> float:
    try:
        workflow = workflows.get(workflow_id)
    except ConductorError as error:
        raise VoidRunError(f"workflow {workflow_id} cannot be read: {error}") from error
    if workflow.status is not WorkflowStatus.COMPLETED:
        raise VoidRunError(f"workflow {workflow_id} is {workflow.status.value}, expected COMPLETED")
    if len(workflow.tasks) != 1:
        raise VoidRunError(f"workflow {workflow_id} has {len(workflow.tasks)} tasks, expected 1")
    return workflow.tasks[0].end_time / 1000
