"""Malformed definitions: what the server refuses to register, and what it registers all the same.

Each refusal has the same words, so these tables say what is refused and nothing about why.
"""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from definition_calls import (
    UNEXPLAINED,
    create_tasks,
    create_workflow,
    no_such_definition,
    stored_workflow,
    update_task,
    update_workflows,
    validate_workflow,
)
from google.protobuf.struct_pb2 import ListValue, Value
from wire import branch, error_of, simple, task_of, value

from conductor_grpc.pb.model.ratelimitconfig_pb2 import RateLimitConfig
from conductor_grpc.pb.model.schemadef_pb2 import SchemaDef
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
from conductor_grpc.pb.services import metadata_service_pb2 as messages

NO_SUCH_ENUM_NUMBER = 99
NO_KIND = Value()

# -- task definitions --

BAD_TASK_DEFINITIONS: dict[str, dict[str, Any]] = {
    "no name": {"name": ""},
    "response timeout 0": {"response_timeout_seconds": 0},
    "response timeout above timeout": {"timeout_seconds": 10, "response_timeout_seconds": 11},
    "backoff scale factor 0": {"backoff_scale_factor": 0},
    "retry count -1": {"retry_count": -1},
    "poll timeout -1": {"poll_timeout_seconds": -1},
    "total timeout -1": {"total_timeout_seconds": -1},
    "timeout above total timeout": {"timeout_seconds": 100, "total_timeout_seconds": 99},
    "maximal retry delay -1": {"max_retry_delay_seconds": -1},
    "backoff jitter -1": {"backoff_jitter_ms": -1},
    "unknown retry logic": {"retry_logic": NO_SUCH_ENUM_NUMBER},
    "unknown timeout policy": {"timeout_policy": NO_SUCH_ENUM_NUMBER},
    "a value without a kind": {"input_template": {"x": NO_KIND}},
}
ODD_TASK_DEFINITIONS: dict[str, dict[str, Any]] = {
    "response timeout equal to timeout": {"timeout_seconds": 10, "response_timeout_seconds": 10},
    "poll timeout above timeout": {"timeout_seconds": 10, "response_timeout_seconds": 10, "poll_timeout_seconds": 20},
    "retry delay -1": {"retry_delay_seconds": -1},
    "timeout -1": {"timeout_seconds": -1},
    "concurrency limit -1": {"concurrent_exec_limit": -1},
    "rate limit -1": {"rate_limit_per_frequency": -1},
    "many retries": {"retry_count": 1000},
}


def task_definition(name: str, fields: dict[str, Any]) -> TaskDef:
    return TaskDef(**{"name": name, "response_timeout_seconds": 5, "backoff_scale_factor": 1, **fields})


@pytest.mark.parametrize("case", BAD_TASK_DEFINITIONS)
def test_refused_task_definition(server, case: str) -> None:
    fields = BAD_TASK_DEFINITIONS[case]
    known = server.task_definition(name=fields.get("name"))
    assert error_of(lambda: create_tasks(server, task_definition(server.unique(), fields))) == UNEXPLAINED
    assert error_of(lambda: update_task(server, task_definition(known, fields))) == UNEXPLAINED


@pytest.mark.parametrize("case", ODD_TASK_DEFINITIONS)
def test_odd_task_definition_that_is_accepted(server, case: str) -> None:
    create_tasks(server, task_definition(server.unique(), ODD_TASK_DEFINITIONS[case]))


# -- workflow definitions --

FORK = task_of("FORK_JOIN", "fork", fork_tasks=[branch(simple("a")), branch(simple("b"))])
CASES = {"x": branch(simple("a"))}


def switch(**fields: Any) -> WorkflowTask:
    return task_of("SWITCH", "switch", **fields)


def sub_workflow(**fields: Any) -> WorkflowTask:
    return task_of("SUB_WORKFLOW", "sub", sub_workflow_param=SubWorkflowParams(**fields))


def wait(**inputs: Any) -> WorkflowTask:
    return task_of("WAIT", "wait", input_parameters=inputs)


def terminate(status: str | None, **fields: Any) -> WorkflowTask:
    inputs = {"terminationStatus": status} if status else {}
    return task_of("TERMINATE", "end", input_parameters=inputs, **fields)


def reading(expression: Any) -> WorkflowTask:
    return simple("a", input_parameters={"x": expression})


