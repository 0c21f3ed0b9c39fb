"""How often a DO_WHILE goes round: its condition and its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from control_tasks import do_while
from loops import THREE_TIMES, Loop, iterations
from wire import error_of, plain, simple, status

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


@pytest.mark.parametrize(
    "condition",
    [
        THREE_TIMES,
        "if($.loop['iteration']<3){true;}else{false;}",
        "if ($.loop['iteration'] < 3) true; else false;",
        "if ( $.loop.iteration < 3 ) { true } else { false }",
        "$.loop['iteration'] < 3",
        "$.loop['iteration'] < 3;",
        '$.loop["iteration"] < 3',
        "$.loop.iteration < 3",
        "$.loop['iteration'] <= 2",
        "$.loop['iteration'] != 3",
        "3 > $.loop['iteration']",
        "$.loop['iteration'] < 3 ? true : false",
    ],
)
def test_the_condition_counts(server: ServerUnderTest, condition: str) -> None:
    assert iterations(server, condition) == 3


@pytest.mark.parametrize("condition", ["false", "", "$.loop['iteration'] < 1"])
def test_the_body_runs_at_least_once(server: ServerUnderTest, condition: str) -> None:
    assert iterations(server, condition) == 1


@pytest.mark.parametrize("limit", [2, "2"], ids=repr)
@pytest.mark.parametrize(
    "condition", ["$.loop['iteration'] < $.limit", "if ($.loop.iteration < $.limit) {true;} else {false;}"]
)
def test_the_limit_may_be_an_input_of_the_loop(server: ServerUnderTest, condition: str, limit: object) -> None:
    given = {"input_parameters": {"limit": "${workflow.input.limit}"}, "workflow_input": {"limit": limit}}
    assert iterations(server, condition, **given) == 2


def test_a_limit_that_is_missing_ends_the_loop(server: ServerUnderTest) -> None:
    assert iterations(server, "$.loop['iteration'] < $.limit") == 1


@pytest.mark.parametrize("condition", ["$.body['n'] < 2", "if ($.body.n < 2) { true; } else { false; }"])
def test_the_condition_may_look_at_an_output_of_the_body(server: ServerUnderTest, condition: str) -> None:
    assert iterations(server, condition) == 2


@pytest.mark.differs("embedded", "a DO_WHILE condition that does not count is refused: there is no JavaScript in it")
@pytest.mark.parametrize("condition", ["$.nope.x < 3", "nope(", "${loop.output.iteration} < 3"])
def test_a_condition_that_cannot_be_evaluated_fails_the_loop(server: ServerUnderTest, condition: str) -> None:
    task_type = server.task_definition()
    if server.name == "embedded" and condition != "$.nope.x < 3":
        body = simple(task_type, "body")
        refusal = error_of(lambda: server.workflow(do_while("loop", condition, body)))
        assert "needs JavaScript" in refusal.details
        return
    loop = Loop(server, condition, simple(task_type, "body"))
    server.complete(server.take(task_type))
    workflow = server.get(loop.id, tasks=False)
    assert (status(workflow), list(workflow.failed_reference_task_names)) == ("FAILED", ["loop"])
    assert f"Unable to evaluate condition {condition}, exception Error" in workflow.reason_for_incompletion


# -- items --


def test_the_items_of_a_list(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    inputs = {"item": "${loop.output.loopItem}", "text": "${loop.output.loopIndex}: ${loop.output.iteration}"}
    body = simple(task_type, "a", input_parameters=inputs)
    items = ["x", 2, None, {"k": []}]
    loop = Loop(server, "", body, items="${workflow.input.items}", workflow_input={"items": items})
    seen = []
    for _ in items:
        task = server.take(task_type)
        seen.append(plain(task.input_data))
        server.complete(task)
    assert seen == [
        {"item": "x", "text": "0: 1"},
        {"item": 2.0, "text": "1: 2"},
        {"item": None, "text": "2: 3"},
        {"item": {"k": []}, "text": "3: 4"},
    ]
    loop.last()


@pytest.mark.parametrize("items", [[], None], ids=repr)
def test_no_items_no_iteration(server: ServerUnderTest, items: object) -> None:
    task_type = server.task_definition()
    given = {"items": "${workflow.input.items}", "workflow_input": {"items": items}}
    loop = Loop(server, "", simple(task_type, "a"), last_input={"text": "${loop.output.iteration}x"}, **given)
    assert loop.last() == {"text": "0x"}
    assert server.poll(task_type, wait=-1) == []


@pytest.mark.parametrize("items", ["text", {"k": "v"}], ids=repr)
def test_what_is_no_list_is_one_item(server: ServerUnderTest, items: object) -> None:
    task_type = server.task_definition()
    body = simple(task_type, "a", input_parameters={"item": "${loop.output.loopItem}"})
    loop = Loop(server, "", body, items="${workflow.input.items}", workflow_input={"items": items})
    task = server.take(task_type)
    assert plain(task.input_data) == {"item": items}
    server.complete(task)
    loop.last()


@pytest.mark.parametrize(("condition", "count"), [("$.loop['iteration'] < 2", 2), ("false", 1), ("true", 3)])
def test_items_and_a_condition(server: ServerUnderTest, condition: str, count: int) -> None:
    given = {"items": "${workflow.input.items}", "workflow_input": {"items": ["a", "b", "c"]}}
    assert iterations(server, condition, **given) == count
