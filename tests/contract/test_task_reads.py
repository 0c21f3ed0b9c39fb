"""GetTask and its errors, and what the trailer of an error holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import debug_info, error_of, status

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def test_an_unknown_task_is_not_found(server: ServerUnderTest) -> None:
    assert error_of(lambda: server.task("nope")) == (grpc.StatusCode.NOT_FOUND, "No such task found by id=nope", None)


def test_an_empty_task_id_is_refused(server: ServerUnderTest) -> None:
    failure = error_of(lambda: server.task(""))
    message = "getTask.arg0: TaskId cannot be null or empty."
    assert failure == (grpc.StatusCode.INTERNAL, message, "ConstraintViolationException")


def test_a_task_is_readable_before_its_first_poll(server: ServerUnderTest) -> None:
    _, workflow_id = server.start_task({"x": "y"})
    (listed,) = server.get(workflow_id).tasks
    task = server.task(listed.task_id)
    assert task == listed
    assert (status(task), task.poll_count, task.worker_id) == ("SCHEDULED", 0, "")
    assert (task.start_time, task.end_time, task.update_time) == (0, 0, 0)
    assert task.scheduled_time > 0


def test_the_trailer_of_an_error_is_a_bare_debug_info(server: ServerUnderTest) -> None:
    """Convention asks for a google.rpc.Status there. It tells the exception twice, and where it came from."""
    task_type, _ = server.start_task()
    task = server.take(task_type)
    with pytest.raises(grpc.RpcError) as caught:
        server.update(task, "COMPLETED", task_id="nope")
    info = debug_info(caught.value)
    assert info.detail == "NotFoundException: No such task found by id: nope"
    first, *frames = info.stack_entries
    assert first == "com.netflix.conductor.core.exception.NotFoundException: No such task found by id: nope"
    assert len(frames) >= 1
    assert all(frame.strip().startswith("at ") for frame in frames)
