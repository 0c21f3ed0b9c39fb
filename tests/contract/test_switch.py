"""SWITCH with the value-param evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_tasks import references, states, switch, task_named
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, status, task_of

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest


def test_a_match_schedules_the_tasks_of_its_case(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "${workflow.input.v}", {"yes": [simple(task_type, "a")], "no": [simple(task_type, "b")]})
    workflow_id = server.start(server.workflow(node), {"v": "no"})
    assert states(server.get(workflow_id)) == {"switch": "COMPLETED", "b": "SCHEDULED"}


def test_no_match_schedules_the_default_case(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "other", {"yes": [simple(task_type, "a")]}, [simple(task_type, "b")])
    assert references(server.get(server.start(server.workflow(node)))) == ["switch", "b"]


def test_no_match_without_a_default_case_goes_on(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "other", {"yes": [simple(task_type, "a")]})
    name = server.workflow(node, simple(task_type, "next", input_parameters={"from": "${a.output.x}"}))
    workflow_id = server.start(name)
    assert plain(server.take(task_type).input_data) == {"from": None}
    assert references(server.get(workflow_id)) == ["switch", "next"]


def test_no_match_at_the_end_completes_the_workflow(server: ServerUnderTest) -> None:
    """At once, with the output of the last task, which is the SWITCH's."""
    node = switch("switch", "other", {"yes": [simple(server.task_definition(), "a")]})
    workflow = server.get(server.start(server.workflow(node)))
    assert status(workflow) == "COMPLETED"
    assert plain(workflow.output) == {"evaluationResult": ["other"], "selectedCase": "other"}


def test_a_matching_case_without_tasks_is_not_the_default_case(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "yes", {"yes": []}, [simple(task_type, "default")])
    workflow_id = server.start(server.workflow(node, simple(task_type, "next")))
    assert references(server.get(workflow_id)) == ["switch", "next"]


def test_a_switch_tells_about_itself(server: ServerUnderTest) -> None:
    node = switch("switch", "yes", {"yes": [simple(server.task_definition(), "a")]})
    task = task_named(server.get(server.start(server.workflow(node))), "switch")
    assert (task.task_type, status(task), task.executed) == ("SWITCH", "COMPLETED", True)
    assert plain(task.input_data) == {"value": "yes", "case": "yes", "hasChildren": "true"}
    assert plain(task.output_data) == {"evaluationResult": ["yes"], "selectedCase": "yes"}


def test_a_switch_without_a_taken_case_has_no_children(server: ServerUnderTest) -> None:
    node = switch("switch", "no", {"yes": [simple(server.task_definition(), "a")]})
    task = task_named(server.get(server.start(server.workflow(node))), "switch")
    assert plain(task.input_data) == {"value": "no", "case": "no"}


def test_a_switch_needs_cases(server: ServerUnderTest) -> None:
    node = task_of("SWITCH", "switch", evaluator_type="value-param", expression="value")
    assert error_of(lambda: server.workflow(node)) == UNEXPLAINED
