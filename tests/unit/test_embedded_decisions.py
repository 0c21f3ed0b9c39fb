"""Decisions of the embedded engine that come to nothing, or to no end: what they leave behind, and what they cost."""

from __future__ import annotations

import time

import pytest
from driven_engine import DrivenEngine, named, states
from embedded_definitions import fork, loop, task, wait

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.server.embedded.engine import decider, operations
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure
from conductor_grpc.server.embedded.engine.scheduling import enter
from conductor_grpc.worker.status import TaskStatus

STEP = task("step", name="step", retry_count=-1)
OTHER = task("other", name="other", retry_count=-1)
BOTH = task("j", "JOIN", join_on=["step", "other"])
ENDLESS = loop(task("v", "SET_VARIABLE", {"n": 1}), loop_condition="true")


@pytest.fixture
def engine() -> DrivenEngine:
    engine = DrivenEngine()
    engine.define("step", retry_count=1, retry_delay_seconds=0)
    engine.define("other")
    return engine


def decide(engine: DrivenEngine, workflow_id: str) -> None:
    operations.decide(engine.engine, workflow_id)


# -- what a decision leaves behind that cannot be made --


def test_an_attempt_that_was_not_made_is_made_by_the_next_decision(engine: DrivenEngine) -> None:
    its = wait(duration="${other.output.time}")
    flow = engine.started(fork([STEP], [OTHER, its]), task("j", "JOIN", join_on=["step", "w"]))
    operations.pause(engine.engine, flow.workflow_id)
    engine.fail(engine.take("step"))
    other = engine.take("other")
    engine.complete(other, time="soon")
    with pytest.raises(IllegalArgumentFailure, match="Not valid duration: soon"):
        operations.resume(engine.engine, flow.workflow_id)
    assert not named(flow, "step").retried
    other.output = {"time": "1s"}
    decide(engine, flow.workflow_id)
    assert (named(flow, "step").retry_count, named(flow, "step").status) == (1, TaskStatus.SCHEDULED)


def test_a_decision_that_ends_the_workflow_makes_no_attempt(engine: DrivenEngine) -> None:
    flow = engine.started(fork([STEP], [OTHER]), BOTH)
    operations.pause(engine.engine, flow.workflow_id)
    engine.fail(engine.take("step"))
    engine.fail(engine.take("other"))
    operations.resume(engine.engine, flow.workflow_id)
    assert flow.status is WorkflowStatus.FAILED
    assert (named(flow, "step").status, named(flow, "step").retried) == (TaskStatus.FAILED, False)


def test_a_turn_that_cannot_be_scheduled_is_tried_again(engine: DrivenEngine) -> None:
    flow = engine.started(loop(wait(duration="${step.output.time}"), STEP))
    decide(engine, flow.workflow_id)  # the first one waits for an update: there is no output yet
    engine.complete(named(flow, "w__1"))
    step = engine.take("step")
    for _ in range(2):
        with pytest.raises(IllegalArgumentFailure, match="Not valid duration: soon"):
            engine.complete(step, time="soon") if step.is_open else decide(engine, flow.workflow_id)
        assert (named(flow, "l").status, named(flow, "l").output) == (TaskStatus.IN_PROGRESS, {"iteration": 1})
    step.output = {"time": "1s"}
    decide(engine, flow.workflow_id)
    assert named(flow, "l").iteration == 2
    assert states(flow)["w__2"] == "IN_PROGRESS"


# -- bugs --


class BugError(Exception):
    """What nobody has expected."""


def break_decisions(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every decision about a workflow of this name meets a bug."""

    def broken(engine, workflow, tasks):  # type: ignore[no-untyped-def]
        if workflow.name == name:
            raise BugError(name)
        return enter(engine, workflow, tasks)

    monkeypatch.setattr(decider, "enter", broken)


def test_a_bug_with_one_workflow_is_that_of_its_own_request(
    engine: DrivenEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("good", "bad"):
        engine.workflow(name, STEP, OTHER)
    good, bad = engine.start("good"), engine.start("bad")
    first, second = sorted(engine.poll("step"), key=lambda each: each.workflow is bad)
    break_decisions(monkeypatch, "bad")
    with engine.engine.transaction():
        engine.complete(first)
        engine.complete(second)
    assert states(good) == {"step": "COMPLETED", "other": "SCHEDULED"}
    assert "BugError: bad" in caplog.text
    with pytest.raises(BugError):
        decide(engine, bad.workflow_id)
    monkeypatch.undo()
    decide(engine, bad.workflow_id)
    assert states(bad) == {"step": "COMPLETED", "other": "SCHEDULED"}


def test_what_is_to_be_decided_is_decided_when_its_request_fails(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, OTHER)
    step = engine.take("step")

    def fail_late() -> None:
        with engine.engine.transaction():
            engine.complete(step)
            raise BugError

    with pytest.raises(BugError):
        fail_late()
    assert states(flow) == {"step": "COMPLETED", "other": "SCHEDULED"}


def test_what_was_removed_is_not_decided(engine: DrivenEngine) -> None:
    flow = engine.started(STEP, OTHER)
    engine.poll("step")
    operations.remove(engine.engine, flow.workflow_id, archive=False)
    with engine.engine.transaction():  # as after the window in which an extension of a lease is written back
        engine.engine.decide_soon(flow)
    assert (engine.poll("step"), engine.poll("other"), flow.tasks) == ([], [], [])


# -- without an end --


def test_a_loop_without_an_end_leaves_time_for_others(engine: DrivenEngine) -> None:
    began = time.thread_time()
    flow = engine.started(ENDLESS)
    for _ in range(5):
        engine.pass_time(0.06)
    assert flow.is_open
    assert time.thread_time() - began < 3, "a few shares, however many tasks there are"


def test_a_loop_without_an_end_has_ever_less_of_the_server(
    engine: DrivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider, "_AT_A_TIME", 0.001)
    flow = engine.started(ENDLESS)
    engine.pass_time(60)
    assert 40 < engine.engine._shares[flow] < 60, "a thousand without a longer rest after each"
    operations.terminate(engine.engine, flow.workflow_id, "enough")
    assert not engine.engine._shares


def test_a_long_loop_comes_to_its_end(engine: DrivenEngine) -> None:
    flow = engine.started(
        loop(task("v", "SET_VARIABLE", {"n": "${l.output.iteration}"}), loop_condition="$.l.iteration < 700")
    )
    engine.pass_time(60)
    assert (flow.status, flow.variables) == (WorkflowStatus.COMPLETED, {"n": 700})
