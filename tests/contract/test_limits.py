"""How many tasks of a definition may run at once, and how many within some time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import simple, statuses

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task


def start_several(server: ServerUnderTest, count: int, **definition: int) -> tuple[str, list[str]]:
    """The task type, and the ids of the workflows."""
    task_type = server.task_definition(**definition)
    name = server.workflow(simple(task_type))
    return task_type, [server.start(name) for _ in range(count)]


def poll_repeatedly(server: ServerUnderTest, task_type: str, count: int) -> list[Task]:
    """What three polls of so many tasks give."""
    return [task for _ in range(3) for task in server.poll(task_type, count=count, wait=200)]


# -- concurrency --


def test_no_more_tasks_run_than_the_limit(server: ServerUnderTest) -> None:
    task_type, workflows = start_several(server, 4, concurrent_exec_limit=2)
    assert len(poll_repeatedly(server, task_type, 4)) == 2
    running = [statuses(server.get(workflow_id)) for workflow_id in workflows]
    assert sorted(running) == [["IN_PROGRESS"], ["IN_PROGRESS"], ["SCHEDULED"], ["SCHEDULED"]]


@pytest.mark.parametrize("end", ["complete", "fail", "terminate"])
def test_the_end_of_a_task_lets_the_next_one_run(server: ServerUnderTest, end: str) -> None:
    task_type, workflows = start_several(server, 2, concurrent_exec_limit=1)
    (task,) = poll_repeatedly(server, task_type, 2)
    if end == "complete":
        server.complete(task)
    elif end == "fail":
        server.fail(task)
    else:
        server.terminate(task.workflow_instance_id)
    assert server.take(task_type).workflow_instance_id in set(workflows) - {task.workflow_instance_id}


def test_giving_a_task_back_does_not_let_the_next_one_run_at_once(server: ServerUnderTest) -> None:
    task_type, _ = start_several(server, 2, concurrent_exec_limit=1)
    (task,) = poll_repeatedly(server, task_type, 2)
    server.update(task, "IN_PROGRESS", callback_after_seconds=600)
    assert poll_repeatedly(server, task_type, 2) == []


def test_the_limit_of_one_definition_is_not_that_of_another(server: ServerUnderTest) -> None:
    first, _ = start_several(server, 1, concurrent_exec_limit=1)
    second, _ = start_several(server, 1, concurrent_exec_limit=1)
    assert [server.take(task_type).task_type for task_type in (first, second)] == [first, second]


# -- rate --


@pytest.mark.differs("sqlite", "the rate limit is not kept: its storage has no such check")
def test_no_more_tasks_are_handed_out_than_the_rate_allows(server: ServerUnderTest) -> None:
    task_type, _ = start_several(server, 4, rate_limit_per_frequency=2, rate_limit_frequency_in_seconds=60)
    handed_out = poll_repeatedly(server, task_type, 4)
    assert len(handed_out) == (4 if server.name == "sqlite" else 2)
    assert {(task.rate_limit_per_frequency, task.rate_limit_frequency_in_seconds) for task in handed_out} == {(2, 60)}


def test_the_end_of_a_task_does_not_raise_the_rate(server: ServerUnderTest) -> None:
    task_type, _ = start_several(server, 2, rate_limit_per_frequency=1, rate_limit_frequency_in_seconds=60)
    handed_out = poll_repeatedly(server, task_type, 2)
    server.complete(handed_out[0])
    assert server.poll(task_type, wait=300) == []
