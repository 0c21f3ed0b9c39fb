"""Numbers in payloads: a float survives, and a whole number that Java keeps as an integer cannot be sent over gRPC.

No client can make an integer over gRPC, where every number is a double; `${workflow.version}` is one that the engine
itself makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from wire import branch, error_of, plain, simple, status, statuses, task_of

from conductor_grpc.pb.model.taskresult_pb2 import TaskResult
from conductor_grpc.pb.services.task_service_pb2 import BatchPollRequest, PollRequest, UpdateTaskRequest

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest
    from wire import Failure

    from conductor_grpc.pb.model.task_pb2 import Task

INTEGER = "${workflow.version}"


def unmappable(number: object) -> tuple[grpc.StatusCode, str, str]:
    return grpc.StatusCode.INTERNAL, f"cannot map to Value type: {number}", "ClassCastException"


def poll_to_the_error(server: ServerUnderTest, task_type: str, count: int) -> tuple[list[Task], Failure]:
    """The tasks that BatchPoll delivers before it fails, and how it fails. Redis may need more than one call."""
    delivered: list[Task] = []
    request = BatchPollRequest(task_type=task_type, worker_id="w", count=count, timeout=1000)

    def poll_all() -> None:
        for _ in range(count):
            delivered.extend(server.tasks.BatchPoll(request))

    failure = error_of(poll_all)
    return delivered, failure


def poisoned_task(server: ServerUnderTest) -> tuple[str, str]:
    """A polled task with an integer in its input: its workflow and its id, which another branch tells."""
    poisoned, first, teller = (server.task_definition() for _ in range(3))
    fork = task_of(
        "FORK_JOIN",
        "fork",
        fork_tasks=[
            branch(simple(poisoned, "poisoned", input_parameters={"x": INTEGER})),
            branch(simple(first), simple(teller, input_parameters={"id": "${poisoned.taskId}"})),
        ],
    )
    workflow_id = server.start(server.workflow(fork, task_of("JOIN", "join", join_on=["poisoned", teller])))
    error_of(lambda: server.poll(poisoned))
    server.complete(server.take(first))
    return workflow_id, plain(server.take(teller).input_data)["id"]


@pytest.mark.differs("redis", "a poll ends as soon as there is one task; elsewhere it waits to fill the batch")
def test_a_batch_is_delivered_up_to_the_integer_and_stranded_from_there(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    clean = server.workflow(simple(task_type))
    poisoned = server.workflow(simple(task_type, input_parameters={"x": INTEGER}))
    server.poll(task_type, wait=1)
    started = [server.start(name) for name in (clean, clean, poisoned, clean)]
    server.until(lambda: server.queue_size(task_type) == 4)

    delivered, failure = poll_to_the_error(server, task_type, 4)
    assert failure == unmappable(1)
    assert [task.workflow_instance_id for task in delivered] == started[:2]
    # Redis may not have had the last one at hand yet.
    assert server.poll(task_type, wait=200) == [] or server.name == "redis"
    stranded = server.get(started[3]).tasks[0]
    assert (status(stranded), stranded.poll_count) == ("IN_PROGRESS", 1)


def test_unary_poll_of_an_integer_fails_and_takes_the_task(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, input_parameters={"x": INTEGER})))
    request = PollRequest(task_type=task_type, worker_id="w")
    assert error_of(lambda: server.tasks.Poll(request)) == unmappable(1)
    assert error_of(lambda: server.tasks.Poll(request)).code is grpc.StatusCode.CANCELLED


def test_an_integer_anywhere_inside_is_enough(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    nested = {"x": {"list": ["text", {"deep": INTEGER}]}}
    server.start(server.workflow(simple(task_type, input_parameters=nested)))
    assert poll_to_the_error(server, task_type, 1) == ([], unmappable(1))


@pytest.mark.parametrize("attribute", ["retryCount", "pollCount", "startTime", "scheduledTime", "callbackAfterSeconds"])
def test_what_the_engine_counts_is_an_integer(server: ServerUnderTest, attribute: str) -> None:
    first, second = server.task_definition(), server.task_definition()
    server.start(
        server.workflow(simple(first, "first"), simple(second, input_parameters={"x": f"${{first.{attribute}}}"}))
    )
    server.complete(server.take(first))
    _, failure = poll_to_the_error(server, second, 1)
    assert failure.details.startswith("cannot map to Value type: ")
    assert failure.java_class == "ClassCastException"


def test_a_task_with_an_integer_cannot_be_read(server: ServerUnderTest) -> None:
    workflow_id, task_id = poisoned_task(server)
    assert error_of(lambda: server.task(task_id)) == unmappable(1)
    assert error_of(lambda: server.get(workflow_id)) == unmappable(1)
    assert status(server.get(workflow_id, tasks=False)) == "RUNNING"


def test_a_task_with_an_integer_can_be_updated(server: ServerUnderTest) -> None:
    workflow_id, task_id = poisoned_task(server)
    result = TaskResult(workflow_instance_id=workflow_id, task_id=task_id, status="FAILED")
    server.tasks.UpdateTask(UpdateTaskRequest(result=result))
    assert status(server.get(workflow_id, tasks=False)) == "FAILED"


def test_an_integer_in_the_output_of_a_workflow_hides_it(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type), output_parameters={"x": INTEGER}))
    server.complete(server.take(task_type))
    assert error_of(lambda: server.get(workflow_id)) == unmappable(1)
    assert error_of(lambda: server.get(workflow_id, tasks=False)) == unmappable(1)


def test_an_integer_within_a_text_is_only_text(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, input_parameters={"x": f"v{INTEGER}"})))
    assert plain(server.take(task_type).input_data) == {"x": "v1"}


def test_numbers_of_a_client_stay_floats(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    parameters = {"same": "${workflow.input.n}", "text": "n=${workflow.input.n}", "literal": 3}
    workflow_id = server.start(server.workflow(simple(task_type, input_parameters=parameters)), {"n": 5})
    task = server.take(task_type)
    assert plain(task.input_data) == {"same": 5.0, "text": "n=5.0", "literal": 3.0}
    server.complete(task, large=2**53, fraction=0.1, huge=1e300, negative=-0.5)
    assert plain(server.get(workflow_id).output) == {"large": 2.0**53, "fraction": 0.1, "huge": 1e300, "negative": -0.5}
    assert statuses(server.get(workflow_id)) == ["COMPLETED"]
