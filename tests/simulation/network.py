"""Between a process and the server: channels and a REST client that lose, delay and forget."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from conductor_grpc.errors import (
    NotFoundError,
    ServerError,
    ThrottledError,
    UnavailableError,
    UnknownServerError,
    UnmappablePayloadError,
)
from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.model.tasksummary_pb2 import TaskSummary
from conductor_grpc.pb.services import search_pb2, task_service_pb2
from conductor_grpc.transport.methods import BATCH_POLL, GET_TASK, UPDATE_TASK
from conductor_grpc.transport.task_stream import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulation.process import Process
    from simulation.schedule import Fault
    from simulation.server import Record
    from simulation.world import World


_LISTED_BYTES: Final = 2_200


def unavailable() -> ServerError:
    return UnavailableError(code=grpc.StatusCode.UNAVAILABLE)


_REFUSALS: dict[str, Callable[[], ServerError]] = {
    "refused": unavailable,
    "throttled": lambda: ThrottledError(code=grpc.StatusCode.RESOURCE_EXHAUSTED),
    "unknown": lambda: UnknownServerError(code=grpc.StatusCode.UNKNOWN),
}


class Network:
    """What one process has of it: stands for its Channel and its RestClient. It hears nothing once it is killed."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._loop = world.loop
        self._server = world.server
        self._process = process

    def close(self) -> None: ...

    # -- as a channel --

    def unary_unary(self, path: str, *_: object, **__: object) -> Any:
        if path.endswith("/GetQueueSizesForTasks"):
            return self._queue_sizes
        return {GET_TASK: self._get_task}.get(path, self._search)

    def unary_stream(self, path: str, *_: object, **__: object) -> Any:
        return self._batch_poll if path == BATCH_POLL else None

    def _batch_poll(self, request: bytes, timeout: float) -> Iterator[bytes]:
        asked = task_service_pb2.BatchPollRequest.FromString(request)
        records, error = self._poll(asked.worker_id, asked.count, asked.timeout, timeout)
        for record in records:
            record.carrier = None
            if record.workflow.job.integer:
                raise UnmappablePayloadError(code=grpc.StatusCode.INTERNAL)
            yield self._server.message(record)
        if error is not None:
            raise error

    def _get_task(self, request: bytes, timeout: float | None = None) -> bytes:
        del timeout
        self._immediate_call("look")
        record = self._server.tasks.get(task_service_pb2.GetTaskRequest.FromString(request).task_id)
        if record is None:
            raise NotFoundError(code=grpc.StatusCode.NOT_FOUND)
        if record.workflow.job.integer:
            raise UnmappablePayloadError(code=grpc.StatusCode.INTERNAL)
        data = self._server.message(record)
        return b"\x0a" + _varint(len(data)) + data

    def _queue_sizes(self, request: task_service_pb2.QueueSizesRequest) -> task_service_pb2.QueueSizesResponse:
        self._call("list")
        return task_service_pb2.QueueSizesResponse(
            queue_for_task=dict.fromkeys(request.task_types, self._server.queued)
        )

    def _search(self, request: search_pb2.Request) -> Any:
        self._call("list")
        found = self._server.search(request.query, self._world.epoch_ms)
        results = [TaskSummary(task_id=record.task_id, workflow_id=str(record.workflow.number)) for record in found]
        return task_service_pb2.TaskSummarySearchResult(total_hits=len(found), results=results[: request.size])

    # -- as a REST client --

    def list_pending(
        self, task_type: str, count: int, keep: Callable[[dict[str, Any]], bool], *, most_bytes: int, seconds: float
    ) -> Listing:
        del task_type, most_bytes, seconds
        slow = self._call("list")
        documents = self._server.pending()[:count]
        self._pause(slow)
        return Listing([each for each in documents if keep(each)], len(documents), _LISTED_BYTES * len(documents))

    def poll_batch(
        self, task_type: str, worker_id: str, domain: str | None, count: int, timeout_ms: int
    ) -> list[dict[str, Any]]:
        del task_type, domain
        records, error = self._poll(worker_id, count, timeout_ms, 30.0 + timeout_ms / 1000)
        for record in records:
            record.carrier = None
        if error is not None:
            raise error
        return [self._server.document(record) for record in records]

    def get_task(self, task_id: str) -> dict[str, Any] | None:
        self._immediate_call("look")
        record = self._server.tasks.get(task_id)
        return None if record is None else self._server.document(record)

    # -- calls that block --

    def _poll(
        self, worker_id: str, count: int, wait_ms: int, timeout: float
    ) -> tuple[list[Record], ServerError | None]:
        """What arrives, and what it ends with."""
        fault = self._refusable("poll")
        self._pause()
        job = self._loop.create_task(self._server.poll(worker_id, count, wait_ms, self._process))
        job.add_done_callback(lambda _: self._loop.wake())
        if fault is not None and fault.how in ("early", "hung"):
            self._pause(fault.amount if fault.how == "early" else timeout)
            return [], unavailable()
        self._loop.block(job.done)
        records = job.result()
        if fault is None:
            self._pause()
            return records, None
        if fault.how == "slow":
            self._pause(fault.amount)
            return records, None
        arriving = int(fault.amount)
        for record in records[arriving:]:
            record.carrier = None
        return records[:arriving], unavailable()

    def _call(self, target: str) -> float:
        """Seconds for the way back."""
        fault = self._refusable(target)
        self._pause()
        return 0.0 if fault is None else fault.amount

    def _immediate_call(self, target: str) -> None:
        """For calls by a thread whose time the loop models."""
        fault = self._world.fault(target)
        if self._world.down or fault is not None:
            raise unavailable()

    def _refusable(self, target: str) -> Fault | None:
        self._process.check()
        fault = self._world.fault(target)
        if self._world.down or (fault is not None and fault.how == "refused"):
            self._pause()
            raise unavailable()
        return fault

    def _pause(self, seconds: float = 0.0) -> None:
        if not self._loop.is_running():  # else this is a part that the loop itself runs, which cannot wait
            self._loop.block(lambda: False, seconds + self._world.latency())
            self._process.check()


