"""TaskResult.extend_lease: keeps a task from its response timeout, and may lose a completion sent at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from wire import error_of, plain, simple, status, statuses

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task

CROSSING_EXTENSIONS = 8  # of one completion; one alone loses 1 completion of 10 on SQLite, and of 100 on Redis
ATTEMPTS = 200


def extend(server: ServerUnderTest, task: Task, **fields: object) -> None:
    server.update(task, "COMPLETED", {"ignored": True}, extend_lease=True, **fields)


def test_extending_changes_the_update_time_alone(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task({"x": "y"})
    task = server.take(task_type)
    server.pass_time(0.01)
    extend(server, task, worker_id="other", reason_for_incompletion="other", logs=[{"log": "other"}])
    stored = server.task(task.task_id)
    assert stored.update_time > task.update_time
    stored.update_time = task.update_time
    assert stored == task


def test_an_extended_task_outlives_its_response_timeout(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task(response_timeout_seconds=2, retry_count=1)
    task = server.take(task_type)
    server.pass_time(1.2)
    extend(server, task)
    server.pass_time(1.2)
    server.decide(workflow_id)
    assert statuses(server.get(workflow_id)) == ["IN_PROGRESS"]
    server.pass_time(1.2)
    server.decide(workflow_id)
    assert statuses(server.get(workflow_id)) == ["TIMED_OUT", "SCHEDULED"]


def test_extending_a_finished_task_does_nothing(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.complete(task, a="b")
    stored = server.task(task.task_id)
    extend(server, task)
    assert server.task(task.task_id) == stored


def test_extending_an_unknown_task_is_refused(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    failure = error_of(lambda: extend(server, task, task_id="nope"))
    assert failure == (grpc.StatusCode.INTERNAL, "No such task found by id: nope", "NotFoundException")


def test_extending_does_not_look_at_the_workflow_id(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.pass_time(0.01)
    extend(server, task, workflow_instance_id="nope")
    assert server.task(task.task_id).update_time > task.update_time
    failure = error_of(lambda: extend(server, task, workflow_instance_id=""))
    assert failure.java_class == "ConstraintViolationException"


def test_extending_may_lose_a_completion_sent_at_the_same_time(server: ServerUnderTest) -> None:
    """Both answer OK, and the task is IN_PROGRESS again without its output."""
    task = first_loss(server, completion_crossed_by_extensions(server))
    stored = server.task(task.task_id)
    assert (status(stored), plain(stored.output_data), stored.poll_count) == ("IN_PROGRESS", {}, 1)


def test_a_lost_completion_can_be_sent_again_while_the_workflow_runs(server: ServerUnderTest) -> None:
    task = first_loss(server, completion_crossed_by_extensions(server), workflow="RUNNING")
    server.complete(task, again=True)
    stored = server.task(task.task_id)
    assert (status(stored), plain(stored.output_data)) == ("COMPLETED", {"again": True})


def completion_crossed_by_extensions(server: ServerUnderTest) -> Callable[[], Task]:
    """A function that runs one task and completes it amid extensions; all calls answer OK."""
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))

    def attempt() -> Task:
        server.start(name)
        task = server.take(task_type)
        ids = {"workflow_instance_id": task.workflow_instance_id, "task_id": task.task_id}
        results = [TaskResult(**ids, extend_lease=True) for _ in range(CROSSING_EXTENSIONS)]
        results.insert(len(results) // 2, TaskResult(**ids, status=TaskResult.COMPLETED))
        for call in [server.tasks.UpdateTask.future(UpdateTaskRequest(result=result)) for result in results]:
            call.result()
        return task

    return attempt


def first_loss(server: ServerUnderTest, attempt: Callable[[], Task], workflow: str | None = None) -> Task:
    """The first task whose completion is lost, and whose workflow has this status if one is given."""
    for _ in range(ATTEMPTS):
        task = attempt()
        found = server.get(task.workflow_instance_id)
        if statuses(found) == ["IN_PROGRESS"] and workflow in (None, status(found)):
            return task
    raise AssertionError(f"no completion was lost in {ATTEMPTS} attempts")
