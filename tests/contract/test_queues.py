"""What the server tells about its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import error_of, simple

from conductor_grpc.pb.services.task_service_pb2 import QueueAllInfoRequest, QueueInfoRequest, QueueSizesRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def sizes(server: ServerUnderTest, *queues: str) -> dict[str, int]:
    return dict(server.tasks.GetQueueSizesForTasks(QueueSizesRequest(task_types=queues)).queue_for_task)


def info(server: ServerUnderTest) -> dict[str, int]:
    return dict(server.tasks.GetQueueInfo(QueueInfoRequest()).queues)


def test_sizes_are_of_the_queues_asked_for(server: ServerUnderTest) -> None:
    task_type, unknown = server.task_definition(), server.unique()
    name = server.workflow(simple(task_type))
    for _ in range(3):
        server.start(name)
    assert sizes(server, task_type, unknown) == {task_type: 3, unknown: 0}
    assert sizes(server) == {}
    assert sizes(server, "") == {"": 0}


def test_a_polled_task_leaves_its_queue_and_a_postponed_one_is_in_it(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    assert sizes(server, task_type) == {task_type: 0}
    server.update(task, "IN_PROGRESS", callback_after_seconds=600)
    assert sizes(server, task_type) == {task_type: 1}
    server.terminate(workflow_id)
    assert sizes(server, task_type) == {task_type: 0}


def test_info_has_every_queue(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    server.start(name)
    server.start(name, task_to_domain={task_type: "ours"})
    queues = info(server)
    assert (queues[task_type], queues[f"ours:{task_type}"]) == (1, 1)


@pytest.mark.differs("redis", "all about the queues cannot be told: the server trips over a shard without a name")
def test_all_info_tells_shards(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    if server.name == "redis":
        failure = error_of(lambda: server.tasks.GetQueueAllInfo(QueueAllInfoRequest()))
        assert failure == (grpc.StatusCode.UNKNOWN, "Application error processing RPC", None)
        return
    shards = server.tasks.GetQueueAllInfo(QueueAllInfoRequest()).queues[task_type].shards
    assert {name: (shard.size, shard.uacked) for name, shard in shards.items()} == {"a": (1, 0)}
