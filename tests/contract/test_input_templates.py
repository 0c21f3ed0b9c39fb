"""Input templates of workflows and of tasks: values for what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from wire import plain, simple, values

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

TEMPLATE = {"a": "template", "b": {"x": 1, "y": 2}, "c": [1]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"other": "given"}, {"other": "given", **TEMPLATE}),
        ({"a": "given"}, {**TEMPLATE, "a": "given"}),
        ({"a": None}, TEMPLATE),
        ({"b": {"x": 9}}, {**TEMPLATE, "b": {"x": 9}}),
        ({"c": []}, {**TEMPLATE, "c": []}),
        ({"a": ""}, {**TEMPLATE, "a": ""}),
    ],
    ids=str,
)
def test_a_workflow_template_fills_in_what_is_missing_or_null(
    server: ServerUnderTest, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    name = server.workflow(simple(server.task_definition()), input_template=TEMPLATE)
    assert plain(server.get(server.start(name, given)).input) == expected


def test_a_workflow_template_does_nothing_for_an_empty_input(server: ServerUnderTest) -> None:
    name = server.workflow(simple(server.task_definition()), input_template=TEMPLATE)
    assert plain(server.get(server.start(name, {})).input) == {}


def test_tasks_see_what_the_workflow_template_filled_in(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = simple(task_type, input_parameters={"a": "${workflow.input.a}"})
    server.start(server.workflow(node, input_template=TEMPLATE), {"other": "given"})
    assert plain(server.take(task_type).input_data) == {"a": "template"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, TEMPLATE),
        ({"other": "given"}, {"other": "given", **TEMPLATE}),
        ({"a": "given"}, {**TEMPLATE, "a": "given"}),
        ({"a": None}, TEMPLATE),
        ({"a": "${workflow.input.missing}"}, TEMPLATE),
        ({"b": {"x": 9}}, {**TEMPLATE, "b": {"x": 9}}),
    ],
    ids=str,
)
def test_a_task_template_fills_in_what_is_missing_or_null(
    server: ServerUnderTest, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    task_type = server.task_definition(input_template=values(TEMPLATE))
    server.start(server.workflow(simple(task_type, input_parameters=given)))
    assert plain(server.take(task_type).input_data) == expected


@pytest.mark.parametrize("inputs", [{}, {"other": "given"}], ids=str)
def test_an_expression_in_a_task_template_is_evaluated(server: ServerUnderTest, inputs: dict[str, Any]) -> None:
    task_type = server.task_definition(input_template=values({"a": "${workflow.input.a}"}))
    server.start(server.workflow(simple(task_type, input_parameters=inputs)), {"a": "1"})
    assert plain(server.take(task_type).input_data) == {"a": "1", **inputs}


def test_an_expression_in_a_task_template_stays_where_an_input_gives_null(server: ServerUnderTest) -> None:
    task_type = server.task_definition(input_template=values({"a": "${workflow.input.a}"}))
    server.start(server.workflow(simple(task_type, input_parameters={"a": "${workflow.input.missing}"})), {"a": "1"})
    assert plain(server.take(task_type).input_data) == {"a": "${workflow.input.a}"}


@pytest.mark.parametrize("inputs", [{}, {"other": "given"}], ids=str)
def test_an_expression_in_a_task_template_that_gives_null_stays(
    server: ServerUnderTest, inputs: dict[str, Any]
) -> None:
    """The template fills in what is null, with itself as it is written."""
    task_type = server.task_definition(input_template=values({"a": "${workflow.input.a}"}))
    server.start(server.workflow(simple(task_type, input_parameters=inputs)))
    assert plain(server.take(task_type).input_data) == {"a": "${workflow.input.a}", **inputs}
