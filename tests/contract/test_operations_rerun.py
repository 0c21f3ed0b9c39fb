"""RerunWorkflow: a workflow that has ended goes on from one of its tasks.

Over gRPC a request always has the inputs and the correlation id, be they empty, and the server takes them as new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import fork, join, references, states, sub_workflow, task_named
from google.protobuf.struct_pb2 import Value
from wire import error_of, plain, simple, status
from workflow_calls import failure, pause, rerun, unknown_workflow

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

    from conductor_grpc.pb.model.workflow_pb2 import Workflow


class ThreeTasks:
    """A workflow of three tasks that has been worked on until the last, which then failed or completed."""

    def __init__(self, server: ServerUnderTest, *, fails: bool = False) -> None:
        self.types = [server.task_definition() for _ in range(3)]
        one, two, three = self.types
        self.name = server.workflow(
            simple(one, "one"),
            simple(two, "two", input_parameters={"from": "${one.output.x}"}),
            simple(three, "three", input_parameters={"from": "${two.output.x}", "k": "${workflow.input.k}"}),
            output_parameters={"x": "${three.output.x}"},
        )
        self.id = server.start(self.name, {"k": "v"}, correlation_id="order 7")
        server.complete(server.take(one), x="1")
        server.complete(server.take(two), x="2")
        last = server.take(three)
        if fails:
            server.fail(last, "bad")
        else:
            server.complete(last, x="3")
        self.ended: Workflow = server.get(self.id)
        self.ids = [task.task_id for task in self.ended.tasks]


def test_rerun_of_an_unknown_workflow(server: ServerUnderTest) -> None:
    assert error_of(lambda: rerun(server, "nope", "task")) == unknown_workflow("nope")


def test_rerun_needs_a_workflow_id(server: ServerUnderTest) -> None:
    expected = failure("rerunWorkflow.arg0: WorkflowId cannot be null or empty.", "ConstraintViolationException")
    assert error_of(lambda: rerun(server, "", "task")) == expected


def test_rerun_of_an_open_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type))
    workflow_id = server.start(name)
    task_id = server.take(task_type).task_id
    expected = f"Workflow: {name}.1/{workflow_id}.%s is not in terminal state, unable to rerun."
    assert error_of(lambda: rerun(server, workflow_id, task_id)) == failure(expected % "RUNNING", "ConflictException")
    pause(server, workflow_id)
    assert error_of(lambda: rerun(server, workflow_id, task_id)) == failure(expected % "PAUSED", "ConflictException")


def test_rerun_of_a_whole_workflow_is_impossible(server: ServerUnderTest) -> None:
    """A request without a task id arrives with an empty one, of which there is no task."""
    run = ThreeTasks(server, fails=True)
    expected = failure("Task  not found", "IllegalArgumentException")
    assert error_of(lambda: rerun(server, run.id)) == expected


def test_rerun_from_a_task_that_the_workflow_does_not_have(server: ServerUnderTest) -> None:
    run = ThreeTasks(server, fails=True)
    expected = failure("Task nope not found", "IllegalArgumentException")
    assert error_of(lambda: rerun(server, run.id, "nope")) == expected


def test_rerun_answers_the_same_workflow(server: ServerUnderTest) -> None:
    run = ThreeTasks(server, fails=True)
    assert rerun(server, run.id, run.ids[2]) == run.id


def test_rerun_schedules_the_same_task_again(server: ServerUnderTest) -> None:
    """It is no new attempt; of its failure the reason stays until the next update."""
    run = ThreeTasks(server, fails=True)
    rerun(server, run.id, run.ids[2], task_input={"new": "input"})
    task = server.get(run.id).tasks[2]
    assert (task.task_id, status(task), task.seq, task.retry_count) == (run.ids[2], "SCHEDULED", 3, 0)
    assert (task.start_time, task.end_time, task.poll_count, task.retried_task_id) == (0, 0, 0, "")
    assert (task.executed, task.retried) == (False, False)
    assert (plain(task.input_data), plain(task.output_data)) == ({"new": "input"}, {})
    assert (task.worker_id, task.reason_for_incompletion) == ("w", "bad")
    assert server.take(run.types[2]).task_id == task.task_id


def test_rerun_without_a_task_input_empties_it(server: ServerUnderTest) -> None:
    run = ThreeTasks(server, fails=True)
    rerun(server, run.id, run.ids[2])
    assert plain(server.take(run.types[2]).input_data) == {}


def test_rerun_without_input_and_correlation_id_empties_both(server: ServerUnderTest) -> None:
    run = ThreeTasks(server, fails=True)
    rerun(server, run.id, run.ids[2])
    workflow = server.get(run.id)
    assert (plain(workflow.input), workflow.correlation_id) == ({}, "")
    assert [task.correlation_id for task in workflow.tasks] == ["order 7"] * 3


def test_rerun_takes_a_new_input_and_correlation_id(server: ServerUnderTest) -> None:
    run = ThreeTasks(server)
    rerun(server, run.id, run.ids[1], workflow_input={"k": "new"}, correlation_id="order 8")
    server.complete(server.take(run.types[1]), x="again")
    task = server.take(run.types[2])
    assert plain(task.input_data) == {"from": "again", "k": "new"}
    assert task.correlation_id == server.get(run.id).correlation_id == "order 8"


def test_rerun_makes_the_workflow_run_again(server: ServerUnderTest) -> None:
    """Of the run before only the end and the output stay."""
    run = ThreeTasks(server, fails=True)
    rerun(server, run.id, run.ids[2])
    workflow = server.get(run.id)
    assert (status(workflow), workflow.reason_for_incompletion, workflow.last_retried_time) == ("RUNNING", "", 0)
    assert (list(workflow.failed_reference_task_names), list(workflow.failed_task_names)) == ([], [])
    assert (workflow.end_time, plain(workflow.output)) == (run.ended.end_time, {"x": None})


def test_a_rerun_workflow_completes(server: ServerUnderTest) -> None:
    run = ThreeTasks(server, fails=True)
    rerun(server, run.id, run.ids[2])
    server.complete(server.take(run.types[2]), x="again")
    workflow = server.get(run.id)
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {"x": "again"})
    assert workflow.end_time > run.ended.end_time


def test_rerun_of_a_completed_workflow_forgets_what_came_after(server: ServerUnderTest) -> None:
    run = ThreeTasks(server)
    rerun(server, run.id, run.ids[1])
    assert states(server.get(run.id)) == {"one": "COMPLETED", "two": "SCHEDULED"}
    server.complete(server.take(run.types[1]), x="again")
    workflow = server.get(run.id)
    assert references(workflow) == ["one", "two", "three"]
    assert workflow.tasks[2].task_id != run.ids[2]


def test_rerun_of_a_completed_workflow_that_forbids_restart(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type), restartable=False))
    task = server.take(task_type)
    server.complete(task)
    rerun(server, workflow_id, task.task_id)
    assert server.take(task_type).task_id == task.task_id


def test_rerun_of_a_cancelled_task(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task()
    task = server.take(task_type)
    server.terminate(workflow_id)
    rerun(server, workflow_id, task.task_id)
    assert server.take(task_type).task_id == task.task_id


def test_rerun_of_an_attempt_forgets_the_later_ones(server: ServerUnderTest) -> None:
    task_type, workflow_id = server.start_task(retry_count=1)
    first = server.take(task_type)
    server.fail(first)
    server.fail(server.take(task_type))
    rerun(server, workflow_id, first.task_id)
    (task,) = server.get(workflow_id).tasks
    assert (task.task_id, task.retry_count, task.retried) == (first.task_id, 0, False)


def test_rerun_forgets_tasks_of_other_branches_that_were_scheduled_later(server: ServerUnderTest) -> None:
    """Of all tasks it is the later ones that go, not those that depend on the task."""
    one, two = server.task_definition(), server.task_definition()
    tasks = fork("fork", [simple(one, "a")], [simple(two, "b")]), join("join", "a", "b")
    workflow_id = server.start(server.workflow(*tasks))
    task = server.take(one)
    server.complete(task)
    server.complete(server.take(two))
    server.ended(workflow_id)
    rerun(server, workflow_id, task.task_id)
    assert states(server.get(workflow_id)) == {"fork": "COMPLETED", "a": "SCHEDULED"}


@pytest.mark.differs(
    "embedded", "a JOIN that a rerun took up joins at once; the released server may take half a minute"
)
def test_rerun_in_a_branch_takes_up_the_join_that_was_scheduled_before(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    tasks = fork("fork", [simple(one, "a"), simple(one, "a2")], [simple(two, "b")]), join("join", "a2", "b")
    workflow_id = server.start(server.workflow(*tasks))
    server.complete(server.take(two), x="2")
    server.complete(server.take(one))
    server.fail(server.take(one))
    failed = server.get(workflow_id)
    rerun(server, workflow_id, task_named(failed, "a2").task_id)
    again = server.get(workflow_id)
    assert references(again) == references(failed) == ["fork", "a", "b", "join", "a2"]
    assert status(task_named(again, "join")) == "IN_PROGRESS"
    assert task_named(again, "join").task_id == task_named(failed, "join").task_id
    server.complete(server.take(one), x="1")
    if server.name == "embedded":
        joined = task_named(server.ended(workflow_id), "join")
        assert plain(joined.output_data) == {"a2": {"x": "1"}, "b": {"x": "2"}}


def test_rerun_with_an_input_that_cannot_be_read_changes_nothing(server: ServerUnderTest) -> None:
    done = ThreeTasks(server)
    failed = error_of(lambda: rerun(server, done.id, done.ids[0], workflow_input={"k": Value()}))
    assert failed == failure("unset Value element: ", "ClassCastException")
    assert server.get(done.id) == done.ended
    assert server.poll(done.types[0], wait=0) == []


def test_rerun_from_a_sub_workflow_starts_another_child(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    child = server.workflow(simple(task_type))
    workflow_id = server.start(server.workflow(sub_workflow("sub", child)))
    first = server.take(task_type)
    sub_workflow_task = server.get(first.workflow_instance_id).parent_workflow_task_id
    server.fail(first)
    server.until(lambda: status(server.get(workflow_id, tasks=False)) == "FAILED")
    rerun(server, workflow_id, sub_workflow_task)
    second = server.take(task_type).workflow_instance_id
    assert second != first.workflow_instance_id
    assert server.get(second).parent_workflow_task_id == sub_workflow_task


def test_rerun_of_a_child_makes_its_parent_run_again(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    child = server.workflow(simple(task_type))
    parent = server.start(server.workflow(sub_workflow("sub", child)))
    task = server.take(task_type)
    server.fail(task)
    server.until(lambda: status(server.get(parent, tasks=False)) == "FAILED")
    rerun(server, task.workflow_instance_id, task.task_id)
    workflow = server.get(parent, tasks=False)
    assert (status(workflow), list(workflow.failed_reference_task_names)) == ("RUNNING", [])
    server.complete(server.take(task_type))
    server.until(lambda: status(server.get(parent, tasks=False)) == "COMPLETED")
