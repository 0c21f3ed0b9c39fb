"""SET_VARIABLE and the variables of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_tasks import set_variable, task_named
from wire import plain, simple, status

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def test_variables_are_set_with_their_types(server: ServerUnderTest) -> None:
    given = {"text": "a", "number": 5, "bool": True, "null": None, "list": [1, {"k": []}], "map": {"k": None}}
    workflow = server.get(server.start(server.workflow(set_variable("set", **given))))
    assert plain(workflow.variables) == {**given, "number": 5.0, "list": [1.0, {"k": []}]}


def test_a_workflow_of_variables_alone_completes_at_once(server: ServerUnderTest) -> None:
    workflow = server.get(server.start(server.workflow(set_variable("set", a="1"))))
    assert (status(workflow), plain(workflow.output)) == ("COMPLETED", {})


def test_the_task_has_what_was_set_as_input_and_no_output(server: ServerUnderTest) -> None:
    name = server.workflow(set_variable("set", a="${workflow.input.a}"))
    task = task_named(server.get(server.start(name, {"a": "1"})), "set")
    assert (task.task_type, status(task)) == ("SET_VARIABLE", "COMPLETED")
    assert (plain(task.input_data), plain(task.output_data)) == ({"a": "1"}, {})


def test_a_definition_gives_the_first_values(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = simple(task_type, input_parameters={"v": "${workflow.variables.v}"})
    workflow_id = server.start(server.workflow(node, variables={"v": "first"}))
    assert plain(server.take(task_type).input_data) == {"v": "first"}
    assert plain(server.get(workflow_id).variables) == {"v": "first"}


def test_a_later_value_replaces_the_one_before_and_leaves_the_others(server: ServerUnderTest) -> None:
    tasks = (
        set_variable("one", a="1", b={"deep": "1"}),
        set_variable("two", b={"other": "2"}, c="${workflow.variables.a}"),
    )
    workflow = server.get(server.start(server.workflow(*tasks)))
    assert plain(workflow.variables) == {"a": "1", "b": {"other": "2"}, "c": "1"}


def test_what_comes_after_reads_them(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    name = server.workflow(
        simple(one, "one"),
        set_variable("set", v="${one.output.x}"),
        simple(two, "two", input_parameters={"v": "${workflow.variables.v}", "all": "${workflow.variables}"}),
        output_parameters={"v": "${workflow.variables.v}"},
    )
    workflow_id = server.start(name)
    server.complete(server.take(one), x="1")
    task = server.take(two)
    assert plain(task.input_data) == {"v": "1", "all": {"v": "1"}}
    server.complete(task)
    assert plain(server.get(workflow_id).output) == {"v": "1"}


def test_a_variable_that_nobody_set_is_null(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, input_parameters={"v": "${workflow.variables.v}"})))
    assert plain(server.take(task_type).input_data) == {"v": None}
