"""An embedded server with one task type, for tests of a handler's processes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Any
from unittest import mock

from waiting import wait_for

from conductor_grpc import (
    Configuration,
    MetadataClient,
    TaskHandler,
    TaskStatus,
    WorkflowClient,
    WorkflowStatus,
)
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conductor_grpc import ProcessHealth, Task, WorkerInterface


class Stage:
    """Workflows of one task each."""

    def __init__(self, target: str, base_url: str = "") -> None:
        # A short wait of polls, so that a stop is soon over.
        self.configuration = Configuration(base_url, target=target, poll_wait_ms=100)
        self.metadata = MetadataClient(self.configuration)
        self.workflows = WorkflowClient(self.configuration)

    def register(self, task_type: str, **settings: object) -> None:
        task = {"name": task_type, "retryCount": 0, "timeoutSeconds": 0, "responseTimeoutSeconds": 600}
        self.metadata.register_task({**task, "ownerEmail": "a@example.com", **settings})
        run = {"name": task_type, "taskReferenceName": "only", "inputParameters": {"value": "${workflow.input.value}"}}
        output = {"output": "${only.output}"}
        self.metadata.register_workflow(
            {"name": task_type, "ownerEmail": "a@example.com", "tasks": [run], "outputParameters": output}
        )

    def start(self, task_type: str, value: object = None) -> str:
        return self.workflows.start(task_type, {} if value is None else {"value": value})

    def task(self, workflow_id: str) -> Task:
        return self.workflows.get(workflow_id).tasks[-1]

    def completed(self, workflow_ids: Sequence[str]) -> bool:
        return all(self.workflows.get(each).status is WorkflowStatus.COMPLETED for each in workflow_ids)

    def wait_until_completed(self, *workflow_ids: str, seconds: float = 30.0) -> None:
        wait_for(lambda: self.completed(workflow_ids), seconds)

    def waits_to_be_polled(self, workflow_id: str) -> bool:
        return self.task(workflow_id).status is TaskStatus.SCHEDULED

    def handler(self, workers: list[WorkerInterface], **arguments: Any) -> TaskHandler:
        changes = arguments.pop("changes", {})
        return TaskHandler(workers, self.configuration.with_changes(**changes), **arguments)


@contextlib.contextmanager
def temporary_in(folder: Path) -> Iterator[None]:
    """Temporary folders of handlers, also of programs: those that are killed cannot remove theirs."""
    place = folder / "temporary"
    place.mkdir()
    with mock.patch.dict(os.environ, TMPDIR=str(place)), mock.patch.object(tempfile, "tempdir", str(place)):
        yield


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    with temporary_in(folder), EmbeddedServer(strict=True) as server:
        stage = Stage(server.target)
        with stage.metadata, stage.workflows:
            yield stage


def processes(handler: TaskHandler) -> tuple[ProcessHealth, ...]:
    return handler.health().processes


def pids(handler: TaskHandler) -> list[int]:
    """Of the processes that run now."""
    return [each.pid for each in processes(handler) if each.pid is not None]
