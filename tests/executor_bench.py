"""A poller on an embedded server, and workflows of one task each for what it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waiting import wait_for

from conductor_grpc import Configuration, TaskPoller
from conductor_grpc.server.embedded import EmbeddedServer
from conductor_grpc.testing import ConductorClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from conductor_grpc import WorkerInterface
    from conductor_grpc.poller.slots import Run, Slots
    from conductor_grpc.testing import WorkflowRun
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory

OWNER = {"ownerEmail": "someone@example.com"}


class Bench:
    """A context manager. Task types are their own workflows, and no task is retried."""

    def __init__(
        self,
        *workers: WorkerInterface,
        middleware: Sequence[Middleware] = (),
        resources: Mapping[str, ResourceFactory] | None = None,
        **settings: Any,
    ) -> None:
        """`settings` are those of Configuration."""
        self._server = EmbeddedServer(strict=True)
        self._middleware = middleware
        self._resources = resources
        self._workers = workers
        self._settings = settings

    def __enter__(self) -> Self:
        self._server.start()
        self.client = ConductorClient(self._server)
        for name in {each.task_definition_name for each in self._workers}:
            task = {"name": name, "taskReferenceName": "it", "inputParameters": {"value": "${workflow.input.value}"}}
            self.client.register(
                {"name": name, "retryCount": 0, "responseTimeoutSeconds": 60, **OWNER},
                {"name": name, "tasks": [task], "outputParameters": {"it": "${it.output.result}"}, **OWNER},
            )
        settings = {"poll_wait_ms": 50, "drain_timeout": 20.0, "cancellation_check": None, **self._settings}
        self.poller = TaskPoller(
            self._workers,
            Configuration("", target=self._server.target, **settings),
            middleware=self._middleware,
            resources=self._resources,
        )
        try:
            self.poller.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.poller.stop()
        self._close()
        if error is None:
            self.poller.join(0)  # raises what has killed a part of it

    def _close(self) -> None:
        self.client.close()
        self._server.stop()

    def start(self, worker: WorkerInterface, value: object = None) -> WorkflowRun:
        return self.client.start(worker.task_definition_name, {"value": value})

    def output(self, worker: WorkerInterface, value: object = None) -> object:
        return self.start(worker, value).assert_completed(timeout=60).output["it"]

    def reason(self, worker: WorkerInterface, value: object = None) -> str:
        """Why the task of a new workflow has failed."""
        run = self.start(worker, value)
        run.assert_failed(timeout=60)
        return run.task("it").reason

    def slots(self, worker: WorkerInterface) -> Slots:
        return next(lane.slots for lane in self.poller._parts.lanes if lane.worker is worker)

    def running(self, worker: WorkerInterface, count: int = 1) -> list[Run]:
        """Waits until so many tasks of the worker run."""
        slots = self.slots(worker)
        wait_for(lambda: len(slots.long_running(0)) >= count, 60)
        return slots.long_running(0)
