"""Tasks, their logs and queues, outside of a poller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from conductor_grpc.clients.base import UNREADABLE, required
from conductor_grpc.clients.results import PolledTasks, QueueShard, TaskSummary
from conductor_grpc.clients.search import SearchingClient
from conductor_grpc.configuration import SERVER_POLL_LIMIT_MS
from conductor_grpc.errors import NotFoundError, ServerError
from conductor_grpc.payload import Layout
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.worker.result import TaskLog, TaskResult
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from conductor_grpc.clients.search import SearchOptions, SearchResult

_POLL_GRACE = 10.0
"""Seconds over the wait that the server has for a poll: hanging up earlier strands the tasks it took."""

_ONLY_FIELD = Layout([(1, "bytes")])


class TaskClient(SearchingClient):
    """The task service: 11 RPCs. See `ServiceClient` for threads, timeouts and errors common to all methods.

    For looking at tasks, and for tests and tools that do a worker's steps by hand; workers use a TaskPoller,
    which also gets back what a poll loses.
    """

    _service = task_service_pb2.DESCRIPTOR.services_by_name["TaskService"]

    def get(self, task_id: str, *, timeout: float | None = None) -> Task:
        """The task with this id. One that holds an integer is read by REST.

        Raises NotFoundError; UnmappablePayloadError if it holds an integer and there is no REST address.
        """
        request = task_service_pb2.GetTaskRequest(task_id=required("task_id", task_id))
        try:
            (data,) = _ONLY_FIELD.decode(self._call("GetTask", request, timeout))
            return Task.from_wire(data)
        except UNREADABLE as error:
            rest = self._rest_client()
            if rest is None:
                raise
            document = rest.get_task(task_id)
            if document is None:
                raise NotFoundError(
                    f"no task with the id {task_id!r}: the server cannot send it over gRPC, REST does not know it",
                    code=error.code,
                    method=error.method,
                    details=error.details,
                ) from error
            return Task.from_json(document)

    def poll(
        self,
        task_type: str,
        *,
        worker_id: str | None = None,
        domain: str | None = None,
        timeout: float | None = None,
    ) -> Task | None:
        """One task of a type, now this worker's; None if there is none. The server waits up to 0.1 s.

        `worker_id` and `domain` None are those of the configuration. A `timeout` under 10 s is raised to
        that: the server does not notice that a client has hung up, and the task would be lost until its
        response timeout.

        Raises UnmappablePayloadError for a task that holds an integer: it is off the queue nevertheless.
        """
        request = task_service_pb2.PollRequest(
            task_type=required("task_type", task_type),
            worker_id=self.configuration.worker_id if worker_id is None else worker_id,
            domain=self._domain(domain),
        )
        try:
            answer = self._call("Poll", request, self._poll_timeout(timeout, 0))
        except ServerError as error:
            # The server ends the call for an empty queue without an answer, which gRPC says as CANCELLED.
            if error.code is grpc.StatusCode.CANCELLED:
                return None
            raise
        (data,) = _ONLY_FIELD.decode(answer)
        return Task.from_wire(data) if data else None

    def batch_poll(
        self,
        task_type: str,
        count: int,
        *,
        wait_ms: int = 100,
        worker_id: str | None = None,
        domain: str | None = None,
        timeout: float | None = None,
    ) -> PolledTasks:
        """Up to `count` tasks of a type, now this worker's. Waits up to `wait_ms`, on SQL for a full batch.

        `wait_ms`: 1 to 5000; -1 looks once and does not wait. `worker_id`, `domain`, `timeout` as for `poll`.

        A task that holds an integer ends the batch: if others came before it, they are returned with the
        error beside them, else it is raised (UnmappablePayloadError). That task and the rest of the batch are
        IN_PROGRESS on the server until their response timeout.
        """
        if count < 1:
            raise ValueError(f"count {count}: expected 1 or more")
        if wait_ms != -1 and not 1 <= wait_ms <= SERVER_POLL_LIMIT_MS:
            raise ValueError(f"wait_ms {wait_ms}: expected 1 to {SERVER_POLL_LIMIT_MS}, or -1 not to wait")
        request = task_service_pb2.BatchPollRequest(
            task_type=required("task_type", task_type),
            worker_id=self.configuration.worker_id if worker_id is None else worker_id,
            domain=self._domain(domain),
            count=count,
            timeout=wait_ms,
        )
        tasks: list[Task] = []
        try:
            for data in self._stream("BatchPoll", request, self._poll_timeout(timeout, wait_ms)):
                tasks.append(Task.from_wire(data))  # noqa: PERF401 - those before an error must stay
        except ServerError as error:
            if not tasks:
                raise
            return PolledTasks(tuple(tasks), error)
        return PolledTasks(tuple(tasks))

    def update(self, result: TaskResult, *, timeout: float | None = None) -> str:
        """Reports a result and returns the task's id. The server answers OK and ignores it if the task has ended.

        Repeating it is safe. Raises ValueError if the result has no status, PayloadEncodeError, NotFoundError
        for an unknown workflow or task, MessageTooLargeError over 4 MiB.
        """
        answer = self._call("UpdateTask", result.to_wire(self.configuration.big_integers), timeout)
        return task_service_pb2.UpdateTaskResponse.FromString(answer).task_id

    def add_log(self, task_id: str, log: str, *, timeout: float | None = None) -> None:
        """Adds a line to the log of a task, with the server's time. Any id is accepted; without an index, lost."""
        request = task_service_pb2.AddLogRequest(task_id=required("task_id", task_id), log=log)
        self._call("AddLog", request, timeout)

    def logs(self, task_id: str, *, timeout: float | None = None) -> list[TaskLog]:
        """The log of a task, oldest first; empty for an unknown task, and on a server that keeps no logs."""
        request = task_service_pb2.GetTaskLogsRequest(task_id=required("task_id", task_id))
        answer = task_service_pb2.GetTaskLogsResponse.FromString(self._call("GetTaskLogs", request, timeout))
        return [TaskLog(each.log, each.created_time) for each in answer.logs]

    def queue_sizes(self, task_types: Sequence[str], *, timeout: float | None = None) -> dict[str, int]:
        """How many messages the queues of these task types (or `domain:type`) hold; 0 for unknown ones.

        On SQL those handed out or postponed count as well.
        """
        request = task_service_pb2.QueueSizesRequest(task_types=task_types)
        answer = self._call("GetQueueSizesForTasks", request, timeout)
        return dict(task_service_pb2.QueueSizesResponse.FromString(answer).queue_for_task)

    def queue_info(self, *, timeout: float | None = None) -> dict[str, int]:
        """The waiting messages of every queue, the server's own (`_deciderQueue`) included."""
        answer = self._call("GetQueueInfo", task_service_pb2.QueueInfoRequest(), timeout)
        return dict(task_service_pb2.QueueInfoResponse.FromString(answer).queues)

    def queue_all_info(self, *, timeout: float | None = None) -> dict[str, dict[str, QueueShard]]:
        """The shards of every queue, by queue and shard name. Raises UnknownServerError on a Redis backend."""
        answer = task_service_pb2.QueueAllInfoResponse.FromString(
            self._call("GetQueueAllInfo", task_service_pb2.QueueAllInfoRequest(), timeout)
        )
        return {
            queue: {name: QueueShard(shard.size, shard.uacked) for name, shard in info.shards.items()}
            for queue, info in answer.queues.items()
        }

    def search(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[TaskSummary]:
        """Tasks in the server's index, e.g. `query="taskType=ship AND status=IN_PROGRESS"`.

        Options: `free_text`, `sort`, `start`, `size`, `timeout`, see `SearchOptions`. A query that the server
        does not understand is UnknownServerError, a field that it does not know matches everything. Without an
        index nothing is found.
        """
        return self._search("Search", TaskSummary.from_wire, query, options)

    def search_v2(self, query: str = "", **options: Unpack[SearchOptions]) -> SearchResult[Task]:
        """As `search`, with whole tasks read from the server's database.

        Raises UnknownServerError also if a hit holds an integer: use `search`, and `get` for each.
        """
        return self._search("SearchV2", Task.from_wire, query, options)

    def _domain(self, domain: str | None) -> str:
        return (self.configuration.domain or "") if domain is None else domain

    def _poll_timeout(self, timeout: float | None, wait_ms: int) -> float:
        given = self.configuration.call_timeout if timeout is None else timeout
        return max(given, _POLL_GRACE + max(wait_ms, 0) / 1000)
