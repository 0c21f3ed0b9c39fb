"""Finding the tasks that the server has handed to us and that never arrived.

The server takes tasks off the queue before it sends them. A JSON integer in one of them, or a connection that
breaks, leaves them IN_PROGRESS under our worker id until their response timeout, an hour by default.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from conductor_grpc.errors import NotFoundError, PayloadDecodeError, UnmappablePayloadError
from conductor_grpc.payload import Layout
from conductor_grpc.pb.services import search_pb2, task_service_pb2, task_service_pb2_grpc
from conductor_grpc.poller.sources import Unreadable
from conductor_grpc.transport.methods import GET_TASK, raw_unary
from conductor_grpc.worker.status import TaskStatus
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from conductor_grpc.pb.model import tasksummary_pb2
    from conductor_grpc.poller.custody import Custody
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient

logger = logging.getLogger(__name__)

SEARCH_LIMIT: Final = 500

CLOCK_TOLERANCE_MS: Final = 30_000
"""How wrong our idea of the server's clock may be where only a time tells whose a task is."""

_GET_TASK_RESPONSE: Final = Layout([(1, "bytes")])


class Found(NamedTuple):
    """What one look has found."""

    tasks: list[Task | Unreadable]
    complete: bool
    """Whether all there is could be seen; if not, another look is due."""
    again: float | None = None
    """In how many seconds it is, where that is known."""


class Reclaim(Protocol):
    """One way of finding stranded tasks."""

    def stranded(self, task_type: str, worker_id: str, since_ms: int, most: int, *, last: bool = False) -> Found:
        """The tasks of `task_type` that the server has given to `worker_id` and that we do not hold.

        `since_ms`, the time the poll began in epoch milliseconds by the server's clock, and `most`, how many tasks
        polls that broke at an integer can have lost, serve ways that cannot see the worker id. One that has to spare
        the server may find nothing and say when it will look `again`, unless there is no later: `last`. Blocks;
        raises ServerError, and PayloadDecodeError where base_url leads to something else.
        """


class GrpcReclaim:
    """By Search and GetTask, for a server whose REST port is out of reach. Needs the server's index.

    A task that gRPC cannot carry does not show whose it is. It is taken for ours if our poll broke at an integer,
    the task was handed out since that poll began, and there are no more such tasks than it can have lost; otherwise
    it is left alone: a worker over REST may be running it.
    """

    def __init__(self, channel: Channel, custody: Custody) -> None:
        self._index = TaskIndex(channel)
        self._get_task = TaskFinder(channel)
        self._custody = custody

    def stranded(self, task_type: str, worker_id: str, since_ms: int, most: int, *, last: bool = False) -> Found:
        del last  # it looks whenever it is asked
        found: list[Task] = []
        hidden: list[Unreadable] = []
        with self._custody.watch() as ours:
            summaries, complete = self._index.in_progress(task_type, since_ms)
            for summary in summaries:
                try:
                    task = self._get_task.over_grpc(summary.task_id)
                except (UnmappablePayloadError, PayloadDecodeError) as error:
                    if not ours.knows(summary.task_id):
                        hidden.append(Unreadable(summary.task_id, summary.workflow_id, error))
                    continue
                if task is not None and task.status is TaskStatus.IN_PROGRESS and task.worker_id == worker_id:
                    found.append(task)
            mine = [task for task in found if not ours.holds(task.task_id, task.poll_count)]
        if most and len(hidden) > most - len(mine):
            logger.error(
                "%d tasks of type %r hold JSON integers and cannot be read over gRPC, but the last poll can have "
                "lost %d at most, so some belong to other workers: all wait for their response timeout. Give "
                "Configuration(base_url=...) the server's REST address, by which they can be told apart and run",
                len(hidden),
                task_type,
                most - len(mine),
            )
        elif most:
            return Found([*mine, *hidden], complete)
        return Found([*mine], complete)


class TaskIndex:
    """What the server tells of tasks without listing them. One that has no index answers that there are none."""

    def __init__(self, channel: Channel) -> None:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        self._search, self._queue_sizes = stub.Search, stub.GetQueueSizesForTasks

    def in_progress(self, task_type: str, since_ms: int) -> tuple[list[tasksummary_pb2.TaskSummary], bool]:
        """The tasks handed out since then, and whether these are all. Raises ServerError."""
        # Upper-case AND and these column names are what the server's index understands; unknown ones it ignores.
        query = f"taskType={task_type} AND status=IN_PROGRESS AND updateTime>{since_ms - CLOCK_TOLERANCE_MS}"
        answer = self._search(search_pb2.Request(start=0, size=SEARCH_LIMIT, query=query, free_text="*"))
        return list(answer.results), answer.total_hits <= len(answer.results)

    def knows(self, task_type: str) -> bool:
        """Whether any task of this type was ever handed out. Raises ServerError."""
        request = search_pb2.Request(start=0, size=1, query=f"taskType={task_type}", free_text="*")
        return bool(self._search(request).total_hits)

    def waiting(self, task_type: str) -> int:
        """How many tasks wait in the queue, those of domains not counted. Needs no index. Raises ServerError."""
        # Tasks get into the index when they are handed out, so that cannot tell.
        sizes = self._queue_sizes(task_service_pb2.QueueSizesRequest(task_types=[task_type]))
        return int(sizes.queue_for_task.get(task_type, 0))


class TaskFinder:
    """One task from the server by its id: over gRPC, or over REST where it holds integers."""

    def __init__(self, channel: Channel, rest: RestClient | None = None) -> None:
        self._get_task = raw_unary(channel, GET_TASK)
        self._rest = rest

    def find(self, task_id: str) -> Task | None:
        """The task, or None if the server has none of that id. Blocks; raises ServerError."""
        try:
            return self.over_grpc(task_id)
        except UnmappablePayloadError:
            if self._rest is None:
                raise
        document = self._rest.get_task(task_id)
        return None if document is None else Task.from_json(document)

    def over_grpc(self, task_id: str) -> Task | None:
        """As `find`, but raises UnmappablePayloadError for a task that holds integers."""
        request = task_service_pb2.GetTaskRequest(task_id=task_id)
        try:
            (data,) = _GET_TASK_RESPONSE.decode(self._get_task(request.SerializeToString()))
        except NotFoundError:
            return None
        return Task.from_wire(data)
