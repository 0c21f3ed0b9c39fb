"""JSON -> proto -> JSON, without a server: defaults, paths of errors, what is refused."""

from __future__ import annotations

import copy
import json

import pytest

from conductor_grpc.definitions import (
    event_handler_to_json,
    event_handler_to_proto,
    task_definition_to_json,
    task_definition_to_proto,
    workflow_definition_to_json,
    workflow_definition_to_proto,
    workflow_task_to_proto,
)
from conductor_grpc.errors import DefinitionError
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask

STEP = {"name": "t", "taskReferenceName": "r"}


def workflow(*tasks: object, **more: object) -> dict[str, object]:
    return {"name": "w", "tasks": list(tasks or [STEP]), **more}


def test_a_minimal_task_gets_the_defaults_of_the_server() -> None:
    message = task_definition_to_proto({"name": "t"})
    assert message == TaskDef(
        name="t",
        retry_count=3,
        retry_logic=TaskDef.FIXED,
        retry_delay_seconds=60,
        timeout_policy=TaskDef.TIME_OUT_WF,
        response_timeout_seconds=3600,
        rate_limit_frequency_in_seconds=1,
        backoff_scale_factor=1,
        task_status_listener_enabled=True,
    )


def test_a_minimal_workflow_gets_the_defaults_of_the_server() -> None:
    message = workflow_definition_to_proto(workflow())
    assert message == WorkflowDef(
        name="w",
        version=1,
        schema_version=2,
        restartable=True,
        timeout_policy=WorkflowDef.ALERT_ONLY,
        enforce_schema=True,
        tasks=[
            WorkflowTask(name="t", task_reference_name="r", type="SIMPLE", retry_count=-1, join_mode=WorkflowTask.ASYNC)
        ],
    )


def test_an_embedded_task_definition_gets_the_defaults_too() -> None:
    message = workflow_definition_to_proto(workflow({**STEP, "taskDefinition": {"name": "t"}}))
    assert message.tasks[0].task_definition == task_definition_to_proto({"name": "t"})


def test_tasks_at_any_depth_get_the_defaults() -> None:
    nested = {
        "name": "s",
        "taskReferenceName": "s",
        "type": "SWITCH",
        "evaluatorType": "value-param",
        "expression": "x",
        "decisionCases": {"a": [{**STEP, "taskReferenceName": "r1"}]},
        "defaultCase": [{**STEP, "taskReferenceName": "r2"}],
    }
    fork = {"name": "f", "taskReferenceName": "f", "type": "FORK_JOIN", "forkTasks": [[nested]]}
    loop = {
        "name": "l",
        "taskReferenceName": "l",
        "type": "DO_WHILE",
        "loopCondition": "true",
        "loopOver": [fork],
    }
    message = workflow_definition_to_proto(workflow(loop))
    inner = message.tasks[0].loop_over[0].fork_tasks[0].tasks[0]
    assert inner.type == "SWITCH"
    for task in (inner.decision_cases["a"].tasks[0], inner.default_case[0]):
        assert (task.type, task.retry_count, task.join_mode) == ("SIMPLE", -1, WorkflowTask.ASYNC)


def test_null_means_absent() -> None:
    given = {"name": "t", "retryCount": None, "inputTemplate": None, "timeoutPolicy": None, "unheard": None}
    assert task_definition_to_proto(given) == task_definition_to_proto({"name": "t"})


def test_zero_is_not_absent() -> None:
    message = task_definition_to_proto({"name": "t", "retryCount": 0, "retryDelaySeconds": 0})
    assert (message.retry_count, message.retry_delay_seconds) == (0, 0)
    assert workflow_definition_to_proto(workflow({**STEP, "retryCount": 0})).tasks[0].retry_count == 0


def test_a_text_of_json_is_accepted() -> None:
    assert task_definition_to_proto('{"name": "t"}') == task_definition_to_proto({"name": "t"})
    with pytest.raises(DefinitionError, match="line 1, column 10"):
        task_definition_to_proto('{"name": }')


def test_whole_floats_are_integers() -> None:
    assert task_definition_to_proto({"name": "t", "retryCount": 2.0}).retry_count == 2


def test_what_the_server_owns_is_ignored() -> None:
    audit = {"createTime": 1, "updateTime": 2, "createdBy": "a", "updatedBy": "b", "ownerApp": "c"}
    assert task_definition_to_proto({"name": "t", **audit}) == task_definition_to_proto({"name": "t"})
    assert workflow_definition_to_proto(workflow(**audit)) == workflow_definition_to_proto(workflow())


