"""What a store is, and the one that keeps nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord


@dataclass
class Contents:
    """All that a store holds."""

    workflows: list[WorkflowRecord] = field(default_factory=list)
    """With their tasks, in the order in which they were started."""
    task_definitions: list[bytes] = field(default_factory=list)
    """Serialized, as the workflow definitions and event handlers are."""
    workflow_definitions: list[bytes] = field(default_factory=list)
    event_handlers: list[bytes] = field(default_factory=list)


class MemoryStore:
    """Keeps nothing: for a server whose state ends with it. What it says of keeping is what other stores do.

    Not thread-safe: used under the engine's lock.
    """

    def save_workflow(self, workflow: WorkflowRecord) -> None:
        """The workflow is new or has changed. Its tasks are saved by themselves."""

    def save_task(self, task: TaskRecord) -> None:
        """The task or its log is new or has changed. One whose workflow is not saved is not either."""

    def delete_task(self, task: TaskRecord) -> None:
        """The workflow has this task no more."""

    def delete_workflow(self, workflow_id: str) -> None:
        """Forget a workflow and its tasks; fine if it is not there."""

    def save_task_definition(self, name: str, definition: bytes) -> None:
        """A task definition, serialized, in place of the one with its name."""

    def delete_task_definition(self, name: str) -> None:
        """Forget a task definition."""

    def save_workflow_definition(self, name: str, version: int, definition: bytes) -> None:
        """A workflow definition, serialized, in place of the one with its name and version."""

    def save_event_handler(self, name: str, handler: bytes) -> None:
        """An event handler, serialized, in place of the one with its name."""

    def delete_event_handler(self, name: str) -> None:
        """Forget an event handler."""

    def commit(self) -> None:
        """Put everything since the last commit on disk, all of it or nothing.

        Raises StoreFailure; then the changes wait for the next commit, which puts them on disk with its own, or fails
        as well: so nothing is acknowledged that rests on a change that may be lost.
        """

    def load(self) -> Contents:
        """Everything that is there. To be called once, before anything is saved. Raises LauncherError."""
        return Contents()

    def close(self) -> None:
        """Let go of the file. Changes that were not committed are lost."""