class AioNetwork:
    """The same for the outbox: stands for its AioChannel."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._loop = world.loop
        self._process = process

    async def close(self) -> None: ...

    def unary_unary(self, path: str) -> Any:
        assert path == UPDATE_TASK
        return self._update

    async def _update(self, request: bytes, timeout: float) -> bytes:
        await self._go_on()
        result = task_service_pb2.UpdateTaskRequest.FromString(request).result
        record = self._world.server.tasks[result.task_id]
        turn = record.poll_count
        fault = self._world.fault("extend" if result.extend_lease else "update")
        await asyncio.sleep(self._world.latency())
        if self._world.down:
            await self._fail(unavailable())
        if fault is None:
            await asyncio.shield(self._arrives(result))
        elif fault.how in _REFUSALS:
            await self._fail(_REFUSALS[fault.how]())
        elif fault.how == "late":
            self._arrives(result, fault.amount)
            await self._fail(unavailable())
        elif fault.how == "stalled":
            self._arrives(result, stall=fault.amount)
            await self._fail(unavailable())
        elif fault.how == "slow":
            await asyncio.shield(self._arrives(result, fault.amount))
        else:
            await asyncio.shield(self._arrives(result))
            await asyncio.sleep(timeout if fault.how == "hung" else 0.0)
            await self._fail(unavailable())
        await asyncio.sleep(self._world.latency())
        await self._go_on()
        if not result.extend_lease and record.poll_count == turn:
            record.acknowledged = self._process
        return b""

    def _arrives(self, result: TaskResult, after: float = 0.0, stall: float = 0.0) -> asyncio.Task[None]:
        # On the server, which goes on whatever becomes of the client.
        return self._loop.create_task(self._applied(result, after, stall))

    async def _applied(self, result: TaskResult, after: float, stall: float) -> None:
        record = self._world.server.tasks[result.task_id]
        turn = record.turn
        if after:
            await asyncio.sleep(after)
            if record.turn != turn and not result.extend_lease and result.status == TaskResult.IN_PROGRESS:
                record.workflow.allowed += 1  # handed out again meanwhile, and now once more: nobody can prevent that
        await self._world.server.update(result, stall)

    async def _fail(self, error: ServerError) -> None:
        await asyncio.sleep(self._world.latency())
        await self._go_on()
        raise error

    async def _go_on(self) -> None:
        if self._process.dead:
            await self._loop.create_future()  # for ever


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])