def test_the_empty_values_of_an_export_are_no_reason_to_refuse_it() -> None:
    exported = {"name": "t", "runtimeMetadata": [], "enforceSchema": False}
    assert task_definition_to_proto(exported) == task_definition_to_proto({"name": "t"})
    step = {**STEP, "onStateChange": {}, "dynamicForkJoinTasksParam": ""}
    assert workflow_definition_to_proto(workflow(step)) == workflow_definition_to_proto(workflow())


@pytest.mark.parametrize(
    ("definition", "path", "words"),
    [
        ({"name": "t", "retrycount": 1}, "$.retrycount", "did you mean 'retryCount'?"),
        ({"name": "t", "responseTimeout": 1}, "$.responseTimeout", "'responseTimeoutSeconds'"),
        ({"name": "t", "zzz": 1}, "$.zzz", "known keys: backoffJitterMs, "),
        ({"name": "t", "a b": 1}, "$['a b']", "unknown key"),
        ({"name": "t", "retryCount": "3"}, "$.retryCount", "expected a whole number, got the string '3'"),
        ({"name": "t", "retryCount": 0.5}, "$.retryCount", "expected a whole number, got the number 0.5"),
        ({"name": "t", "retryCount": True}, "$.retryCount", "got the boolean True"),
        ({"name": "t", "retryCount": 2**31}, "$.retryCount", "out of range"),
        ({"name": "t", "timeoutSeconds": 2**63}, "$.timeoutSeconds", "out of range"),
        ({"name": 7}, "$.name", "expected a string, got the number 7"),
        ({"name": "t", "inputKeys": "a"}, "$.inputKeys", "expected a list"),
        ({"name": "t", "inputKeys": ["a", 1]}, "$.inputKeys[1]", "expected a string"),
        ({"name": "t", "inputTemplate": []}, "$.inputTemplate", "expected an object, got the list []"),
        ({"name": "t", "inputTemplate": {"a": [2**60]}}, "$.inputTemplate.a[0]", str(2**60)),
        ({"name": "t", "retryLogic": "fixed"}, "$.retryLogic", "did you mean 'FIXED'?"),
        ({"name": "t", "retryLogic": 0}, "$.retryLogic", "0 is not one of FIXED, EXPONENTIAL_BACKOFF"),
        ({"name": "t", "taskStatusListenerEnabled": 1}, "$.taskStatusListenerEnabled", "true or false"),
        ({"name": "t", "runtimeMetadata": ["k"]}, "$.runtimeMetadata", "gRPC has no field"),
        ({"name": "t", "inputSchema": {"name": "s"}}, "$.inputSchema", "register the task by REST"),
        ({}, "$.name", "needs a name"),
        ({"name": "t", "retryCount": -1}, "$.retryCount", "at least 0"),
        ({"name": "t", "responseTimeoutSeconds": 0}, "$.responseTimeoutSeconds", "at least 1"),
        ({"name": "t", "timeoutSeconds": 10}, "$.responseTimeoutSeconds", "exceeds timeoutSeconds 10"),
        (
            {"name": "t", "timeoutSeconds": 4000, "totalTimeoutSeconds": 10},
            "$.timeoutSeconds",
            "exceeds totalTimeoutSeconds",
        ),
        ({"name": "t", "backoffScaleFactor": 0}, "$.backoffScaleFactor", "at least 1"),
        ({"name": "t", "pollTimeoutSeconds": -1}, "$.pollTimeoutSeconds", "at least 0"),
        ([], "$", "expected an object, got the list []"),
        ({1: 2}, "$", "the key 1 is a number"),
    ],
)
def test_a_bad_task_definition_is_refused_with_its_place(definition, path: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        task_definition_to_proto(definition)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def typed(type_: str, **more: object) -> dict[str, object]:
    return workflow({**STEP, "type": type_, **more})


CASES = {"x": [{**STEP, "taskReferenceName": "inner"}]}


@pytest.mark.parametrize(
    ("definition", "path", "words"),
    [
        (workflow(name=""), "$.name", "needs a name"),
        (workflow(tasks=[]), "$.tasks", "at least one task"),
        (workflow(version=0), "$.version", "0 asks for the latest"),
        (workflow(schemaVersion=1), "$.schemaVersion", "the server knows 2 only"),
        (workflow(failureWorkflow="f"), "$.failureWorkflowVersion", "Add the version of 'f'"),
        (workflow({"taskReferenceName": "r"}), "$.tasks[0].name", "name of its task definition"),
        (workflow({"name": "t"}), "$.tasks[0].taskReferenceName", "'t' needs a reference name"),
        (typed(""), "$.tasks[0].type", "use SIMPLE"),
        (workflow(STEP, STEP), "$.tasks[1].taskReferenceName", "the reference name of $.tasks[0] too"),
        (workflow({**STEP, "inputParams": {}}), "$.tasks[0].inputParams", "did you mean 'inputParameters'?"),
        (workflow({**STEP, "startDelay": -1}), "$.tasks[0].startDelay", "0 or more"),
        (
            workflow(STEP, {**STEP, "taskReferenceName": "q", "inputParameters": []}),
            "$.tasks[1].inputParameters",
            "expected an object",
        ),
        (
            workflow({**STEP, "inputParameters": {"a": [{"b": "${nobody.output.x}"}]}}),
            "$.tasks[0].inputParameters.a[0].b",
            "refers to 'nobody', which is no task of this workflow (r)",
        ),
        (typed("SWITCH", decisionCases=CASES, expression="e"), "$.tasks[0].evaluatorType", "needs"),
        (typed("SWITCH", decisionCases=CASES, evaluatorType="e"), "$.tasks[0].expression", "needs"),
        (typed("SWITCH", evaluatorType="e", expression="e"), "$.tasks[0].decisionCases", "needs"),
        (typed("DECISION", decisionCases=CASES), "$.tasks[0].caseValueParam", "needs"),
        (typed("DECISION", caseExpression="e"), "$.tasks[0].decisionCases", "needs"),
        (typed("DO_WHILE", loopOver=CASES["x"]), "$.tasks[0].loopCondition", "needs"),
        (typed("DO_WHILE", loopCondition="true"), "$.tasks[0].loopOver", "needs"),
        (
            typed("DO_WHILE", loopCondition="true", loopOver=CASES["x"], inputParameters={"keepLastN": 3}),
            "$.tasks[0].inputParameters.keepLastN",
            "floating point",
        ),
        (typed("DYNAMIC"), "$.tasks[0].dynamicTaskNameParam", "needs"),
        (typed("FORK_JOIN"), "$.tasks[0].forkTasks", "needs"),
        (typed("FORK_JOIN_DYNAMIC"), "$.tasks[0].dynamicForkTasksParam", "needs"),
        (
            typed("FORK_JOIN_DYNAMIC", dynamicForkTasksParam="a"),
            "$.tasks[0].dynamicForkTasksInputParamName",
            "needs",
        ),
        (typed("EVENT"), "$.tasks[0].sink", "needs"),
        (typed("SUB_WORKFLOW"), "$.tasks[0].subWorkflowParam", "needs"),
        (typed("SUB_WORKFLOW", subWorkflowParam={}), "$.tasks[0].subWorkflowParam.name", "which workflow"),
        (
            typed("SUB_WORKFLOW", subWorkflowParam={"name": "x", "workflowDefinition": {"name": "x"}}),
            "$.tasks[0].subWorkflowParam.workflowDefinition",
            "Register the sub-workflow on its own",
        ),
        (
            typed("SUB_WORKFLOW", subWorkflowParam={"name": "x", "priority": 3}),
            "$.tasks[0].subWorkflowParam.priority",
            "gRPC has no field",
        ),
        (typed("TERMINATE"), "$.tasks[0].inputParameters.terminationStatus", "COMPLETED, FAILED or"),
        (
            typed("TERMINATE", optional=True, inputParameters={"terminationStatus": "FAILED"}),
            "$.tasks[0].optional",
            "cannot be optional",
        ),
        (
            typed("WAIT", inputParameters={"duration": "1 s", "until": "2030-01-01"}),
            "$.tasks[0].inputParameters",
            "not both",
        ),
        (typed("WAIT", taskDefinition={"name": "t"}), "$.tasks[0].taskDefinition", "does not complete on server"),
        (typed("HTTP", taskDefinition={"name": "t"}), "$.tasks[0].taskDefinition", "would wait for ever"),
        (
            workflow({**STEP, "onStateChange": {"onStart": []}}),
            "$.tasks[0].onStateChange",
            "register the workflow by REST",
        ),
        (
            workflow({**STEP, "dynamicForkJoinTasksParam": "p"}),
            "$.tasks[0].dynamicForkJoinTasksParam",
            "use dynamicForkTasksParam",
        ),
        (
            typed(
                "SWITCH",
                evaluatorType="e",
                expression="e",
                decisionCases={"b c": [{"name": "t", "taskReferenceName": ""}]},
            ),
            "$.tasks[0].decisionCases['b c'][0].taskReferenceName",
            "needs a reference name",
        ),
        (
            typed("FORK_JOIN", forkTasks=[[{**STEP, "taskReferenceName": "x"}], [{**STEP, "typ": "SIMPLE"}]]),
            "$.tasks[0].forkTasks[1][0].typ",
            "did you mean 'type'?",
        ),
        (typed("FORK_JOIN", forkTasks=[STEP]), "$.tasks[0].forkTasks[0]", "expected a list, got the object"),
        (
            workflow(inputSchema={"name": "s", "data": {"a": 1}}),
            "$.inputSchema.data",
            "register the schema itself by REST",
        ),
    ],
)
def test_a_bad_workflow_definition_is_refused_with_its_place(definition, path: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        workflow_definition_to_proto(definition)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_expressions_that_are_no_reference_to_a_task_pass() -> None:
    inputs = {"a": "${workflow.input.x}", "b": "$${nobody.x}", "c": "${HOME}", "d": "{nobody.x}", "e": "${r.output}"}
    assert workflow_definition_to_proto(workflow({**STEP, "inputParameters": inputs})).tasks


def test_the_definition_given_is_not_changed() -> None:
    given = workflow({**STEP, "taskDefinition": {"name": "t"}}, version=None)
    before = copy.deepcopy(given)
    workflow_definition_to_proto(given)
    assert given == before


def test_json_and_proto_round_trip() -> None:
    given = workflow(
        {**STEP, "inputParameters": {"a": [1, {"b": None}]}, "taskDefinition": {"name": "t"}},
        {
            "name": "s",
            "taskReferenceName": "s",
            "type": "SWITCH",
            "evaluatorType": "javascript",
            "expression": "$.x",
            "decisionCases": CASES,
        },
        {
            "name": "u",
            "taskReferenceName": "u",
            "type": "SUB_WORKFLOW",
            "subWorkflowParam": {"name": "x", "workflowDefinition": "${workflow.input.d}", "taskToDomain": {"*": "d"}},
        },
        rateLimitConfig={"rateLimitKey": "k", "policy": "REJECT"},
        failureWorkflow="f",
        failureWorkflowVersion=2,
    )
    message = workflow_definition_to_proto(given)
    exported = workflow_definition_to_json(message)
    assert workflow_definition_to_proto(exported) == message
    json.dumps(exported)
    assert exported["tasks"][0]["inputParameters"] == {"a": [1, {"b": None}]}
    assert exported["tasks"][2]["subWorkflowParam"] == {
        "name": "x",
        "taskToDomain": {"*": "d"},
        "workflowDefinition": "${workflow.input.d}",
    }
    assert "retryCount" not in exported["tasks"][0]
    assert "description" not in exported


def test_an_exported_task_spells_out_what_is_off() -> None:
    exported = task_definition_to_json(task_definition_to_proto({"name": "t", "retryCount": 0}))
    assert (exported["retryCount"], exported["timeoutPolicy"], exported["inputKeys"]) == (0, "TIME_OUT_WF", [])
    assert "concurrentExecLimit" not in exported


def test_an_enum_number_without_a_name_stays_a_number() -> None:
    message = task_definition_to_proto({"name": "t"})
    message.retry_logic = 9  # type: ignore[assignment]
    assert task_definition_to_json(message)["retryLogic"] == 9


def test_a_task_of_the_server_is_converted_leniently() -> None:
    message = workflow_task_to_proto(
        {
            "name": "t",
            "taskReferenceName": "r",
            "type": "SUB_WORKFLOW",
            "inputParameters": {"n": 2**60, "x": "${elsewhere.output}"},
            "onStateChange": {"onStart": [{}]},
            "subWorkflowParam": {"name": "x", "priority": 1, "workflowDefinition": {"name": "x"}},
            "newerThanThisClient": True,
        }
    )
    assert message.sub_workflow_param.name == "x"
    assert message.input_parameters["n"].string_value == str(2**60)
    with pytest.raises(DefinitionError, match=r"\$\.retryCount"):
        workflow_task_to_proto({"name": "t", "retryCount": "many"})


HANDLER = {
    "name": "h",
    "event": "conductor:w:t",
    "actions": [{"action": "START_WORKFLOW", "startWorkflow": {"name": "w", "version": 1, "input": {"a": 1}}}],
}


def test_an_event_handler_round_trips() -> None:
    message = event_handler_to_proto({**HANDLER, "active": True, "createTime": 5})
    assert message.actions[0].start_workflow.input["a"].number_value == 1
    assert event_handler_to_proto(event_handler_to_json(message)) == message


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, "$.name"),
        ({"event": None}, "$.event"),
        ({"actions": []}, "$.actions"),
        ({"actions": [{"action": "FAIL_TASK"}]}, "$.actions[0].failTask"),
        ({"actions": [{"startWorkflow": {"name": "w"}}]}, "$.actions[0].startWorkflow.version"),
        (
            {"actions": [{"startWorkflow": {"name": "w", "version": 1, "inputMessage": {}}}]},
            "$.actions[0].startWorkflow.inputMessage",
        ),
    ],
)
def test_a_bad_event_handler_is_refused_with_its_place(change: dict[str, object], path: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        event_handler_to_proto({**HANDLER, **change})
    assert caught.value.path == path
