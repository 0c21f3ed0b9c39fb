"""DO_WHILE in the embedded engine: what the contract cases do not show, and time, which is moved on here."""

from __future__ import annotations

import pytest
from driven_engine import DrivenEngine, named, states
from embedded_definitions import loop, sub, switch, task, wait

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.model.rerunworkflowrequest_pb2 import RerunWorkflowRequest
from conductor_grpc.pb.model.skiptaskrequest_pb2 import SkipTaskRequest
from conductor_grpc.server.embedded.engine import operations
from conductor_grpc.server.embedded.engine.failures import (
    ClassCastFailure,
    IllegalArgumentFailure,
    UnmappableValue,
    UnsupportedFailure,
)
from conductor_grpc.server.embedded.services.protos import task_wire

STEP = task("step", name="step", retry_count=-1)
OTHER = task("other", name="other", retry_count=-1)
LAST = task("last", name="last")
TWICE = "$.l.iteration < 2"


@pytest.fixture
def engine() -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", "other", "last")
    return engine


def test_the_output_grows_with_each_turn(engine: DrivenEngine) -> None:
    flow = engine.started(loop(STEP))
    seen = []
    for number in range(3):
        seen.append(named(flow, "l").output)
        engine.work("step", n=number)
    assert seen == [
        {"iteration": 1},
        {"iteration": 2, "1": {"step": {"n": 0.0}}},
        {"iteration": 3, "1": {"step": {"n": 0.0}}, "2": {"step": {"n": 1.0}}},
    ]
    assert named(flow, "l").output == {**seen[-1], "3": {"step": {"n": 2.0}}}
    assert states(flow) == dict.fromkeys(["l", "step__1", "step__2", "step__3"], "COMPLETED")
    assert (flow.status, flow.output) == (WorkflowStatus.COMPLETED, {"n": 2.0})


def test_a_turn_lasts_as_long_as_the_last_task_of_a_case(engine: DrivenEngine) -> None:
    choice = switch(STEP, OTHER)
    choice.input_parameters["x"].string_value = "1"
    flow = engine.started(loop(choice, loop_condition=TWICE))
    engine.work("step", n=1)
    assert states(flow) == {"l": "IN_PROGRESS", "s__1": "COMPLETED", "step__1": "COMPLETED", "other__1": "SCHEDULED"}
    engine.work("other")
    assert list(named(flow, "l").output["1"]) == ["s", "step", "other"]
    assert named(flow, "s__2").iteration == 2


def test_every_turn_waits(engine: DrivenEngine) -> None:
    flow = engine.started(loop(wait(duration="10 s"), loop_condition=TWICE))
    engine.pass_time(10)
    assert states(flow) == {"l": "IN_PROGRESS", "w__1": "COMPLETED", "w__2": "IN_PROGRESS"}
    engine.pass_time(10)
    assert flow.status is WorkflowStatus.COMPLETED


def test_a_retry_belongs_to_its_turn(engine: DrivenEngine) -> None:
    engine.define("step", retry_count=1, retry_delay_seconds=30)
    flow = engine.started(loop(STEP, loop_condition=TWICE))
    engine.fail(engine.take("step"))
    engine.pass_time(30)
    engine.work("step", n=1)
    assert [(each.reference_name, each.retry_count) for each in flow.tasks[1:]] == [
        ("step__1", 0),
        ("step__1", 1),
        ("step__2", 0),
    ]
    assert named(flow, "l").output == {"iteration": 2, "1": {"step": {"n": 1.0}}}


def test_a_failure_ends_the_loop_and_a_retry_goes_on_in_the_same_turn(engine: DrivenEngine) -> None:
    flow = engine.started(loop(STEP, OTHER, loop_condition=TWICE), LAST)
    engine.work("step")
    engine.work("other")
    engine.fail(engine.take("step"))
    ended = named(flow, "l")
    assert (flow.status, ended.status.value, ended.iteration) == (WorkflowStatus.FAILED, "CANCELED", 2)
    operations.retry(engine.engine, flow.workflow_id, resume_subworkflow_tasks=False)
    assert (named(flow, "l") is ended, ended.status.value, ended.retry_count) == (True, "IN_PROGRESS", 0)
    engine.work("step", again=True)
    engine.work("other")
    assert ended.output["2"] == {"step": {"again": True}, "other": {}}
    engine.work("last")
    assert flow.status is WorkflowStatus.COMPLETED


def test_a_permissive_task_fails_the_loop(engine: DrivenEngine) -> None:
    permissive = task("step", name="step", permissive=True)
    flow = engine.started(loop(permissive, OTHER), LAST)
    engine.fail(engine.take("step"), "bad")
    assert states(flow) == {"l": "FAILED", "step__1": "FAILED", "other__1": "CANCELED"}
    assert named(flow, "l").output == {"iteration": 1, "1": {"step": {}}}
    assert flow.reason == f"Task {named(flow, 'l').task_id} failed with status: FAILED and reason: 'bad '"


def test_an_optional_task_does_not(engine: DrivenEngine) -> None:
    flow = engine.started(loop(task("step", name="step", optional=True), loop_condition=TWICE))
    engine.fail(engine.take("step"))
    assert states(flow) == {"l": "IN_PROGRESS", "step__1": "COMPLETED_WITH_ERRORS", "step__2": "SCHEDULED"}


def test_a_condition_that_cannot_be_evaluated_is_evaluated_again_by_a_retry(engine: DrivenEngine) -> None:
    flow = engine.started(loop(STEP, loop_condition="$.nope.x < 3"))
    engine.work("step")
    failed = named(flow, "l")
    for retry_count in range(3):
        assert (flow.status, failed.status.value) == (WorkflowStatus.FAILED, "FAILED_WITH_TERMINAL_ERROR")
        assert failed.reason.startswith("Unable to evaluate condition $.nope.x < 3, exception Error")
        assert (failed.retry_count, len(flow.tasks)) == (retry_count, 2)
        operations.retry(engine.engine, flow.workflow_id, resume_subworkflow_tasks=False)


