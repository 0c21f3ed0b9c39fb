"""Large messages and large payloads: what is refused, and what the server moves to external storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from wire import error_of, plain, simple, status

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import UpdateTaskRequest
from conductor_grpc.pb.services.workflow_service_pb2 import GetRunningWorkflowsRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.task_pb2 import Task

LARGEST_MESSAGE = 4 * 1024 * 1024
KIB = 1024
# A task's input and output may have 3,072 KiB as JSON; a few bytes of it are the key, quotes and braces.
BELOW, ABOVE = "x" * (3071 * KIB), "x" * (3073 * KIB)


def request_of_size(task: Task, size: int) -> UpdateTaskRequest:
    """An update of exactly so many bytes on the wire."""
    ids = {"workflow_instance_id": task.workflow_instance_id, "task_id": task.task_id}
    request = UpdateTaskRequest(result=TaskResult(**ids, status=TaskResult.COMPLETED))
    text = request.result.output_data["x"]
    text.string_value = "x" * (size - 1000)
    text.string_value += "x" * (size - request.ByteSize())
    assert request.ByteSize() == size
    return request


def test_a_request_of_4_mib_is_taken(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    server.tasks.UpdateTask(request_of_size(task, LARGEST_MESSAGE))
    assert status(server.task(task.task_id)) == "COMPLETED"


def test_a_request_of_one_byte_more_is_refused(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    failure = error_of(lambda: server.tasks.UpdateTask(request_of_size(task, LARGEST_MESSAGE + 1)))
    message = "gRPC message exceeds maximum size 4194304: 4194305"
    assert failure == (grpc.StatusCode.RESOURCE_EXHAUSTED, message, None)
    assert status(server.task(task.task_id)) == "IN_PROGRESS"
    server.complete(task)


def test_an_output_below_the_threshold_stays(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.complete(task, x=BELOW)
    stored = server.task(task.task_id)
    assert plain(stored.output_data) == {"x": BELOW}
    assert stored.external_output_payload_storage_path == ""
    assert plain(server.get(workflow_id).output) == {"x": BELOW}


def test_an_output_above_the_threshold_is_moved_away(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.complete(task, x=ABOVE)
    stored = server.task(task.task_id)
    assert plain(stored.output_data) == {}
    assert stored.external_output_payload_storage_path
    assert status(server.get(workflow_id)) == "COMPLETED"


def test_the_next_task_still_gets_its_part_of_a_moved_output(server: ServerUnderTest) -> None:
    first, second = server.task_definition(), server.task_definition()
    server.start(
        server.workflow(simple(first, "first"), simple(second, input_parameters={"part": "${first.output.part}"}))
    )
    server.complete(server.take(first), x=ABOVE, part="small")
    assert plain(server.take(second).input_data) == {"part": "small"}


def test_an_input_below_the_threshold_is_delivered(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task({"x": BELOW})
    task = server.take(task_type)
    assert plain(task.input_data) == {"x": BELOW}
    assert task.external_input_payload_storage_path == ""


def test_an_input_above_the_threshold_is_delivered_empty(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task({"x": ABOVE})
    task = server.take(task_type)
    assert plain(task.input_data) == {}
    assert task.external_input_payload_storage_path
    # A workflow's input may have 5,120 KiB.
    assert plain(server.get(workflow_id, tasks=False).input) == {"x": ABOVE}


def test_an_output_path_that_leads_nowhere_is_refused_after_it_was_stored(server: ServerUnderTest) -> None:
    task_type, _ = server.start_task()
    task = server.take(task_type)
    failure = error_of(lambda: server.update(task, "COMPLETED", external_output_payload_storage_path="no/such"))
    message = "Unable to download payload from external storage path: no/such"
    assert failure == (grpc.StatusCode.INTERNAL, message, "NonTransientException")
    stored = server.task(task.task_id)
    assert (status(stored), stored.external_output_payload_storage_path) == ("COMPLETED", "no/such")


def test_an_input_path_that_leads_nowhere_is_refused_and_nothing_is_kept(server: ServerUnderTest) -> None:
    workflow = server.workflow(simple(server.task_definition(), "first"))
    failure = error_of(lambda: server.start(workflow, external_input_payload_storage_path="no/such"))
    message = "Unable to download payload from external storage path: no/such"
    assert failure == (grpc.StatusCode.INTERNAL, message, "NonTransientException")
    running = server.workflows.GetRunningWorkflows(GetRunningWorkflowsRequest(name=workflow, version=1))
    assert list(running.workflow_ids) == []