BAD_WORKFLOW_FIELDS: dict[str, dict[str, Any]] = {
    "schema version 0": {"schema_version": 0},
    "schema version 1": {"schema_version": 1},
    "schema version 3": {"schema_version": 3},
    "unknown timeout policy": {"timeout_policy": NO_SUCH_ENUM_NUMBER},
    "unknown rate limit policy": {"rate_limit_config": RateLimitConfig(policy=NO_SUCH_ENUM_NUMBER)},
    "unknown schema type": {"input_schema": SchemaDef(type=NO_SUCH_ENUM_NUMBER)},
    "a value without a kind": {"variables": {"x": NO_KIND}},
}
BAD_TASKS: dict[str, list[WorkflowTask]] = {
    "no tasks": [],
    "a task without a name": [simple("", "ref")],
    "a task without a reference name": [WorkflowTask(name="a", type="SIMPLE", retry_count=-1)],
    "a reference name twice": [simple("a"), simple("b", "a")],
    "a reference name twice in branches": [
        task_of("FORK_JOIN", "fork", fork_tasks=[branch(simple("a")), branch(simple("a"))]),
        task_of("JOIN", "join", join_on=["a"]),
    ],
    "start delay -1": [simple("a", start_delay=-1)],
    "unknown join mode": [simple("a", join_mode=NO_SUCH_ENUM_NUMBER)],
    "an input without a kind": [reading(NO_KIND)],
    "an input without a kind in a list": [reading(Value(list_value=ListValue(values=[NO_KIND])))],
    "FORK_JOIN without branches": [task_of("FORK_JOIN", "fork"), task_of("JOIN", "join")],
    "SWITCH without cases": [switch(evaluator_type="value-param", expression="which")],
    "SWITCH with a default case only": [
        switch(evaluator_type="value-param", expression="which", default_case=[simple("a")])
    ],
    "SWITCH with nothing": [switch()],
    "SUB_WORKFLOW without parameters": [task_of("SUB_WORKFLOW", "sub")],
    "SUB_WORKFLOW with an inline definition": [sub_workflow(name="x", workflow_definition=value({"name": "x"}))],
    "SUB_WORKFLOW with a text for a definition": [sub_workflow(name="x", workflow_definition=value("text"))],
    "WAIT with a duration that is none": [wait(duration="soon")],
    "WAIT with a number as duration": [wait(duration=3)],
    "WAIT with a date that is none": [wait(until="tomorrow")],
    "WAIT with both": [wait(duration="1 s", until="2030-01-01")],
    "TERMINATE without a status": [terminate(None)],
    "TERMINATE with an unknown status": [terminate("DONE")],
    "TERMINATE that is optional": [terminate("COMPLETED", optional=True)],
    "DO_WHILE with nothing": [task_of("DO_WHILE", "loop")],
    "DO_WHILE without tasks": [task_of("DO_WHILE", "loop", loop_condition="false")],
    "a reference to no task": [reading("${nobody.output.y}")],
    "a reference to no task in a text": [reading("n ${nobody.output.y} m")],
    "a reference to no task deep in a value": [reading({"list": ["${nobody.output.y}"]})],
    "a reference without a path": [reading("${nobody}")],
    "an empty reference": [reading("${}")],
}


def assert_refused(server, definition) -> None:
    """Creating, updating and validating it, and that none of these stored it."""
    for call in (create_workflow, update_workflows, validate_workflow):
        assert error_of(lambda call=call: call(server, definition)) == UNEXPLAINED
    missing = no_such_definition(definition.name)
    assert error_of(lambda: stored_workflow(server, definition.name)) == missing


@pytest.mark.parametrize("case", BAD_WORKFLOW_FIELDS)
def test_refused_workflow_definition(server, case: str) -> None:
    assert_refused(server, server.workflow_definition(simple("a"), **BAD_WORKFLOW_FIELDS[case]))


@pytest.mark.parametrize("case", BAD_TASKS)
def test_refused_workflow_tasks(server, case: str) -> None:
    assert_refused(server, server.workflow_definition(*BAD_TASKS[case]))


def test_a_workflow_definition_without_a_name_is_refused(server) -> None:
    definition = server.workflow_definition(simple("a"))
    definition.name = ""
    for call in (create_workflow, update_workflows, validate_workflow):
        assert error_of(lambda call=call: call(server, definition)) == UNEXPLAINED


@pytest.mark.parametrize("call", ["CreateWorkflow", "ValidateWorkflow"])
def test_a_request_without_a_workflow_definition_is_refused(server, call: str) -> None:
    request = getattr(messages, f"{call}Request")()
    assert error_of(lambda: getattr(server.metadata, call)(request)) == UNEXPLAINED


