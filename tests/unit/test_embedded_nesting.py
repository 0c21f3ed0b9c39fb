"""Workflows that start themselves: the embedded engine lives with them, however deep they have gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from driven_engine import DrivenEngine
from embedded_definitions import task

from conductor_grpc.clients.results import WorkflowStatus
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.server.embedded.engine import operations

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.records import WorkflowRecord

DEEPER_THAN_THE_STACK = 1_100
"""Levels: Python takes 1,000 calls within each other."""


@pytest.fixture
def engine() -> DrivenEngine:
    return DrivenEngine()


@pytest.fixture
def first(engine: DrivenEngine) -> WorkflowRecord:
    """The outermost of many executions of one workflow, each started by the one before."""
    params = SubWorkflowParams(name="itself", version=1)
    engine.workflow("itself", task("again", "SUB_WORKFLOW", sub_workflow_param=params))
    first = engine.start("itself")
    while len(engine.engine.shelf) < DEEPER_THAN_THE_STACK:
        engine.pass_time(10)
    return first


def test_one_request_starts_a_few_levels_only(engine: DrivenEngine, first: WorkflowRecord) -> None:
    before = len(engine.engine.shelf)
    engine.start("itself")
    assert 1 < len(engine.engine.shelf) - before < 50
    assert first.is_open


def test_terminating_the_outermost_ends_all(engine: DrivenEngine, first: WorkflowRecord) -> None:
    operations.terminate(engine.engine, first.workflow_id, "enough")
    ended = list(engine.engine.shelf.workflows())
    assert {each.status for each in ended} == {WorkflowStatus.TERMINATED}
    reasons = {each.reason for each in ended if each is not first}
    assert all(reason.startswith("Parent workflow has been terminated with reason: ") for reason in reasons)
    assert all(not each.is_open for workflow in ended for each in workflow.tasks)
    engine.pass_time(10)
    assert len(engine.engine.shelf) == len(ended)


def test_terminating_the_innermost_ends_all(engine: DrivenEngine, first: WorkflowRecord) -> None:
    """Each end is carried to the one above."""
    innermost = list(engine.engine.shelf.workflows())[-1]
    operations.terminate(engine.engine, innermost.workflow_id, "enough")
    assert not first.is_open
    assert not any(each.is_open for each in engine.engine.shelf.workflows())
