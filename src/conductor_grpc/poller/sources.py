"""Where the intake gets its tasks: BatchPoll over gRPC, or the same poll over REST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from conductor_grpc.errors import ConductorError, PayloadDecodeError
from conductor_grpc.payload import Layout
from conductor_grpc.pb.services import task_service_pb2
from conductor_grpc.transport import methods
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.poller.planner import Poll
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient

DEADLINE_MARGIN: Final = 30.0
"""Seconds a poll may take beyond its wait. A deadline that strikes while the server still works strands what it
has taken off the queue, so this only has to catch a connection that died without a word."""

_IDS: Final = Layout([(20, "string"), (22, "string")])


@dataclass(frozen=True)
class Unreadable:
    """A task that came but cannot be run; the ids are enough to fail it."""

    task_id: str
    workflow_instance_id: str
    error: ConductorError


class PollSource(Protocol):
    """One way of polling one task type."""

    name: str
    """For logs and health: `grpc` or `rest`."""

    def poll(self, poll: Poll) -> Iterator[Task | Unreadable]:
        """The tasks of one poll, as they come. Blocks while iterated; raises ServerError.

        Everything yielded before an error counts: the server has handed it out.
        """


class GrpcSource:
    """BatchPoll."""

    name = "grpc"

    def __init__(self, channel: Channel, task_type: str, worker_id: str, domain: str | None) -> None:
        self._batch_poll = methods.raw_stream(channel, methods.BATCH_POLL)
        self._task_type = task_type
        self._worker_id = worker_id
        self._domain = domain or ""

    def poll(self, poll: Poll) -> Iterator[Task | Unreadable]:
        request = task_service_pb2.BatchPollRequest(
            task_type=self._task_type,
            worker_id=self._worker_id,
            domain=self._domain,
            count=poll.count,
            timeout=poll.wait_ms,
        )
        timeout = max(0, poll.wait_ms) / 1000 + DEADLINE_MARGIN
        for data in self._batch_poll(request.SerializeToString(), timeout=timeout):
            yield read_task(data)


class RestSource:
    """`GET /tasks/poll/batch`: for types whose JSON integers the server cannot send over gRPC."""

    name = "rest"

    def __init__(self, rest: RestClient, task_type: str, worker_id: str, domain: str | None) -> None:
        self._rest = rest
        self._task_type = task_type
        self._worker_id = worker_id
        self._domain = domain

    def poll(self, poll: Poll) -> Iterator[Task | Unreadable]:
        answer = self._rest.poll_batch(self._task_type, self._worker_id, self._domain, poll.count, poll.wait_ms)
        for document in answer:
            yield read_json_task(document)


def read_task(data: bytes) -> Task | Unreadable:
    """The task in a serialised conductor.proto.Task."""
    try:
        return Task.from_wire(data)
    except PayloadDecodeError as error:
        workflow_instance_id, task_id = _IDS.decode(data)
        return Unreadable(task_id, workflow_instance_id, error)


def read_json_task(document: dict[str, object]) -> Task | Unreadable:
    """The task in a REST answer."""
    try:
        return Task.from_json(document)
    except PayloadDecodeError as error:
        return Unreadable(str(document.get("taskId")), str(document.get("workflowInstanceId")), error)
