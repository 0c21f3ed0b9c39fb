"""TaskService: polling, reporting and inspecting tasks."""

# ruff: noqa: N802 - methods have the names of their RPCs

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar, Final

import grpc

from conductor_grpc.payload.reference_writer import length_delimited
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services import task_service_pb2 as pb
from conductor_grpc.server.embedded.engine import logs
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure, UnmappableValue
from conductor_grpc.server.embedded.engine.polling import poll
from conductor_grpc.server.embedded.engine.updates import update_task
from conductor_grpc.server.embedded.services.answers import StatusError, require
from conductor_grpc.server.embedded.services.protos import task_message, task_wire
from conductor_grpc.server.embedded.services.search import find_tasks
from conductor_grpc.server.embedded.services.summaries import task_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import ServiceDescriptor

    from conductor_grpc.pb.services.search_pb2 import Request
    from conductor_grpc.server.embedded.engine.engine import Engine
    from conductor_grpc.server.embedded.engine.records import TaskRecord

LONGEST_STRICT_WAIT_MS: Final = 5_000
"""How long a poll may wait on the released server."""
LONGEST_WAIT_MS: Final = 60_000
"""How long outside strict mode: each waiting poll has one of the server's threads."""
MOST_WAITING_POLLS: Final = 448
"""How many polls may wait at a time; more are answered at once, so that threads are left for all other calls."""
UNARY_WAIT_MS: Final = 100
"""How long Poll waits; nobody can change it."""
SHARD: Final = "a"
"""The one shard that the released server's SQL backends give every queue."""


class TaskService:
    """The RPCs of `conductor.grpc.tasks.TaskService`. Thread-safe."""

    DESCRIPTOR: ClassVar[ServiceDescriptor] = pb.DESCRIPTOR.services_by_name["TaskService"]
    UNCAUGHT: ClassVar[frozenset[str]] = frozenset(
        {"AddLog", "GetTaskLogs", "GetQueueSizesForTasks", "GetQueueInfo", "GetQueueAllInfo", "Search", "SearchV2"}
    )

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._strict = engine.strict
        self._places = threading.BoundedSemaphore(MOST_WAITING_POLLS)
        """For polls that wait."""

    def Poll(self, request: pb.PollRequest, context: grpc.ServicerContext) -> bytes | pb.PollResponse:
        task = next(self._poll(request, context, 1, UNARY_WAIT_MS), None)
        if task is not None:
            return length_delimited(pb.PollResponse.TASK_FIELD_NUMBER, task)
        if self._strict:
            # The released server ends the call without an answer, and gRPC resets the stream: so grpcio words it.
            raise StatusError(grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8")
        return pb.PollResponse()

    def BatchPoll(self, request: pb.BatchPollRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        longest = LONGEST_STRICT_WAIT_MS if self._strict else LONGEST_WAIT_MS
        if request.timeout > longest:
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, f"longpoll timeout cannot be longer than {longest}ms")
        require(request.task_type, "batchPoll.arg0: TaskType cannot be null or empty.")
        return self._poll(request, context, request.count, request.timeout)

    def _poll(
        self, request: pb.PollRequest | pb.BatchPollRequest, context: grpc.ServicerContext, count: int, wait_ms: int
    ) -> Iterator[bytes]:
        """The tasks of a poll. Raises UnmappableValue after those before the one that has no form on the wire."""
        has_place = self._places.acquire(blocking=False)
        try:
            answers = poll(
                self._engine,
                request.task_type,
                request.worker_id,
                request.domain,
                count,
                wait_ms if has_place else -1,
                self._rendered,
                context.is_active,
                context.add_callback,
            )
        finally:
            if has_place:
                self._places.release()
        for answer in answers:
            if isinstance(answer, UnmappableValue):
                raise answer
            yield answer

    def _rendered(self, task: TaskRecord) -> bytes | UnmappableValue:
        try:
            return task_wire(task, strict=self._strict)
        except UnmappableValue as error:
            return error

    def UpdateTask(self, request: pb.UpdateTaskRequest, _context: grpc.ServicerContext) -> pb.UpdateTaskResponse:
        result = request.result
        if result.status not in TaskResult.Status.values():
            raise IllegalArgumentFailure("Unexpected enum constant: UNRECOGNIZED")
        update_task(self._engine, result)
        return pb.UpdateTaskResponse(task_id=result.task_id)

    def AddLog(self, request: pb.AddLogRequest, _context: grpc.ServicerContext) -> pb.AddLogResponse:
        require(request.task_id, "log.arg0: TaskId cannot be null or empty.")
        logs.add_log(self._engine, request.task_id, request.log)
        return pb.AddLogResponse()

    def GetTaskLogs(self, request: pb.GetTaskLogsRequest, _context: grpc.ServicerContext) -> pb.GetTaskLogsResponse:
        require(request.task_id, "getTaskLogs.arg0: TaskId cannot be null or empty.")
        response = pb.GetTaskLogsResponse()
        for line in logs.logs_of(self._engine, request.task_id):
            response.logs.add(log=line.text, task_id=request.task_id, created_time=line.created_time)
        return response

    def GetTask(self, request: pb.GetTaskRequest, _context: grpc.ServicerContext) -> bytes:
        require(request.task_id, "getTask.arg0: TaskId cannot be null or empty.")
        with self._engine.transaction():
            task = self._engine.shelf.find_task(request.task_id)
            if task is None:
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"No such task found by id={request.task_id}")
            return length_delimited(pb.GetTaskResponse.TASK_FIELD_NUMBER, task_wire(task, strict=self._strict))

    def GetQueueSizesForTasks(
        self, request: pb.QueueSizesRequest, _context: grpc.ServicerContext
    ) -> pb.QueueSizesResponse:
        with self._engine.transaction():
            size = self._engine.queues.size
            return pb.QueueSizesResponse(queue_for_task={name: size(name) for name in request.task_types})

    def GetQueueInfo(self, _request: pb.QueueInfoRequest, _context: grpc.ServicerContext) -> pb.QueueInfoResponse:
        with self._engine.transaction():
            return pb.QueueInfoResponse(queues=self._engine.queues.sizes())

    def GetQueueAllInfo(
        self, _request: pb.QueueAllInfoRequest, _context: grpc.ServicerContext
    ) -> pb.QueueAllInfoResponse:
        response = pb.QueueAllInfoResponse()
        with self._engine.transaction():
            for name, size in self._engine.queues.sizes().items():
                shard = response.queues[name].shards[SHARD]
                shard.size = size
                shard.uacked = self._engine.queues.held(name)
        return response

    def Search(self, request: Request, _context: grpc.ServicerContext) -> pb.TaskSummarySearchResult:
        with self._engine.transaction():
            hits = find_tasks(self._engine, request)
            now = self._engine.clock.now()
            return pb.TaskSummarySearchResult(
                total_hits=hits.total, results=[task_summary(task, now) for task in hits.records]
            )

    def SearchV2(self, request: Request, _context: grpc.ServicerContext) -> pb.TaskSearchResult:
        with self._engine.transaction():
            hits = find_tasks(self._engine, request)
            results = [task_message(task, strict=self._strict) for task in hits.records]
            return pb.TaskSearchResult(total_hits=hits.total, results=results)
