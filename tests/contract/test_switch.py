"""SWITCH with the value-param evaluator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
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


@pytest.mark.parametrize(
    ("value", "case"),
    [
        (5, "5.0"),  # a number is a Java Double
        (5.5, "5.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ("", ""),
        ([1, "a"], "[1.0, a]"),
        ({"k": 1}, "{k=1.0}"),
    ],
    ids=repr,
)
def test_a_value_is_compared_as_the_text_that_java_makes_of_it(server: ServerUnderTest, value: Any, case: str) -> None:
    task_type = server.task_definition()
    node = switch("switch", "${workflow.input.v}", {case: [simple(task_type, "a")]}, [simple(task_type, "b")])
    workflow = server.get(server.start(server.workflow(node), {"v": value}))
    assert references(workflow) == ["switch", "a"]
    assert plain(workflow.tasks[0].output_data) == {"evaluationResult": [case], "selectedCase": case}


def test_a_whole_number_does_not_match_its_digits(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "${workflow.input.v}", {"5": [simple(task_type, "a")]}, [simple(task_type, "b")])
    assert references(server.get(server.start(server.workflow(node), {"v": 5}))) == ["switch", "b"]


def test_a_missing_parameter_is_null(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "unused", {"null": [simple(task_type, "a")]})
    node.input_parameters.clear()
    assert references(server.get(server.start(server.workflow(node)))) == ["switch", "a"]


def test_the_text_of_case_matters(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "Yes", {"yes": [simple(task_type, "a")]}, [simple(task_type, "b")])
    assert references(server.get(server.start(server.workflow(node)))) == ["switch", "b"]


def test_the_tasks_of_a_case_come_one_after_the_other_and_then_what_follows(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "yes", {"yes": [simple(task_type, "a"), simple(task_type, "b")]})
    server.start(server.workflow(node, simple(task_type, "next")))
    seen = []
    for _ in range(3):
        task = server.take(task_type)
        seen.append(task.reference_task_name)
        server.complete(task)
    assert seen == ["a", "b", "next"]


def test_a_switch_in_a_case(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    inner = switch("inner", "${a.output.x}", {"deep": [simple(task_type, "b")]})
    outer = switch("outer", "yes", {"yes": [simple(task_type, "a"), inner, simple(task_type, "c")]})
    workflow_id = server.start(server.workflow(outer, simple(task_type, "next")))
    server.complete(server.take(task_type), x="deep")
    for _ in range(3):
        server.complete(server.take(task_type))
    workflow = server.get(workflow_id)
    assert (status(workflow), references(workflow)) == ("COMPLETED", ["outer", "a", "inner", "b", "c", "next"])


def test_what_follows_can_read_the_choice(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    inputs = {"case": "${switch.output.selectedCase}", "result": "${switch.output.evaluationResult}"}
    node = switch("switch", "yes", {"yes": []})
    server.start(server.workflow(node, simple(task_type, "next", input_parameters=inputs)))
    assert plain(server.take(task_type).input_data) == {"case": "yes", "result": ["yes"]}


def test_a_failure_in_a_case_ends_the_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    node = switch("switch", "yes", {"yes": [simple(task_type, "a")]})
    workflow_id = server.start(server.workflow(node, simple(task_type, "next")))
    server.fail(server.take(task_type), "bad")
    workflow = server.get(workflow_id)
    assert (status(workflow), states(workflow)) == ("FAILED", {"switch": "COMPLETED", "a": "FAILED"})


def test_an_unknown_evaluator_fails_the_workflow(server: ServerUnderTest) -> None:
    node = switch("switch", "yes", {"yes": [simple(server.task_definition(), "a")]})
    node.evaluator_type = "nope"
    workflow = server.get(server.start(server.workflow(node)))
    assert (status(workflow), references(workflow)) == ("FAILED", [])
    assert workflow.reason_for_incompletion == "No evaluator registered for type: nope"


def test_a_switch_needs_cases(server: ServerUnderTest) -> None:
    node = task_of("SWITCH", "switch", evaluator_type="value-param", expression="value")
    assert error_of(lambda: server.workflow(node)) == UNEXPLAINED
