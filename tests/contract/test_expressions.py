"""Expressions: what the inputs of tasks and the output of a workflow are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from definition_calls import UNEXPLAINED
from wire import error_of, plain, simple, task_of

if TYPE_CHECKING:
    from server_under_test import ServerUnderTest

GIVEN = {
    "n": 5,
    "f": 1.5,
    "big": 1e20,
    "small": 1e-7,
    "yes": True,
    "null": None,
    "text": "str",
    "key": "text",
    "expression": "${workflow.input.n}",
    "quotes": 'say "hi" \\ \n',
    "accent": "é✓",
    "list": [1, "a", None, {"k": 2.5}],
    "map": {"a": {"b": "deep"}},
    "rows": [{"k": "v1", "z": 1}, {"k": "v2", "z": 2}],
    "empty": {"map": {}, "list": []},
    "with-dash": "dash",
    "with.dot": "dot",
    "with blank": "blank",
}
LIST = [1.0, "a", None, {"k": 2.5}]
ROWS = [{"k": "v1", "z": 1.0}, {"k": "v2", "z": 2.0}]


def evaluated(server: ServerUnderTest, template: Any) -> Any:
    """What a task gets for an input parameter, in a workflow that was started with GIVEN."""
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, "self", input_parameters={"it": template})), GIVEN)
    return plain(server.take(task_type).input_data)["it"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("${workflow.input.n}", 5.0),
        ("${workflow.input.big}", 1e20),
        ("${workflow.input.yes}", True),
        ("${workflow.input.null}", None),
        ("${workflow.input.text}", "str"),
        ("${workflow.input.list}", LIST),
        ("${workflow.input.map}", {"a": {"b": "deep"}}),
        ("${workflow.input.empty}", {"map": {}, "list": []}),
        ("${workflow.input.quotes}", 'say "hi" \\ \n'),
        ("${workflow.input.accent}", "é✓"),
    ],
)
def test_an_expression_alone_keeps_the_type(server: ServerUnderTest, expression: str, value: Any) -> None:
    found = evaluated(server, expression)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("map.a.b", "deep"),
        ("['n']", 5.0),
        ("map['a']['b']", "deep"),
        ("list[0]", 1.0),
        ("list[3].k", 2.5),
        ("list[-1]", {"k": 2.5}),
        ("list[0:2]", [1.0, "a"]),
        ("list[*]", LIST),
        ("rows[1].k", "v2"),
        ("rows[*].k", ["v1", "v2"]),
        ("with-dash", "dash"),
        ("['with.dot']", "dot"),
        ("['with blank']", "blank"),
    ],
)
def test_a_path_into_the_input(server: ServerUnderTest, path: str, value: Any) -> None:
    separator = "" if path.startswith("[") else "."
    assert evaluated(server, f"${{workflow.input{separator}{path}}}") == value


@pytest.mark.differs("embedded", "an expression with a filter or a deep scan in its JsonPath is refused")
@pytest.mark.parametrize(
    ("path", "value"),
    [("rows[?(@.k == 'v1')].z", [1.0]), ("rows[?(@.z > 1)].k", ["v2"]), (".b", ["deep"])],
)
def test_a_path_that_searches(server: ServerUnderTest, path: str, value: Any) -> None:
    if server.name == "embedded":
        assert (
            "does not evaluate this JsonPath"
            in error_of(lambda: evaluated(server, f"${{workflow.input.{path}}}")).details
        )
    else:
        assert evaluated(server, f"${{workflow.input.{path}}}") == value


@pytest.mark.parametrize(
    "path",
    [
        "workflow.input.missing",
        "workflow.input.n.a.b",
        "workflow.input.list[9]",
        "workflow.input.rows.k",
        "workflow.missing",
        "self.output.x",
        "self.status",
        "workflow.variables.v",
        "workflow.parentWorkflowId",
    ],
)
def test_what_is_missing_is_null(server: ServerUnderTest, path: str) -> None:
    assert evaluated(server, f"${{{path}}}") is None


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("n=${workflow.input.n}", "n=5.0"),
        ("<${workflow.input.f}>", "<1.5>"),
        ("<${workflow.input.big}>", "<1.0E20>"),
        ("<${workflow.input.small}>", "<1.0E-7>"),
        ("<${workflow.input.yes}>", "<true>"),
        ("<${workflow.input.null}>", "<null>"),
        ("<${workflow.input.missing}>", "<null>"),
        ("<${workflow.input.list}>", "<[1.0, a, null, {k=2.5}]>"),
        ("<${workflow.input.map}>", "<{a={b=deep}}>"),
        ("<${workflow.input.empty.map}${workflow.input.empty.list}>", "<{}[]>"),
        ("<${workflow.input.quotes}>", '<say "hi" \\ \n>'),
        ("<${workflow.input.accent}>", "<é✓>"),
        ("${workflow.input.text}-${workflow.input.text}", "str-str"),
        ("${workflow.input.text}${workflow.input.n}", "str5.0"),
        ("${workflow.input.n} ", "5.0 "),
        ("v${workflow.version}", "v1"),
    ],
)
def test_an_expression_within_a_text_is_written_as_java_does(server: ServerUnderTest, template: str, text: str) -> None:
    assert evaluated(server, template) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$${workflow.input.n}", "${workflow.input.n}"),
        ("a $${workflow.input.n} b ${workflow.input.text}", "a ${workflow.input.n} b str"),
        ("cost $5", "cost $5"),
        ("$ {x}", "$ {x}"),
        ("${workflow.input.n", "${workflow.input.n"),
    ],
)
def test_what_is_no_expression_stays(server: ServerUnderTest, template: str, text: str) -> None:
    assert evaluated(server, template) == text


@pytest.mark.parametrize(
    "template", ["${workflow.input.${workflow.input.key}}", "v=${workflow.input.${workflow.input.key}}!"]
)
def test_an_expression_in_an_expression(server: ServerUnderTest, template: str) -> None:
    assert evaluated(server, template) in ("str", "v=str!")


def test_an_expression_that_comes_from_a_value_is_not_evaluated(server: ServerUnderTest) -> None:
    assert evaluated(server, "${workflow.input.expression}") == "${workflow.input.n}"


def test_maps_and_lists_are_walked(server: ServerUnderTest) -> None:
    template = {
        "a": "${workflow.input.n}",
        "b": ["${workflow.input.text}", {"c": "${workflow.input.missing}"}, 5, None],
    }
    assert evaluated(server, template) == {"a": 5.0, "b": ["str", {"c": None}, 5.0, None]}


def test_constants_keep_their_types(server: ServerUnderTest) -> None:
    template = {"n": 5, "yes": True, "null": None, "text": "", "map": {}, "list": []}
    assert evaluated(server, template) == {**template, "n": 5.0}


def test_keys_are_not_evaluated(server: ServerUnderTest) -> None:
    template = {"${workflow.input.text}": "v"}
    assert evaluated(server, template) == template


def test_what_a_workflow_tells_of_itself(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    keys = ["workflowId", "workflowType", "status", "correlationId", "reasonForIncompletion"]
    node = simple(task_type, input_parameters={key: f"${{workflow.{key}}}" for key in keys})
    name = server.workflow(node)
    workflow_id = server.start(name, correlation_id="order 7")
    assert plain(server.take(task_type).input_data) == {
        "workflowId": workflow_id,
        "workflowType": name,
        "status": "RUNNING",
        "correlationId": "order 7",
        "reasonForIncompletion": None,
    }


def test_what_a_task_tells_of_itself(server: ServerUnderTest) -> None:
    """Counts are integers, which only a text can carry over gRPC."""
    one, two = server.task_definition(), server.task_definition()
    keys = [
        "taskId",
        "taskType",
        "taskDefName",
        "referenceTaskName",
        "status",
        "workflowInstanceId",
        "workerId",
        "input",
        "output",
        "missing",
    ]
    inputs = {key: f"${{one.{key}}}" for key in keys}
    inputs["counts"] = "${one.retryCount} ${one.pollCount} ${one.iteration} ${one.callbackAfterSeconds}"
    name = server.workflow(simple(one, "one", input_parameters={"a": "b"}), simple(two, "two", input_parameters=inputs))
    workflow_id = server.start(name)
    task = server.take(one, worker="worker 7")
    server.complete(task, x=[1])
    assert plain(server.take(two).input_data) == {
        "taskId": task.task_id,
        "taskType": one,
        "taskDefName": one,
        "referenceTaskName": "one",
        "status": "COMPLETED",
        "workflowInstanceId": workflow_id,
        "workerId": "worker 7",
        "input": {"a": "b"},
        "output": {"x": [1.0]},
        "missing": None,
        "counts": "0 1 0 0",
    }


def test_an_expression_reads_the_latest_attempt(server: ServerUnderTest) -> None:
    one, two = server.task_definition(retry_count=1), server.task_definition()
    follower = simple(two, "two", input_parameters={"x": "${one.output.x}", "count": "no. ${one.retryCount}"})
    server.start(server.workflow(simple(one, "one"), follower))
    server.update(server.take(one), "FAILED", {"x": "first"})
    server.complete(server.take(one), x="second")
    assert plain(server.take(two).input_data) == {"x": "second", "count": "no. 1"}


def test_an_integer_poisons_the_task_that_gets_it(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    server.start(server.workflow(simple(task_type, input_parameters={"v": "${workflow.version}"})))
    failure = error_of(lambda: server.take(task_type))
    assert (failure.details, failure.java_class) == ("cannot map to Value type: 1", "ClassCastException")


# -- the output of a workflow --


def test_the_output_is_made_of_the_output_parameters(server: ServerUnderTest) -> None:
    parameters = {
        "task": "${one.output.x}",
        "input": "${workflow.input.text}",
        "constant": 5,
        "missing": "${one.output.missing}",
        "deep": [{"text": "x=${one.output.x}"}],
        "status": "${workflow.status}",
    }
    task_type = server.task_definition()
    workflow_id = server.start(server.workflow(simple(task_type, "one"), output_parameters=parameters), GIVEN)
    server.complete(server.take(task_type), x=7)
    assert plain(server.get(workflow_id).output) == {
        "task": 7.0,
        "input": "str",
        "constant": 5.0,
        "missing": None,
        "deep": [{"text": "x=7.0"}],
        "status": "RUNNING",
    }


def test_without_output_parameters_it_is_the_last_tasks(server: ServerUnderTest) -> None:
    one, two = server.task_definition(), server.task_definition()
    workflow_id = server.start(server.workflow(simple(one, "one"), simple(two, "two")))
    server.complete(server.take(one), x="1")
    server.complete(server.take(two), y=["2"])
    assert plain(server.get(workflow_id).output) == {"y": ["2"]}


def test_the_output_of_a_failed_workflow(server: ServerUnderTest) -> None:
    task_type = server.task_definition()
    parameters = {"x": "${one.output.x}", "y": "${one.output.y}"}
    workflow_id = server.start(server.workflow(simple(task_type, "one"), output_parameters=parameters))
    server.update(server.take(task_type), "FAILED", {"x": "partial"})
    assert plain(server.get(workflow_id).output) == {"x": "partial", "y": None}


# -- what CreateWorkflow refuses --


@pytest.mark.parametrize(
    "template", ["${}", "a${}b", "${ workflow.input.n }", "${workflow.input.[}", "${nope.output.x}", "${nope}"]
)
def test_an_expression_that_cannot_be_meant_is_refused(server: ServerUnderTest, template: str) -> None:
    node = task_of("SIMPLE", "one", name=server.task_definition(), input_parameters={"it": template})
    assert error_of(lambda: server.workflow(node)) == UNEXPLAINED