def test_the_condition_sees_the_input_as_it_is_now(engine: DrivenEngine) -> None:
    counting = loop(STEP, loop_condition="$.seen < 2")
    counting.input_parameters["seen"].string_value = "${l.output.iteration}"
    flow = engine.started(counting)
    assert named(flow, "l").input == {"seen": None}
    engine.work("step")
    engine.work("step")
    assert flow.status is WorkflowStatus.COMPLETED


def test_its_numbers_are_integers_that_strict_mode_cannot_send() -> None:
    engine = DrivenEngine(strict=True)
    engine.define("step")
    flow = engine.started(loop(STEP, items="${workflow.input.list}", loop_condition=""), given={"list": ["a"]})
    its = named(flow, "l")
    assert {key: type(value) for key, value in its.output.items()} == {
        "iteration": int,
        "loopIndex": int,
        "loopItem": str,
    }
    with pytest.raises(UnmappableValue, match="cannot map to Value type: 1"):
        task_wire(its, strict=True)
    assert task_wire(named(flow, "step__1"), strict=True)
    assert task_wire(its, strict=False)


def test_a_list_is_gone_through(engine: DrivenEngine) -> None:
    body = task("step", name="step", inputs={"item": "${l.output.loopItem}"})
    flow = engine.started(loop(body, items="${workflow.input.list}", loop_condition=""), given={"list": ["x", 2.0]})
    assert [engine.work("step").input for _ in range(2)] == [{"item": "x"}, {"item": 2.0}]
    assert (flow.status, named(flow, "l").output["loopIndex"]) == (WorkflowStatus.COMPLETED, 1)


def test_nothing_to_go_through(engine: DrivenEngine) -> None:
    flow = engine.started(loop(STEP, items="${workflow.input.none}"), LAST)
    assert states(flow) == {"l": "COMPLETED", "last": "SCHEDULED"}
    assert (named(flow, "l").iteration, named(flow, "l").output) == (0, {"iteration": 0})


def test_a_rerun_begins_with_the_first_turn(engine: DrivenEngine) -> None:
    flow = engine.started(loop(STEP, loop_condition=TWICE), LAST)
    engine.work("step")
    engine.work("step")
    engine.fail(engine.take("last"))
    rerun(engine, flow.workflow_id, named(flow, "l").task_id)
    assert states(flow) == {"l": "IN_PROGRESS", "step__1": "SCHEDULED"}
    assert named(flow, "l").output == {"iteration": 1}


def test_a_body_whose_first_task_was_skipped_never_begins(engine: DrivenEngine) -> None:
    flow = engine.started(LAST, loop(STEP))
    operations.skip_task(engine.engine, flow.workflow_id, "step", SkipTaskRequest())
    engine.work("last")
    assert states(flow) == {"step": "SKIPPED", "last": "COMPLETED", "l": "IN_PROGRESS"}
    assert engine.poll("step") == []


def test_sub_workflows_one_after_the_other(engine: DrivenEngine) -> None:
    child = engine.workflow("child", STEP)
    inner = sub(name=child, version=1)
    inner.input_parameters["turn"].string_value = "${l.output.iteration}"
    flow = engine.started(loop(inner, loop_condition=TWICE))
    assert [engine.work("step").workflow.input for _ in range(2)] == [{"turn": 1}, {"turn": 2}]
    assert flow.status is WorkflowStatus.COMPLETED


# -- keepLastN --


def keeping(turns: float | str) -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", "last")
    engine.workflow("keeping", loop(STEP, inputs={"keepLastN": turns}, loop_condition="$.l.iteration < 4"), LAST)
    return engine


def test_only_the_latest_turns_are_kept() -> None:
    engine = keeping(2)
    flow = engine.start("keeping")
    first = engine.work("step")
    for _ in range(3):
        engine.work("step")
    assert list(states(flow)) == ["l", "step__3", "step__4", "last"]
    assert list(named(flow, "l").output) == ["iteration", "3", "4"]
    assert engine.engine.shelf.find_task(first.task_id) is None
    assert named(flow, "last").seq == 6


@pytest.mark.parametrize("turns", [0, 1.5, -1, "2"])
def test_how_many_must_be_a_number_of_turns(turns: float | str) -> None:
    with pytest.raises(IllegalArgumentFailure, match=r"task l: keepLastN is .*, must be a whole number"):
        keeping(turns).start("keeping")


def test_the_released_server_cannot_be_told_how_many() -> None:
    engine = DrivenEngine(strict=True)
    engine.workflow("keeping", loop(STEP, inputs={"keepLastN": 2.0}))
    with pytest.raises(ClassCastFailure, match=r"class java.lang.Double cannot be cast to class java.lang.Integer"):
        engine.start("keeping")
    assert len(engine.engine.shelf) == 0


def test_a_loop_in_a_loop_is_refused(engine: DrivenEngine) -> None:
    inner = task("inner", "DO_WHILE", loop_condition="false", loop_over=[STEP])
    with pytest.raises(UnsupportedFailure, match="task inner: a DO_WHILE inside another one"):
        engine.workflow("nested", loop(switch(inner)))


def rerun(engine: DrivenEngine, workflow_id: str, task_id: str) -> None:
    request = RerunWorkflowRequest(re_run_from_workflow_id=workflow_id, re_run_from_task_id=task_id)
    operations.rerun(engine.engine, request)