ODD_WORKFLOW_FIELDS: dict[str, dict[str, Any]] = {
    "version 0": {"version": 0},
    "version -1": {"version": -1},
    "timeout -1": {"timeout_seconds": -1},
    "an output that refers to no task": {"output_parameters": {"x": "${nobody.output.y}"}},
    "an unknown failure workflow": {"failure_workflow": "no such workflow", "failure_workflow_version": 1},
    "an owner that is no e-mail address": {"owner_email": "owner"},
    "a name with blanks, colons and umlauts": {"name": f"a b:c/ä {uuid.uuid4()}"},
}
ODD_TASKS: dict[str, list[WorkflowTask]] = {
    "FORK_JOIN without JOIN": [FORK],
    "FORK_JOIN with an empty branch": [task_of("FORK_JOIN", "f", fork_tasks=[branch()]), task_of("JOIN", "j")],
    "JOIN on no task": [FORK, task_of("JOIN", "join", join_on=["nobody"])],
    "JOIN without FORK_JOIN": [task_of("JOIN", "join", join_on=["nobody"])],
    "JOIN without joinOn": [FORK, task_of("JOIN", "join")],
    "SWITCH without an expression": [switch(evaluator_type="value-param", decision_cases=CASES)],
    "SWITCH with an empty case": [switch(evaluator_type="value-param", expression="w", decision_cases={"x": branch()})],
    "SWITCH without an evaluator": [switch(expression="w", decision_cases=CASES)],
    "SWITCH with an unknown evaluator": [switch(evaluator_type="cobol", expression="w", decision_cases=CASES)],
    "SUB_WORKFLOW without a name": [sub_workflow()],
    "SUB_WORKFLOW of no workflow": [sub_workflow(name="no such workflow")],
    "SUB_WORKFLOW of an expression": [sub_workflow(name="x", workflow_definition=value("${workflow.input.x}"))],
    "WAIT with nothing": [wait()],
    "WAIT with an expression": [wait(duration="${workflow.input.x}")],
    "SET_VARIABLE without variables": [task_of("SET_VARIABLE", "set")],
    "a type of the user's own": [task_of("FROBNICATE", "t")],
    "no type": [WorkflowTask(name="a", task_reference_name="a")],
    "retry count -2": [simple("a", retry_count=-2)],
    "a task definition that alone would be refused": [simple("a", task_definition=TaskDef())],
    "a reference to a later task": [reading("${b.output.y}"), simple("b")],
    "a reference to itself": [reading("${a.output.y}")],
    "a reference to no task in a case": [
        switch(evaluator_type="value-param", expression="w", decision_cases={"x": branch(reading("${nobody.output}"))})
    ],
    "an escaped reference to no task": [reading("$${nobody.output.y}")],
    "an unknown part of the workflow": [reading("${workflow.nothing.y}")],
}


def assert_accepted(server, definition) -> None:
    validate_workflow(server, definition)
    create_workflow(server, definition)
    assert stored_workflow(server, definition.name, definition.version) == definition


@pytest.mark.parametrize("case", ODD_WORKFLOW_FIELDS)
def test_odd_workflow_definition_that_is_accepted(server, case: str) -> None:
    assert_accepted(server, server.workflow_definition(simple("a"), **ODD_WORKFLOW_FIELDS[case]))


@pytest.mark.parametrize("case", ODD_TASKS)
def test_odd_workflow_tasks_that_are_accepted(server, case: str) -> None:
    assert_accepted(server, server.workflow_definition(*ODD_TASKS[case]))


# Each with what its type needs, so that nothing but the type is in question.
NOT_EMBEDDED: dict[str, WorkflowTask] = {
    "DYNAMIC": task_of("DYNAMIC", "t", dynamic_task_name_param="which", input_parameters={"which": "a"}),
    "FORK_JOIN_DYNAMIC": task_of(
        "FORK_JOIN_DYNAMIC", "t", dynamic_fork_tasks_param="tasks", dynamic_fork_tasks_input_param_name="inputs"
    ),
    "HTTP": task_of("HTTP", "t", input_parameters={"http_request": {"uri": "http://localhost:1", "method": "GET"}}),
    "INLINE": task_of("INLINE", "t", input_parameters={"evaluatorType": "javascript", "expression": "1"}),
    "EVENT": task_of("EVENT", "t", sink="conductor"),
    "DECISION": task_of("DECISION", "t", case_value_param="which", decision_cases=CASES),
    "EXCLUSIVE_JOIN": task_of("EXCLUSIVE_JOIN", "t", join_on=["first"]),
    "START_WORKFLOW": task_of("START_WORKFLOW", "t", input_parameters={"startWorkflow": {"name": "other"}}),
    "JSON_JQ_TRANSFORM": task_of("JSON_JQ_TRANSFORM", "t", input_parameters={"queryExpression": "."}),
    "NOOP": task_of("NOOP", "t"),
    "javascript": switch(evaluator_type="javascript", expression="$.w", decision_cases=CASES),
}


@pytest.mark.differs("embedded", "refuses what it cannot run: UNIMPLEMENTED, with the task, its type and the remedy")
@pytest.mark.parametrize("case", NOT_EMBEDDED)
def test_what_only_a_real_server_runs(server, case: str) -> None:
    definition = server.workflow_definition(simple("first"), NOT_EMBEDDED[case])
    if server.name != "embedded":
        assert_accepted(server, definition)
        return
    for call in (create_workflow, update_workflows, validate_workflow):
        failure = error_of(lambda call=call: call(server, definition))
        assert failure.code is grpc.StatusCode.UNIMPLEMENTED
        for word in (case, NOT_EMBEDDED[case].task_reference_name, "`conductor-grpc server`"):
            assert word in failure.details
    assert error_of(lambda: stored_workflow(server, definition.name)) == no_such_definition(definition.name)
