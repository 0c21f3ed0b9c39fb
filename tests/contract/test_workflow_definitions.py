"""Workflow definitions: versions, replacing, validating, and what comes back of a full one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from definition_calls import (
    UNEXPLAINED,
    create_workflow,
    no_such_definition,
    stored_workflow,
    update_workflows,
    validate_workflow,
)
from wire import branch, error_of, simple, task_of, value, values

from conductor_grpc.pb.model.cacheconfig_pb2 import CacheConfig
from conductor_grpc.pb.model.ratelimitconfig_pb2 import RateLimitConfig
from conductor_grpc.pb.model.schemadef_pb2 import SchemaDef
from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest
    from wire import Failure


def not_stored(server: ServerUnderTest, name: str, version: int = 0) -> Failure:
    return error_of(lambda: stored_workflow(server, name, version))


def some_tasks() -> list:
    """A task of each type that the embedded server runs, with a value in every field that such a task may have."""
    return [
        simple(
            "worker",
            "first",
            description="d",
            input_parameters={"a": "${workflow.input.size}", "n": 3, "nothing": None, "deep": {"l": [1, {}, []]}},
            start_delay=1,
            optional=True,
            rate_limited=True,
            async_complete=True,
            retry_count=2,
            permissive=True,
            cache_config=CacheConfig(key="k", ttl_in_second=3),
            metadata=values({"a": "b"}),
            join_mode="SYNC",
            task_definition=TaskDef(name="worker", description="embedded", input_template=values({"t": 1})),
        ),
        task_of(
            "SWITCH",
            "switch",
            evaluator_type="value-param",
            expression="which",
            input_parameters={"which": "a"},
            decision_cases={
                "a": branch(simple("worker", "case_a")),
                "b c": branch(
                    task_of(
                        "SWITCH",
                        "inner",
                        evaluator_type="value-param",
                        expression="x",
                        decision_cases={"1": branch(simple("worker", "deep", retry_count=0))},
                    )
                ),
                "empty": branch(),
            },
            default_case=[simple("worker", "otherwise")],
        ),
        task_of(
            "FORK_JOIN",
            "fork",
            fork_tasks=[
                branch(simple("worker", "left")),
                branch(simple("worker", "right"), simple("worker", "right2")),
            ],
        ),
        task_of("JOIN", "join", join_on=["left", "right2"]),
        task_of("DO_WHILE", "loop", loop_condition="$.loop['iteration'] < 3", loop_over=[simple("worker", "again")]),
        task_of(
            "SUB_WORKFLOW",
            "sub",
            sub_workflow_param=SubWorkflowParams(name="other", version=2, task_to_domain={"*": "mine"}),
        ),
        task_of("SUB_WORKFLOW", "sub_latest", sub_workflow_param=SubWorkflowParams(name="other")),
        task_of("WAIT", "wait", input_parameters={"duration": "1 s"}),
        task_of("SET_VARIABLE", "set", input_parameters={"v": 1}),
        task_of("HUMAN", "human"),
        task_of("TERMINATE", "end", input_parameters={"terminationStatus": "COMPLETED"}),
    ]


def test_a_workflow_definition_is_read_back_as_it_was_sent(server) -> None:
    sent = server.workflow_definition(
        *some_tasks(),
        description="every field has a value that is no default",
        version=3,
        failure_workflow="other",
        failure_workflow_version=2,
        timeout_policy="TIME_OUT_WF",
        timeout_seconds=55,
        variables={"count": 1},
        input_template={"size": 2, "deep": {"list": [1, "x", None]}},
        input_parameters=["size"],
        output_parameters={"result": "${first.output}", "constant": 4},
        restartable=False,
        workflow_status_listener_enabled=True,
        workflow_status_listener_sink="sink",
        rate_limit_config=RateLimitConfig(rate_limit_key="key", concurrent_exec_limit=2, policy="REJECT"),
        input_schema=SchemaDef(name="in", version=2, type="AVRO"),
        output_schema=SchemaDef(name="out", version=1),
        enforce_schema=False,
        metadata={"team": "a"},
        cache_config=CacheConfig(key="k", ttl_in_second=4),
        masked_fields=["secret"],
    )
    create_workflow(server, sent)
    assert stored_workflow(server, sent.name) == sent


def test_the_child_of_a_sub_workflow_may_be_an_expression(server) -> None:
    child = SubWorkflowParams(name="other", workflow_definition=value("${workflow.input.definition}"))
    sent = server.workflow_definition(task_of("SUB_WORKFLOW", "sub", sub_workflow_param=child))
    create_workflow(server, sent)
    assert stored_workflow(server, sent.name) == sent


def test_the_latest_version_is_the_highest_not_the_last_one_created(server) -> None:
    name = server.unique("wf")
    for version in (2, 5, 3):
        create_workflow(server, server.workflow_definition(simple("t"), name=name, version=version))
    assert stored_workflow(server, name).version == 5
    assert stored_workflow(server, name, 3).version == 3


def test_a_workflow_definition_is_created_only_once(server) -> None:
    name = server.workflow(simple("t"), description="first")
    again = server.workflow_definition(simple("t"), name=name, description="second")
    assert error_of(lambda: create_workflow(server, again)) == UNEXPLAINED
    assert stored_workflow(server, name).description == "first"


def test_updating_replaces_this_version_and_no_other(server) -> None:
    name = server.workflow(simple("t"))
    create_workflow(server, server.workflow_definition(simple("t"), name=name, version=2))
    changed = server.workflow_definition(simple("u"), name=name, description="changed")
    update_workflows(server, changed)
    assert stored_workflow(server, name, 1) == changed
    assert stored_workflow(server, name, 2).tasks[0].name == "t"


def test_updating_adds_what_is_not_there(server) -> None:
    new = [server.workflow_definition(simple("t"), description=text) for text in ("one", "two")]
    update_workflows(server, *new)
    assert [stored_workflow(server, each.name) for each in new] == new


def test_of_two_updates_of_one_workflow_in_a_request_the_later_is_kept(server) -> None:
    name = server.unique("wf")
    update_workflows(
        server, *(server.workflow_definition(simple("t"), name=name, description=text) for text in ("one", "two"))
    )
    assert stored_workflow(server, name).description == "two"


def test_one_bad_update_spoils_the_whole_request(server) -> None:
    good = server.workflow_definition(simple("t"))
    bad = server.workflow_definition(simple("t"), simple("t"))
    assert error_of(lambda: update_workflows(server, good, bad)) == UNEXPLAINED
    assert not_stored(server, good.name) == no_such_definition(good.name)


def test_updating_no_workflow_at_all_is_refused(server) -> None:
    assert error_of(lambda: update_workflows(server)) == UNEXPLAINED


def test_validating_stores_nothing(server) -> None:
    definition = server.workflow_definition(simple("t"))
    validate_workflow(server, definition)
    assert not_stored(server, definition.name) == no_such_definition(definition.name)


def test_what_exists_is_still_valid(server) -> None:
    definition = server.workflow_definition(simple("t"))
    create_workflow(server, definition)
    validate_workflow(server, definition)


@pytest.mark.parametrize("version", [0, 9, -1])
def test_an_unknown_workflow_definition_is_not_found(server, version: int) -> None:
    name = server.unique("wf")
    assert not_stored(server, name, version) == no_such_definition(name)


@pytest.mark.parametrize("version", [9, -1])
def test_an_unknown_version_is_not_found(server, version: int) -> None:
    name = server.workflow(simple("t"))
    assert not_stored(server, name, version) == no_such_definition(name)


def test_a_workflow_definition_without_a_name_cannot_be_asked_for(server) -> None:
    assert not_stored(server, "") == UNEXPLAINED


def test_an_execution_keeps_the_definition_with_which_it_started(server) -> None:
    task_type = server.task_definition()
    name = server.workflow(simple(task_type), description="as it started")
    workflow_id = server.start(name)
    update_workflows(server, server.workflow_definition(simple("u"), name=name, description="changed since"))
    definition = server.get(workflow_id, tasks=False).workflow_definition
    assert (definition.description, definition.tasks[0].name) == ("as it started", task_type)


def test_the_registered_definition_of_a_task_is_not_written_into_the_workflow_definition(server) -> None:
    name = server.workflow(simple(server.task_definition()))
    server.start(name)
    assert not stored_workflow(server, name).tasks[0].HasField("task_definition")
