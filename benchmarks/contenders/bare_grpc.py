"""grpcio alone: BatchPoll in, an UpdateTask out for each task, on one asyncio loop.

No threads, no payloads, no retries, no shutdown: what a client of this server cannot do without.
"""

from __future__ import annotations

import asyncio
import os
import sys

import grpc.aio

from conductor_grpc.pb.model import task_pb2, taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2, task_service_pb2_grpc


async def main(task_type: str, count: int) -> None:
    channel = grpc.aio.insecure_channel(os.environ["CONDUCTOR_GRPC_TARGET"])
    stub: task_service_pb2_grpc.TaskServiceAsyncStub = task_service_pb2_grpc.TaskServiceStub(channel)
    poll = task_service_pb2.BatchPollRequest(task_type=task_type, worker_id="bare", count=count, timeout=100)
    sending: set[asyncio.Task[None]] = set()

    async def acknowledge(task: task_pb2.Task) -> None:
        await stub.UpdateTask(
            task_service_pb2.UpdateTaskRequest(
                result=taskresult_pb2.TaskResult(
                    workflow_instance_id=task.workflow_instance_id,
                    task_id=task.task_id,
                    worker_id="bare",
                    status=taskresult_pb2.TaskResult.COMPLETED,
                )
            )
        )

    while True:
        async for task in stub.BatchPoll(poll):
            sender = asyncio.ensure_future(acknowledge(task))
            sending.add(sender)
            sender.add_done_callback(sending.discard)
        while len(sending) > count:
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
