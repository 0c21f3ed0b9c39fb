"""Tasks that come back: IN_PROGRESS with a callback, a start delay, and resetting callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire import plain, simple, status

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.pb.services.workflow_service_pb2 import ResetWorkflowCallbacksRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def test_in_progress_makes_the_task_scheduled_and_postpones_it(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.update(task, "IN_PROGRESS", {"so": "far"}, callback_after_seconds=1)
    stored = server.task(task.task_id)
    assert (status(stored), stored.callback_after_seconds, stored.poll_count) == ("SCHEDULED", 1, 1)
    assert (stored.start_time, stored.end_time) == (task.start_time, 0)
    assert server.poll(task_type, wait=100) == []

    server.pass_time(1)
    again = server.take(task_type)
    assert (again.task_id, again.poll_count, status(again)) == (task.task_id, 2, "IN_PROGRESS")
    assert (again.start_time, again.callback_after_seconds) == (task.start_time, 0)
    assert plain(again.output_data) == {"so": "far"}


def test_callback_0_gives_the_task_back_at_once(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task({"x": "y"})
    task = server.take(task_type)
    server.update(task, "IN_PROGRESS", reason_for_incompletion="not yet")
    again = server.take(task_type, worker="another")
    assert (again.task_id, again.poll_count, again.worker_id) == (task.task_id, 2, "another")
    assert (again.reason_for_incompletion, plain(again.input_data)) == ("not yet", {"x": "y"})


def test_a_result_without_a_status_gives_the_task_back(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    result = TaskResult(workflow_instance_id=workflow_id, task_id=task.task_id)
    server.tasks.UpdateTask(UpdateTaskRequest(result=result))
    assert status(server.task(task.task_id)) == "SCHEDULED"
    assert server.take(task_type).task_id == task.task_id


def test_a_task_may_come_back_many_times(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    for times in range(1, 6):
        task = server.take(task_type)
        assert (task.poll_count, task.retry_count) == (times, 0)
        server.update(task, "IN_PROGRESS", {"times": times})
    server.complete(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (status(workflow), len(workflow.tasks), plain(workflow.output)) == ("COMPLETED", 1, {})


def test_a_postponed_task_can_be_completed_before_it_comes_back(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.update(task, "IN_PROGRESS", callback_after_seconds=600)
    server.complete(task)
    assert status(server.get(workflow_id)) == "COMPLETED"
    assert server.queue_size(task_type) == 0


def test_reset_callbacks_brings_postponed_tasks_back_at_once(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.update(task, "IN_PROGRESS", callback_after_seconds=600)
    server.workflows.ResetWorkflowCallbacks(ResetWorkflowCallbacksRequest(workflow_id=workflow_id))
    assert server.task(task.task_id).callback_after_seconds == 0
    assert server.take(task_type).task_id == task.task_id


def test_start_delay_postpones_the_first_delivery(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type, start_delay=1)))
    (task,) = server.get(workflow_id).tasks
    assert (status(task), task.start_delay_in_seconds, task.callback_after_seconds) == ("SCHEDULED", 1, 1)
    assert server.poll(task_type, wait=100) == []
    server.pass_time(1)
    polled = server.take(task_type)
    assert (polled.start_delay_in_seconds, polled.callback_after_seconds) == (1, 0)
    assert polled.start_time - polled.scheduled_time >= 1000
