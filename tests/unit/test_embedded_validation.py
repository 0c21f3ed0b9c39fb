"""Which definitions are accepted. As 3.32.1 does it, unless a test says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from embedded_definitions import WrittenDown, fork, loop, sub, switch, task, task_definition, terminate, wait, workflow
from google.protobuf.struct_pb2 import Value

from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.server.embedded.engine.failures import (
    ConstraintViolation,
    IllegalArgumentFailure,
    UnsetValue,
    UnsupportedFailure,
)
from conductor_grpc.server.embedded.engine.registry import Registry
from conductor_grpc.server.embedded.engine.support import SUPPORTED_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

BROKEN = terminate("broken")


@pytest.fixture
def store() -> WrittenDown:
    return WrittenDown()


@pytest.fixture
def registry(store: WrittenDown) -> Registry:
    return Registry(store)


@pytest.mark.parametrize(
    "definition",
    [
        workflow(name="a;b $%/:{}<>#|é ", version=0),
        workflow(version=-1, timeout_seconds=-1, owner_email="nobody"),
        workflow(task("a b;c.d__1", name="a;b", retry_count=-2)),
        workflow(task(task_definition=TaskDef(retry_count=-1))),
        workflow(task(task_type="MY_TYPE"), task("b", "simple"), task("c", ""), task("d", "USER_DEFINED")),
        workflow(fork([task()], [task("b")])),
        workflow(fork([]), task("j", "JOIN", join_on=["nobody"])),
        workflow(task("j", "JOIN")),
        workflow(switch(evaluator_type="", expression="")),
        workflow(sub()),
        workflow(sub(name="nosuch", version=-1)),
        workflow(sub(name="nosuch", workflow_definition=Value(string_value="${workflow.input.d}"))),
        workflow(terminate(inputs={"terminationStatus": "TERMINATED"})),
        workflow(wait()),
        workflow(wait(duration="1h 2m")),
        workflow(wait(duration="${workflow.input.d}")),
        workflow(wait(duration=" ", until="2030-01-01 10:00 UTC")),
        workflow(task("h", "HUMAN"), task("v", "SET_VARIABLE")),
        workflow(loop(task("b"))),
        workflow(loop(BROKEN)),
        workflow(loop(task("b", name="", start_delay=-1))),
        workflow(loop(task("b"), items="${workflow.input.list}", loop_condition="")),
    ],
)
def test_accepted(registry: Registry, definition: WorkflowDef) -> None:
    registry.create_workflow(definition)
    assert registry.workflow_definition(definition.name, definition.version) == definition


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        (workflow(name=""), "name"),
        (workflow(schema_version=0), "schema_version is 0"),
        (workflow(schema_version=3), "schema_version is 3"),
        (workflow(tasks=[]), "at least one task"),
        (workflow(task(name="")), "name"),
        (workflow(task("")), "task_reference_name"),
        (workflow(task(start_delay=-1)), "start_delay is -1"),
        (workflow(task(), task()), "a is there twice"),
        (workflow(task(), switch(task())), "a is there twice"),
        (workflow(fork([task()], [task()])), "a is there twice"),
        (workflow(task(), loop(task())), "a is there twice"),
        (workflow(fork()), "at least one branch"),
        (workflow(switch(decision_cases={}, default_case=[task()])), "at least one case"),
        (workflow(loop()), "at least one task in loop_over"),
        (workflow(task("u", "SUB_WORKFLOW")), "sub_workflow_param"),
        (workflow(terminate()), "terminationStatus"),
        (workflow(terminate(inputs={"terminationStatus": "completed"})), "terminationStatus"),
        (workflow(terminate(inputs={"terminationStatus": "${workflow.input.x}"})), "terminationStatus"),
        (workflow(terminate(inputs={"terminationStatus": 5})), "terminationStatus"),
        (workflow(terminate(inputs={"terminationStatus": "FAILED"}, optional=True)), "optional"),
        (workflow(wait(duration="1s", until="2030-01-01")), "not both"),
        (workflow(wait(duration="soon")), "Not valid duration: soon"),
        (workflow(wait(duration=5)), r"Not valid duration: 5\.0"),
        (workflow(wait(until="soon")), "Unable to parse date: soon"),
        (workflow(switch(BROKEN)), "broken"),
        (workflow(switch(task(), default_case=[BROKEN])), "broken"),
        (workflow(fork([BROKEN])), "broken"),
        (workflow(fork([task(name="")])), "name"),
    ],
)
def test_refused(registry: Registry, store: WrittenDown, definition: WorkflowDef, why: str) -> None:
    with pytest.raises(ConstraintViolation, match=why):
        registry.validate(definition)
    with pytest.raises(ConstraintViolation):
        registry.create_workflow(definition)
    with pytest.raises(ConstraintViolation):
        registry.update_workflows([workflow(name="other"), definition])
    assert registry.workflow_definition("other") is None
    assert store.calls == []


@pytest.mark.parametrize(
    "text",
    [
        "${workflow.input.x} and ${b.output.y}",
        "${workflow}",
        "${a}",
        "${a.output.${workflow.input.k}}",
        "${${workflow.input.k}.output}",
        "${a.output['x y'].z}",
        "${inner.output}",
        "${CPEWF_TASK_ID}",
        "$${nobody.output.y}",
        "${nobody.output.y",
        "${PATH}",
    ],
)
def test_expressions_that_are_accepted(registry: Registry, text: str) -> None:
    others = [task("b"), fork([task("inner")])]
    registry.validate(workflow(task(inputs={"x": {"y": [text]}}), *others))


@pytest.mark.parametrize(
    "text",
    [
        "${nobody.output.y}",
        "${a.output.y} ${nobody.output.y}",
        "${a.output.${nobody.input.k}}",
        "${nobody}",
        "${}",
        "${ }",
        "${a b.output}",
        "${workflow.input.a b}",
        "${a['output'].z}",
        "${$.a.output}",
        "${CPEWF_TASK_ID.x}",
        "${a__1.output}",
    ],
)
@pytest.mark.parametrize("nested", [lambda text: text, lambda text: {"y": [text]}])
def test_expressions_that_are_refused(registry: Registry, text: str, nested: Callable[[str], object]) -> None:
    with pytest.raises(ConstraintViolation, match="the expression"):
        registry.validate(workflow(task(inputs={"x": nested(text)})))
    # Only the input of top-level tasks is looked at.
    registry.validate(workflow(fork([task(inputs={"x": nested(text)})]), output={"x": nested(text)}))


def test_what_cannot_be_read_is_refused(registry: Registry) -> None:
    with pytest.raises(IllegalArgumentFailure):
        registry.create_workflow(workflow(task(join_mode=7)))
    with pytest.raises(IllegalArgumentFailure):
        registry.create_workflow(workflow(loop(sub(name="n", workflow_definition=Value(bool_value=True)))))
    with pytest.raises(UnsetValue):
        registry.put_task_definitions([task_definition(input_template={"x": Value()})])


# What only the embedded server refuses


@pytest.mark.parametrize(
    "task_type",
    [
        *("DYNAMIC", "FORK_JOIN_DYNAMIC", "DECISION", "EVENT", "HTTP", "LAMBDA", "INLINE", "EXCLUSIVE_JOIN", "NOOP"),
        *("JSON_JQ_TRANSFORM", "KAFKA_PUBLISH", "START_WORKFLOW", "LLM_CHAT_COMPLETE", "AGENT", "JDBC"),
    ],
)
@pytest.mark.parametrize("inside", [lambda it: it, loop, lambda it: fork([it]), switch])
def test_a_type_that_only_the_real_server_runs_is_refused(
    registry: Registry, task_type: str, inside: Callable[[WorkflowTask], WorkflowTask]
) -> None:
    definition = workflow(inside(task("special", task_type)))
    for refuse in (registry.validate, registry.create_workflow, registry.plan):
        with pytest.raises(UnsupportedFailure) as caught:
            refuse(definition)
        assert "special" in str(caught.value)
        assert f"type {task_type}" in str(caught.value)
        assert ", ".join(SUPPORTED_TYPES) in str(caught.value)
        assert "conductor-grpc server" in str(caught.value)


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        (workflow(switch(task(), evaluator_type="javascript")), "javascript"),
        (workflow(switch(task(), evaluator_type="graaljs")), "graaljs"),
        (workflow(loop(task(), loop_condition="$.l.iteration < 3 && $.a.x")), "JavaScript"),
        (workflow(loop(task(), loop_condition="x()", items="${workflow.input.l}")), "JavaScript"),
        (workflow(task(inputs={"x": ["${workflow.input.l[?(@.a == 1)]}"]})), "filters"),
        (workflow(loop(task(inputs={"x": "${workflow..a}"}))), "deep scan"),
        (workflow(output={"x": "n=${workflow.input.keys()}"}), "keys"),
        (workflow(output={"x": "${workflow.input.l[${workflow.input['a','b']}]}"}), "several names"),
        (workflow(task(inputs={"x": "${workflow.secrets.x}"})), "workflow.secrets.x"),
        (workflow(task(inputs={"x": "${workflow.env.x}"})), "workflow.env.x"),
    ],
)
def test_what_the_engine_cannot_evaluate_is_refused(registry: Registry, definition: WorkflowDef, what: str) -> None:
    with pytest.raises(UnsupportedFailure, match=what) as caught:
        registry.create_workflow(definition)
    assert "conductor-grpc server" in str(caught.value)


def test_an_inline_definition_of_the_obsolete_schema_is_refused(registry: Registry) -> None:
    with pytest.raises(UnsupportedFailure, match="schema_version 0"):
        registry.plan(workflow(schema_version=0))


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " ;$%/"},
        {"timeout_seconds": 600},
        {"timeout_seconds": -1},
        {"retry_delay_seconds": -1, "concurrent_exec_limit": -1, "rate_limit_per_frequency": -1},
        {"timeout_seconds": 600, "total_timeout_seconds": 600},
        {"total_timeout_seconds": 5},
        {"response_timeout_seconds": 2**40, "owner_email": "nobody"},
    ],
)
def test_task_definitions_that_are_accepted(registry: Registry, fields: dict[str, Any]) -> None:
    definition = task_definition(**fields)
    registry.put_task_definitions([definition])
    assert registry.task_definition(definition.name) == definition


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": ""}, "name"),
        ({"response_timeout_seconds": 0}, "response_timeout_seconds is 0"),
        ({"response_timeout_seconds": -1}, "response_timeout_seconds is -1"),
        ({"backoff_scale_factor": 0}, "backoff_scale_factor is 0"),
        ({"retry_count": -1}, "retry_count is -1"),
        ({"poll_timeout_seconds": -1}, "poll_timeout_seconds is -1"),
        ({"total_timeout_seconds": -1}, "total_timeout_seconds is -1"),
        ({"max_retry_delay_seconds": -1}, "max_retry_delay_seconds is -1"),
        ({"backoff_jitter_ms": -1}, "backoff_jitter_ms is -1"),
        ({"timeout_seconds": 599}, "response_timeout_seconds 600 must not exceed timeout_seconds 599"),
        ({"timeout_seconds": 600, "total_timeout_seconds": 599}, "timeout_seconds 600"),
    ],
)
def test_task_definitions_that_are_refused(
    registry: Registry, store: WrittenDown, fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConstraintViolation, match=why):
        registry.put_task_definitions([task_definition("good"), task_definition(**fields)])
    assert registry.task_definition("good") is None
    assert store.calls == []
