"""BatchPoll: how many tasks it gives, how long it waits, and what becomes of tasks whose client has gone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from wire import error_of, simple, status, statuses

from conductor_grpc.pb.services.task_service_pb2 import BatchPollRequest
from conductor_grpc.pb.services.task_service_pb2_grpc import TaskServiceStub

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task

NOT_FILLED = pytest.mark.differs(
    "redis", "a poll ends as soon as there is one task; elsewhere it waits to fill the batch"
)
OVERHEAD = 1.5  # seconds that a call may take beyond its own wait, on a machine that is busy


def ready_tasks(server: ServerUnderTest, count: int) -> tuple[str, list[str]]:
    """A task type of which so many tasks are ready, and their workflows in the order of their start."""
    task_type = server.task_definition()
    # The first poll of a queue wakes up what Redis prefetches with.
    server.poll(task_type, wait=1)
    name = server.workflow(simple(task_type))
    return task_type, [server.start(name) for _ in range(count)]


def timed_poll(server: ServerUnderTest, task_type: str, count: int, wait: int) -> tuple[list[Task], float]:
    """The tasks, and the seconds that the call took."""
    before = time.monotonic()
    return server.poll(task_type, count=count, wait=wait), time.monotonic() - before


# -- waiting --


def test_empty_poll_waits_its_timeout_and_gives_nothing(server: ServerUnderTest) -> None:
    waits = [250, 1000, 5000]
    with ThreadPoolExecutor(len(waits)) as threads:
        polls = [threads.submit(timed_poll, server, server.unique(), 3, wait) for wait in waits]
    for wait, poll in zip(waits, polls, strict=True):
        tasks, seconds = poll.result()
        assert tasks == []
        assert wait / 1000 <= seconds < wait / 1000 + OVERHEAD


def test_timeout_0_means_100_milliseconds(server: ServerUnderTest) -> None:
    tasks, seconds = timed_poll(server, server.unique(), 1, 0)
    assert tasks == []
    assert 0.1 <= seconds < 0.1 + OVERHEAD


@pytest.mark.differs("redis", "a timeout of 1 ms is kept; elsewhere the server looks again after 100 ms")
def test_a_short_timeout_is_rounded_up(server: ServerUnderTest) -> None:
    seconds = min(timed_poll(server, server.unique(), 1, 1)[1] for _ in range(3))
    assert (seconds < 0.1) == (server.name == "redis")


def test_negative_timeout_does_not_wait(server: ServerUnderTest) -> None:
    seconds = min(timed_poll(server, server.unique(), 1, -1)[1] for _ in range(3))
    assert seconds < 0.1


def test_negative_timeout_gives_what_is_ready(server: ServerUnderTest) -> None:
    task_type, _ = ready_tasks(server, 3)
    polled: list[Task] = []
    server.until(lambda: polled.extend(server.poll(task_type, count=5, wait=-1)) or len(polled) == 3)
    assert len({task.task_id for task in polled}) == 3


def test_timeout_over_5000_is_refused(server: ServerUnderTest) -> None:
    failure = error_of(lambda: server.poll("t", wait=5001))
    assert failure == (grpc.StatusCode.INVALID_ARGUMENT, "longpoll timeout cannot be longer than 5000ms", None)


@NOT_FILLED
def test_poll_waits_to_fill_the_batch(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 3)
    tasks, seconds = timed_poll(server, task_type, 10, 1000)
    # Redis gives one or more at once: what it has prefetched by then.
    full = server.name != "redis"
    assert (seconds >= 1.0) == full
    while not full and len(tasks) < len(started):
        tasks += server.poll(task_type, count=10)
    assert [task.workflow_instance_id for task in tasks] == started


@NOT_FILLED
def test_full_batch_does_not_wait(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 3)
    tasks, seconds = timed_poll(server, task_type, 3, 5000)
    assert [task.workflow_instance_id for task in tasks] == started[: len(tasks)]
    assert len(tasks) == 3 or (server.name == "redis" and tasks)
    assert seconds < OVERHEAD


def test_waiting_poll_gets_the_task_that_arrives(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    with ThreadPoolExecutor(1) as threads:
        poll = threads.submit(timed_poll, server, task_type, 1, 5000)
        workflow_id = server.start(name)
        (task,), seconds = poll.result()
    assert task.workflow_instance_id == workflow_id
    assert seconds < OVERHEAD


# -- how many --


def test_count_limits_the_batch(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 3)
    batches = [server.poll(task_type, count=2, wait=200) for _ in started]
    assert max(len(batch) for batch in batches) <= 2
    assert sorted(task.workflow_instance_id for batch in batches for task in batch) == sorted(started)


def test_count_0_means_one_task(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 2)
    assert [task.workflow_instance_id for task in server.poll(task_type, count=0)] == started[:1]


@pytest.mark.differs("redis", "a poll with a negative count gives nothing; elsewhere it gives all that is ready")
def test_negative_count(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 3)
    given = [task.workflow_instance_id for task in server.poll(task_type, count=-1)]
    assert given == ([] if server.name == "redis" else started)


def test_polls_at_the_same_time_share_the_tasks_out(server: ServerUnderTest) -> None:
    task_type, started = ready_tasks(server, 24)
    given: list[str] = []

    def poll_all() -> list[str]:
        mine: list[str] = []
        while tasks := server.poll(task_type, count=4, wait=300):
            mine += [task.workflow_instance_id for task in tasks]
        return mine

    with ThreadPoolExecutor(4) as threads:
        for poll in [threads.submit(poll_all) for _ in range(4)]:
            given += poll.result()
    assert sorted(given) == sorted(started)


def test_empty_task_type_is_refused(server: ServerUnderTest) -> None:
    failure = error_of(lambda: server.poll(""))
    assert failure == (
        grpc.StatusCode.INTERNAL,
        "batchPoll.arg0: TaskType cannot be null or empty.",
        "ConstraintViolationException",
    )


# -- a client that goes --


def test_tasks_are_stranded_when_the_client_goes_while_the_server_waits(server: ServerUnderTest) -> None:
    """By its deadline, by cancelling, by closing the channel: the poll goes on, and takes what arrives."""
    task_types = [server.task_definition() for _ in range(3)]
    names = [server.workflow(simple(task_type)) for task_type in task_types]
    channels = [server.new_channel() for _ in task_types]
    calls = [
        TaskServiceStub(channel).BatchPoll(
            BatchPollRequest(task_type=task_type, worker_id="gone", count=1, timeout=3000), timeout=timeout
        )
        for channel, task_type, timeout in zip(channels, task_types, (0.5, None, None), strict=True)
    ]
    # The deadline tells that the server has all three: they were sent before, and wait in it for 3 s.
    assert error_of(lambda: list(calls[0])).code is grpc.StatusCode.DEADLINE_EXCEEDED
    calls[1].cancel()
    for channel in channels[1:]:
        channel.close()
    workflows = [server.start(name) for name in names]
    for workflow_id in workflows:
        server.until(lambda workflow_id=workflow_id: statuses(server.get(workflow_id)) == ["IN_PROGRESS"])
    assert [server.get(workflow_id).tasks[0].worker_id for workflow_id in workflows] == ["gone"] * 3
    channels[0].close()


@NOT_FILLED
def test_a_batch_is_stranded_when_a_task_is_larger_than_the_client_receives(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type, input_parameters={"x": "${workflow.input.x}"}))
    workflows = [server.start(name, {"x": "x" * 200_000}) for _ in range(2)]
    options = [("grpc.max_receive_message_length", 100_000)]
    with grpc.insecure_channel(server.target, options=options) as channel:
        request = BatchPollRequest(task_type=task_type, worker_id="w", count=2, timeout=1000)
        failure = error_of(lambda: list(TaskServiceStub(channel).BatchPoll(request)))
    assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    taken = [status(task) for workflow_id in workflows for task in server.get(workflow_id).tasks]
    # Redis may have given the first task only, as it does not wait to fill the batch.
    assert taken == ["IN_PROGRESS", "IN_PROGRESS"] or (server.name == "redis" and taken[0] == "IN_PROGRESS")
