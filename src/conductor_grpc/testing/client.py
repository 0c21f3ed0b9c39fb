"""All clients of a test's server in one hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conductor_grpc.clients import EventClient, MetadataClient, TaskClient, WorkflowClient
from conductor_grpc.definitions import load_definitions, task_definition_to_proto, workflow_definition_to_proto
from conductor_grpc.testing.connection import configuration_of
from conductor_grpc.testing.workflow_run import WorkflowRun
from conductor_grpc.transport.channel import open_channel

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from typing_extensions import Self

    from conductor_grpc.testing.connection import Server


class ConductorClient:
    """The four clients over one channel. A context manager; thread-safe, as they are."""

    metadata: MetadataClient
    """Task and workflow definitions."""

    workflow: WorkflowClient
    """Runs of workflows: pause, retry, terminate and all else that `start` below does not cover."""

    task: TaskClient
    """Single tasks: poll and update them by hand, logs, queues."""

    event: EventClient
    """Event handlers."""

    def __init__(self, server: Server, **settings: Any) -> None:
        """Connects at the first call.

        Args:
            server: Where to connect to.
            settings: Of the `Configuration`.
        """
        self.configuration = configuration_of(server, settings)
        self._channel = open_channel(self.configuration)
        self.metadata = MetadataClient(self.configuration, channel=self._channel)
        self.workflow = WorkflowClient(self.configuration, channel=self._channel)
        self.task = TaskClient(self.configuration, channel=self._channel)
        self.event = EventClient(self.configuration, channel=self._channel)

    def register(self, *definitions: str | os.PathLike[str] | Mapping[str, object]) -> None:
        """Registers definitions, tasks before the workflows that name them; those that are there are replaced.

        Args:
            definitions: JSON files and folders of them, as `conductor-grpc apply` takes them, or definitions
                themselves: one with the key "tasks" is a workflow, any other a task.

        Raises:
            DefinitionError: One is not valid. Nothing has been sent.
            InvalidRequestError: The server does not take one.
        """
        given = [each for each in definitions if isinstance(each, Mapping)]
        loaded = load_definitions(*(each for each in definitions if not isinstance(each, Mapping)))
        tasks = [*loaded.tasks, *(task_definition_to_proto(each) for each in given if "tasks" not in each)]
        workflows = [*loaded.workflows, *(workflow_definition_to_proto(each) for each in given if "tasks" in each)]
        self.metadata.register_tasks(tasks)
        self.metadata.update_workflows(workflows)

    def start(
        self,
        name: str,
        input: Mapping[str, object] | None = None,  # noqa: A002 - what Conductor calls it
        *,
        version: int | None = None,
        correlation_id: str = "",
        priority: int = 0,
        task_to_domain: Mapping[str, str] | None = None,
        workflow_definition: Mapping[str, object] | None = None,
    ) -> WorkflowRun:
        """Starts a workflow, as `WorkflowClient.start` does, and returns the run to wait for and to judge."""
        workflow_id = self.workflow.start(
            name,
            input,
            version=version,
            correlation_id=correlation_id,
            priority=priority,
            task_to_domain=task_to_domain,
            workflow_definition=workflow_definition,
        )
        return self.run(workflow_id)

    def run(self, workflow_id: str) -> WorkflowRun:
        """The run with this id, however it was started."""
        return WorkflowRun(self.workflow, self.task, workflow_id)

    def close(self) -> None:
        """Calls in flight fail. Closing twice is harmless."""
        for client in (self.metadata, self.workflow, self.task, self.event):
            client.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
