"""A gRPC server that answers as a test tells it: for faults that a real server cannot be asked to have."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from conductor_grpc.pb.model import task_pb2, taskresult_pb2, tasksummary_pb2
from conductor_grpc.pb.services import search_pb2, task_service_pb2, task_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    Poll = Callable[[task_service_pb2.BatchPollRequest, grpc.ServicerContext], Iterator[task_pb2.Task]]
    UpdateTask = Callable[[taskresult_pb2.TaskResult, grpc.ServicerContext], None]


def a_task(task_id: str, task_type: str = "work", **fields: Any) -> task_pb2.Task:
    """A task as the server would hand it out."""
    return task_pb2.Task(
        task_id=task_id, workflow_instance_id=f"workflow-of-{task_id}", task_def_name=task_type, poll_count=1, **fields
    )


class ScriptedServer(task_service_pb2_grpc.TaskServiceServicer):
    """TaskService on a free port. `poll`, `update` and `get` may be replaced at any time."""

    def __init__(self, options: Sequence[tuple[str, int]] = ()) -> None:
        """`options`: gRPC's, for the server."""
        self.queue: list[task_pb2.Task] = []
        self.updates: list[taskresult_pb2.TaskResult] = []
        """What UpdateTask has accepted."""
        self.attempts = 0
        """How often UpdateTask was called."""
        self.polls: list[task_service_pb2.BatchPollRequest] = []
        self.poll: Poll = self.hand_out
        self.update: UpdateTask = lambda _result, _context: None
        self.search: Callable[[str], list[tasksummary_pb2.TaskSummary]] = lambda _query: []
        self.get: Callable[[str], task_pb2.Task | None] = lambda _task_id: None
        self.unmappable: set[str] = set()
        """Ids of tasks that hold JSON integers, which GetTask cannot carry."""
        self._changed = threading.Condition()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=list(options))
        task_service_pb2_grpc.add_TaskServiceServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def add(self, *tasks: task_pb2.Task) -> None:
        with self._changed:
            self.queue.extend(tasks)
            self._changed.notify_all()

    def wait_for_updates(self, count: int, seconds: float = 20.0) -> list[taskresult_pb2.TaskResult]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.updates) >= count, seconds), f"got {self.updates}"
            return list(self.updates)

    def wait_for_polls(self, count: int, seconds: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.polls) >= count, seconds), f"got {len(self.polls)} polls"

    def hand_out(
        self, request: task_service_pb2.BatchPollRequest, _context: grpc.ServicerContext
    ) -> Iterator[task_pb2.Task]:
        """What the real server does: wait for a full batch or the timeout, then send what there is."""
        with self._changed:
            if request.timeout > 0:
                self._changed.wait_for(lambda: len(self.queue) >= request.count, request.timeout / 1000)
            batch, self.queue = self.queue[: request.count], self.queue[request.count :]
        for task in batch:
            task.worker_id = request.worker_id
        yield from batch

    def BatchPoll(  # noqa: N802 - the names of gRPC methods
        self, request: task_service_pb2.BatchPollRequest, context: grpc.ServicerContext
    ) -> Iterator[task_pb2.Task]:
        with self._changed:
            self.polls.append(request)
            self._changed.notify_all()
        yield from self.poll(request, context)

    def UpdateTask(  # noqa: N802
        self, request: task_service_pb2.UpdateTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.UpdateTaskResponse:
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
        self.update(request.result, context)  # may abort
        with self._changed:
            self.updates.append(request.result)
            self._changed.notify_all()
        return task_service_pb2.UpdateTaskResponse(task_id=request.result.task_id)

    def GetTask(  # noqa: N802
        self, request: task_service_pb2.GetTaskRequest, context: grpc.ServicerContext
    ) -> task_service_pb2.GetTaskResponse:
        if request.task_id in self.unmappable:
            context.abort(grpc.StatusCode.INTERNAL, "cannot map to Value type: 7")
        task = self.get(request.task_id)
        if task is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"No such task found by id={request.task_id}")
        return task_service_pb2.GetTaskResponse(task=task)

    def Search(  # noqa: N802
        self, request: search_pb2.Request, _context: grpc.ServicerContext
    ) -> task_service_pb2.TaskSummarySearchResult:
        hits = self.search(request.query)
        return task_service_pb2.TaskSummarySearchResult(total_hits=len(hits), results=hits)
