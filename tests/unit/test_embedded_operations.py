"""Operations on workflows of the embedded engine: what the contract cases do not show, and time, which is moved on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driven_engine import DrivenEngine, named, states
from embedded_definitions import Tasks, fork, switch, task, wait
from google.protobuf.any_pb2 import Any as AnyMessage

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
from conductor_grpc.pb.model.skiptaskrequest_pb2 import SkipTaskRequest
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.server.embedded.engine import operations
from conductor_grpc.server.embedded.engine.failures import (
    ConflictFailure,
    IllegalArgumentFailure,
    IllegalStateFailure,
    NotFoundFailure,
    OutOfBoundsFailure,
    UnsetValue,
)
from conductor_grpc.server.embedded.engine.store import Store
from conductor_grpc.server.embedded.engine.values import fill_values
from conductor_grpc.worker.status import TaskStatus

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc.server.embedded.engine.records import TaskRecord, WorkflowRecord

STEP = task("step", name="step", retry_count=-1)
LAST = task("last", name="last", retry_count=-1)
TIMED = {"timeout_seconds": 60, "timeout_policy": WorkflowDef.TIME_OUT_WF}


@pytest.fixture
def engine() -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", "last", "other")
    return engine


def retry(engine: DrivenEngine, workflow: WorkflowRecord) -> None:
    operations.retry(engine.engine, workflow.workflow_id, resume_subworkflow_tasks=False)


def restart(engine: DrivenEngine, workflow: WorkflowRecord) -> None:
    operations.restart(engine.engine, workflow.workflow_id, use_latest_definitions=False)


def rerun(engine: DrivenEngine, its: TaskRecord, given: dict[str, Any] | None = None) -> None:
    request = RerunWorkflowRequest(re_run_from_workflow_id=its.workflow.workflow_id, re_run_from_task_id=its.task_id)
    fill_values(request.task_input, given or {}, strict=False)
    assert operations.rerun(engine.engine, request) == its.workflow.workflow_id


def terminate(engine: DrivenEngine, workflow: WorkflowRecord, reason: str = "stop") -> None:
    operations.terminate(engine.engine, workflow.workflow_id, reason)


# -- retry --


def test_a_retry_keeps_the_end_until_there_is_another(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, output={"seen": "${step.output.o}"})
    failed = engine.take("step")
    engine.update(failed, "FAILED", {"o": 1}, reason_for_incompletion="bad")
    ended = flow.end_time
    engine.pass_time(5)
    retry(engine, flow)
    attempt = named(flow, "step")
    assert (flow.status, flow.reason, flow.end_time, flow.output) == (WorkflowStatus.RUNNING, "", ended, {"seen": 1.0})
    assert flow.last_retried_time >= ended + 5000
    assert (attempt.retry_count, attempt.retried_task_id, attempt.reason) == (1, failed.task_id, "")
    assert (attempt.output, attempt.worker_id, attempt.start_time) == ({}, "", 0)
    assert (failed.retried, failed.executed, failed.status) == (True, True, TaskStatus.FAILED)
    engine.work("step", o=2)
    assert (flow.output, flow.failed_reference_names) == ({"seen": 2.0}, ["step"])
    assert flow.end_time >= ended + 5000


def test_a_retry_does_not_wait(engine: DrivenEngine) -> None:
    engine.define("step", retry_delay_seconds=600)
    flow = engine.started(task("step", name="step", start_delay=30))
    engine.pass_time(30)
    engine.fail(engine.take("step"))
    retry(engine, flow)
    engine.work("step")
    assert flow.status is WorkflowStatus.COMPLETED


def test_the_timeout_of_a_workflow_counts_from_its_retry(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, **TIMED)
    engine.pass_time(60)
    assert (flow.status, states(flow)) == (WorkflowStatus.TIMED_OUT, {"step": "CANCELED"})
    retry(engine, flow)
    engine.pass_time(59)
    assert (flow.status, states(flow)) == (WorkflowStatus.RUNNING, {"step": "SCHEDULED"})
    engine.pass_time(1)
    assert flow.status is WorkflowStatus.TIMED_OUT


def test_what_the_engine_runs_itself_begins_anew(engine: DrivenEngine) -> None:
    branches = fork([wait(duration="60 s")], [task("h", "HUMAN")], [STEP])
    flow = engine.started(branches, task("j", "JOIN", join_on=["w", "h", "step"]))
    engine.pass_time(50)
    joins = named(flow, "j")
    terminate(engine, flow)
    retry(engine, flow)
    assert (named(flow, "h").status.value, named(flow, "h").retry_count) == ("IN_PROGRESS", 1)
    assert (named(flow, "j") is joins, joins.retry_count) == (True, 0)
    engine.work("step")
    engine.complete(named(flow, "h"))
    engine.pass_time(59)
    assert named(flow, "w").status is TaskStatus.IN_PROGRESS
    engine.pass_time(1)
    assert (flow.status, named(flow, "w").retry_count) == (WorkflowStatus.COMPLETED, 1)


def test_what_has_succeeded_after_all_is_not_retried(engine: DrivenEngine) -> None:
    engine.define("step", retry_count=1)
    flow = engine.started(STEP, LAST)
    engine.fail(engine.take("step"))
    engine.work("step")
    engine.fail(engine.take("last"))
    retry(engine, flow)
    assert [(each.reference_name, each.retry_count) for each in flow.tasks] == [
        ("step", 0),
        ("step", 1),
        ("last", 0),
        ("last", 1),
    ]


def test_nothing_to_retry(engine: DrivenEngine) -> None:
    flow = engine.started(STEP)
    with pytest.raises(NotFoundFailure, match=r"^Workflow is still running\.  status=RUNNING$"):
        retry(engine, flow)
    engine.work("step")
    with pytest.raises(ConflictFailure, match="There are no retryable tasks!"):
        retry(engine, flow)
    operations.retry(engine.engine, flow.workflow_id, resume_subworkflow_tasks=True)
    assert flow.status is WorkflowStatus.COMPLETED


# -- restart --


def test_a_restart_forgets_the_tasks_and_keeps_the_variables(engine: DrivenEngine) -> None:
    flow = engine.started(task("set", "SET_VARIABLE", {"v": "1"}), STEP, given={"k": 1.0})
    old = engine.take("step")
    engine.fail(old)
    created = flow.create_time
    engine.pass_time(5)
    restart(engine, flow)
    assert engine.engine.shelf.find_task(old.task_id) is None
    assert (flow.create_time >= created + 5000, flow.end_time, flow.last_retried_time) == (True, 0, 0)
    assert (flow.input, flow.variables, flow.output, flow.reason) == ({"k": 1.0}, {"v": "1"}, {}, "")
    assert (flow.failed_reference_names, [each.seq for each in flow.tasks]) == (["step"], [1, 2])
    engine.complete(engine.take("step"))
    assert flow.status is WorkflowStatus.COMPLETED


def test_a_restart_may_take_the_latest_definition(engine: DrivenEngine) -> None:
    engine.workflow("flow", STEP)
    flow = engine.start("flow")
    terminate(engine, flow)
    engine.workflow("flow", LAST, version=2)
    restart(engine, flow)
    assert (flow.version, states(flow)) == (1, {"step": "SCHEDULED"})
    terminate(engine, flow)
    operations.restart(engine.engine, flow.workflow_id, use_latest_definitions=True)
    assert (flow.version, states(flow)) == (2, {"last": "SCHEDULED"})


def test_a_definition_that_was_never_registered_has_no_latest(engine: DrivenEngine) -> None:
    definition = WorkflowDef(name="inline", version=1, schema_version=2, tasks=[STEP])
    flow = engine.start("", definition=definition)
    terminate(engine, flow)
    with pytest.raises(NotFoundFailure, match=f"Unable to find latest definition for {flow.workflow_id}"):
        operations.restart(engine.engine, flow.workflow_id, use_latest_definitions=True)
    assert flow.status is WorkflowStatus.TERMINATED


# -- rerun --


def test_a_rerun_counts_for_the_concurrency_limit(engine: DrivenEngine) -> None:
    engine.define("step", concurrent_exec_limit=1)
    first, second = engine.started(STEP), engine.started(STEP)
    engine.fail(engine.take("step"))
    rerun(engine, first.tasks[0])
    assert engine.take("step").workflow is second
    assert engine.poll("step") == []
    engine.complete(second.tasks[0])
    assert engine.take("step").workflow is first


def test_a_rerun_takes_up_what_was_open_at_that_time(engine: DrivenEngine) -> None:
    branches = fork([STEP, task("second", name="other")], [task("h", "HUMAN")], [LAST])
    flow = engine.started(branches, task("j", "JOIN", join_on=["second", "h", "last"]))
    cancelled = engine.take("last")
    engine.work("step")
    engine.fail(engine.take("other"))
    failed = named(flow, "second")
    rerun(engine, failed, {"new": 1})
    assert states(flow) == {
        "f": "COMPLETED",
        "step": "COMPLETED",
        "h": "IN_PROGRESS",
        "last": "SCHEDULED",
        "j": "IN_PROGRESS",
        "second": "SCHEDULED",
    }
    assert (named(flow, "last") is cancelled, cancelled.retry_count) == (True, 0)
    assert (failed.input, failed.reason, failed.worker_id, failed.poll_count) == ({"new": 1.0}, "bad", "w", 0)
    engine.work("other")
    engine.work("last")
    engine.complete(named(flow, "h"))
    assert flow.status is WorkflowStatus.COMPLETED


def ended(engine: DrivenEngine, *tasks: Any) -> WorkflowRecord:
    """A workflow of these tasks and a worker task after them, which has failed."""
    flow = engine.started(*tasks, LAST)
    engine.fail(engine.take("last"))
    return flow


def test_a_rerun_of_a_switch_chooses_nothing(engine: DrivenEngine) -> None:
    choice = switch(task("set", "SET_VARIABLE", {"v": "1"}), inputs={"x": "1"})
    flow = ended(engine, choice)
    rerun(engine, named(flow, "s"))
    assert states(flow) == {"s": "COMPLETED", "last": "SCHEDULED"}
    assert (named(flow, "s").input, named(flow, "s").output) == ({}, {})


def test_a_rerun_of_a_set_variable_sets_what_the_request_says(engine: DrivenEngine) -> None:
    flow = ended(engine, task("set", "SET_VARIABLE", {"v": "1"}))
    rerun(engine, named(flow, "set"), {"v": "2"})
    assert (flow.variables, states(flow)) == ({"v": "2"}, {"set": "COMPLETED", "last": "SCHEDULED"})


def test_a_rerun_of_a_wait_waits_as_long_as_the_request_says(engine: DrivenEngine) -> None:
    flow = ended(engine, wait(duration="0 s"))
    rerun(engine, named(flow, "w"), {"duration": "20 s"})
    engine.pass_time(19)
    assert states(flow) == {"w": "IN_PROGRESS"}
    engine.pass_time(1)
    assert states(flow) == {"w": "COMPLETED", "last": "SCHEDULED"}


def test_a_rerun_of_a_wait_for_no_duration_fails(engine: DrivenEngine) -> None:
    flow = ended(engine, wait(duration="0 s"))
    rerun(engine, named(flow, "w"), {"duration": "soon"})
    assert (flow.status, named(flow, "w").reason) == (WorkflowStatus.FAILED, "Not valid duration: soon")


def test_a_rerun_of_a_join_has_nothing_to_wait_for(engine: DrivenEngine) -> None:
    flow = ended(engine, fork([STEP]), task("j", "JOIN"))
    rerun(engine, named(flow, "j"))
    assert named(flow, "j").status is TaskStatus.IN_PROGRESS
    terminate(engine, flow)
    rerun(engine, named(flow, "j"), {"joinOn": []})
    assert states(flow)["j"] == "COMPLETED"


def test_a_rerun_of_a_fork_or_terminate_stays_where_it_is(engine: DrivenEngine) -> None:
    flow = ended(engine, fork([STEP]), task("j", "JOIN"))
    rerun(engine, named(flow, "f"))
    assert (states(flow), engine.poll("step")) == ({"f": "SCHEDULED"}, [])
    stopped = engine.started(task("t", "TERMINATE", {"terminationStatus": "FAILED"}))
    rerun(engine, named(stopped, "t"))
    assert (stopped.status, states(stopped)) == (WorkflowStatus.RUNNING, {"t": "SCHEDULED"})


# -- pause, resume, skip, callbacks --


def test_time_does_not_count_while_a_workflow_is_paused(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, **TIMED)
    operations.pause(engine.engine, flow.workflow_id)
    engine.pass_time(3600)
    assert flow.status is WorkflowStatus.PAUSED
    operations.resume(engine.engine, flow.workflow_id)
    engine.pass_time(59)
    assert flow.status is WorkflowStatus.RUNNING
    engine.pass_time(1)
    assert flow.status is WorkflowStatus.TIMED_OUT


def test_a_skipped_task_keeps_messages(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, LAST)
    message = AnyMessage(type_url="t", value=b"v")
    request = SkipTaskRequest(task_input_message=message, task_output_message=message)
    operations.skip_task(engine.engine, flow.workflow_id, "last", request)
    skipped = named(flow, "last")
    assert (skipped.input_message, skipped.output_message, skipped.seq) == (message, message, 0)
    engine.work("step")
    assert (flow.status, states(flow)) == (WorkflowStatus.COMPLETED, {"last": "SKIPPED", "step": "COMPLETED"})


def test_a_branch_that_begins_with_a_skipped_task_has_nothing_else(engine: DrivenEngine) -> None:
    branches = fork([STEP, task("second", name="other")], [task("h", "HUMAN")])
    flow = engine.started(LAST, branches, task("j", "JOIN", join_on=["second"]))
    operations.skip_task(engine.engine, flow.workflow_id, "step", SkipTaskRequest())
    engine.work("last")
    assert list(states(flow)) == ["step", "last", "f", "h", "j"]
    with pytest.raises(IllegalStateFailure, match="The task referenced step has already been processed"):
        operations.skip_task(engine.engine, flow.workflow_id, "step", SkipTaskRequest())


def test_callbacks_and_retry_delays_are_over_at_once(engine: DrivenEngine) -> None:
    engine.define("step", retry_count=1, retry_delay_seconds=600)
    flow = engine.started(fork([STEP], [LAST]), task("j", "JOIN", join_on=["step", "last"]))
    engine.fail(engine.take("step"))
    engine.update(engine.take("last"), "IN_PROGRESS", callback_after_seconds=600)
    assert (engine.poll("step"), engine.poll("last")) == ([], [])
    operations.reset_callbacks(engine.engine, flow.workflow_id)
    assert engine.take("step").retry_count == 1
    assert engine.take("last").poll_count == 2


# -- remove --


def test_nothing_is_left_of_a_removed_workflow(engine: DrivenEngine) -> None:
    engine.define("step", concurrent_exec_limit=1)
    flow = engine.started(STEP, **TIMED)
    engine.take("step")
    other = engine.started(STEP)
    operations.remove(engine.engine, flow.workflow_id, archive=False)
    assert engine.take("step").workflow is other
    assert (len(engine.engine.shelf), engine.engine.alarms.at(flow.workflow_id)) == (1, None)
    for call in (operations.decide, operations.pause, operations.resume, operations.reset_callbacks):
        with pytest.raises(NotFoundFailure, match=f"No such workflow found by id: {flow.workflow_id}"):
            call(engine.engine, flow.workflow_id)


def test_only_what_has_ended_is_archived(engine: DrivenEngine) -> None:
    flow = engine.started(STEP)
    with pytest.raises(IllegalArgumentFailure, match=f"Cannot archive workflow: {flow.workflow_id} with status: RUNN"):
        operations.remove(engine.engine, flow.workflow_id, archive=True)
    terminate(engine, flow)
    operations.remove(engine.engine, flow.workflow_id, archive=True)
    assert len(engine.engine.shelf) == 0


def test_a_rerun_with_an_input_that_cannot_be_read_changes_nothing(engine: DrivenEngine) -> None:
    flow = engine.started(STEP)
    engine.work("step", x=1)
    request = RerunWorkflowRequest(re_run_from_workflow_id=flow.workflow_id, re_run_from_task_id=flow.tasks[0].task_id)
    request.workflow_input["k"].SetInParent()
    with pytest.raises(UnsetValue):
        operations.rerun(engine.engine, request)
    assert (flow.status, states(flow), flow.output) == (WorkflowStatus.COMPLETED, {"step": "COMPLETED"}, {"x": 1.0})
    assert engine.poll("step") == []


# -- what is on disk --


def test_a_file_holds_what_the_operations_have_left(tmp_path: Path) -> None:
    store = Store(tmp_path / "server.db")
    engine = DrivenEngine(store)
    engine.define("step", "last")
    restarted, rewound, removed = (engine.started(STEP, LAST) for _ in range(3))
    for each in engine.poll("step"):
        engine.complete(each)
    for flow in (restarted, rewound):
        terminate(engine, flow)
    restart(engine, restarted)
    rerun(engine, named(rewound, "step"))
    operations.remove(engine.engine, removed.workflow_id, archive=False)
    store.close()
    reopened = Store(tmp_path / "server.db")
    again = DrivenEngine(reopened).engine.shelf
    assert {each.workflow_id: states(each) for each in again.workflows()} == {
        restarted.workflow_id: {"step": "SCHEDULED"},
        rewound.workflow_id: {"step": "SCHEDULED"},
    }
    reopened.close()


def test_a_file_holds_the_rerun_of_an_optional_child(tmp_path: Path) -> None:
    store = Store(tmp_path / "server.db")
    engine = DrivenEngine(store)
    engine.define("step", "last")
    engine.workflow("child", STEP)
    params = SubWorkflowParams(name="child", version=1)
    parent = engine.started(task("u", "SUB_WORKFLOW", {"k": "v"}, sub_workflow_param=params, optional=True), LAST)
    child = engine.child(named(parent, "u"))
    engine.fail(engine.take("step"))
    engine.work("last")
    request = RerunWorkflowRequest(re_run_from_workflow_id=parent.workflow_id)
    request.re_run_from_task_id = named(child, "step").task_id
    operations.rerun(engine.engine, request)
    assert states(parent) == {"u": "IN_PROGRESS"}
    store.close()
    reopened = Store(tmp_path / "server.db")
    again = DrivenEngine(reopened).engine.shelf
    assert states(again.workflow(parent.workflow_id)) == {"u": "IN_PROGRESS"}
    assert states(again.workflow(child.workflow_id)) == {"step": "SCHEDULED"}
    reopened.close()


# -- decisions that cannot be made --


def test_what_cannot_be_scheduled_is_tried_again_by_the_next_decision(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, wait(duration="${step.output.time}"))
    with pytest.raises(IllegalArgumentFailure, match="Not valid duration: soon"):
        engine.complete(engine.take("step"), time="soon")
    assert (states(flow), named(flow, "step").executed) == ({"step": "COMPLETED"}, False)
    with pytest.raises(IllegalArgumentFailure, match="Not valid duration: soon"):
        operations.decide(engine.engine, flow.workflow_id)
    terminate(engine, flow)
    assert flow.status is WorkflowStatus.TERMINATED


def test_a_workflow_whose_first_task_cannot_be_scheduled_is_not_started(engine: DrivenEngine) -> None:
    engine.workflow("flow", task("f", "FORK_JOIN", fork_tasks=[Tasks()]), task("j", "JOIN"))
    with pytest.raises(OutOfBoundsFailure, match="Index 0 out of bounds for length 0"):
        engine.start("flow")
    assert len(engine.engine.shelf) == 0


def test_the_trouble_of_a_parent_is_not_that_of_its_childs_worker(
    engine: DrivenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.workflow("child", STEP)
    its = task("u", "SUB_WORKFLOW", {"k": "v"}, sub_workflow_param=SubWorkflowParams(name="child", version=1))
    parent = engine.started(its, wait(duration="${u.output.time}"))
    engine.complete(engine.take("step"), time="soon")
    assert (parent.status, states(parent)) == (WorkflowStatus.RUNNING, {"u": "COMPLETED"})
    assert "cannot go on: Not valid duration: soon" in caplog.text
