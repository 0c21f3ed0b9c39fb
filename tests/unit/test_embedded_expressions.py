"""`${…}`: the results are those of 3.32.1 for the same texts, unless a test says otherwise."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from embedded_records import a_task, a_workflow

from conductor_grpc.server.embedded.engine.expressions import evaluate, scope_of
from conductor_grpc.server.embedded.engine.json_path import InvalidPathError, UnsupportedPathError, parse_path
from conductor_grpc.worker.status import TaskStatus

INPUT: dict[str, Any] = {
    "i": 5.0,
    "f": 1.5,
    "s": "text",
    "b": True,
    "n": None,
    "l": [1.0, "x", None, {"k": 2.0}, [3.0]],
    "m": {"a": 1.0, "long key": 2.0, "zeta": 3.0, "with.dot": 7.0},
    "objs": [{"x": 1.0}, {"y": 2.0}, {"x": 3.0, "y": None}, 5.0, None, [9.0]],
    "key": "s",
    "ref": "a",
    "template": "${workflow.input.i}",
    "escaped": "$${x}",
}
SCOPE = {"workflow": {"input": INPUT, "version": 1}, "a": {"output": {"o": {"p": [1.0]}}}}


def of(path: str) -> Any:
    """The value of one expression over `workflow.input`."""
    return evaluate(f"${{workflow.input.{path}}}", SCOPE)


@pytest.mark.parametrize("key", ["i", "f", "s", "b", "n", "l", "m"])
def test_a_whole_expression_keeps_the_type(key: str) -> None:
    assert of(key) is INPUT[key]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("n=${workflow.input.i}", "n=5.0"),
        ("x${workflow.input.b}", "xtrue"),
        ("x${workflow.input.n}", "xnull"),
        ("x${workflow.input.nosuch}y", "xnully"),
        ("x${workflow.version}", "x1"),
        ("${workflow.input.i}${workflow.input.f}", "5.01.5"),
        ("x${workflow.input.l}", "x[1.0, x, null, {k=2.0}, [3.0]]"),
        ("x${workflow.input.m}", "x{zeta=3.0, a=1.0, long key=2.0, with.dot=7.0}"),
        ("x${workflow.input.objs[*].x}", "x[1.0,3.0]"),
        ("x${workflow.input.l[*]}", 'x[1.0,"x",null,{"k":2.0},[3.0]]'),
    ],
)
def test_in_a_longer_text_it_is_printed(text: str, result: str) -> None:
    assert evaluate(text, SCOPE) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${}", ""),
        ("${ }", ""),
        ("x${}y", "xy"),
        ("$${workflow.input.i}", "${workflow.input.i}"),
        ("$$${workflow.input.i}", "$${workflow.input.i}"),
        ("$${${workflow.input.s}}", "${text}"),
        ("${workflow.input.s}$${x}", "text${x}"),
        ("$workflow.input.i", "$workflow.input.i"),
        ("${workflow.input.s}}", "text}"),
        ("{${workflow.input.s}", "{text"),
        ("}${workflow.input.s}{", "}text{"),
        ("${a{b}", "${a{b}"),
        ("${workflow.input.s} ${a", "text ${a"),
        ("${a ${workflow.input.s}", "${a ${workflow.input.s}"),
        ("x ${ y {${workflow.input.s}", "x ${ y {${workflow.input.s}"),
        ('{"a": "${workflow.input.s}", "b": {"c": "${workflow.input.f}"}}', '{"a": "text", "b": {"c": "1.5"}}'),
        ("${workflow.input.${workflow.input.key}}", "text"),
        ("${${workflow.input.ref}.output.o}", {"p": [1.0]}),
        ("${workflow.input.l[${workflow.input.n}]}", None),
        ("${a${workflow.input.i}}", None),
    ],
)
def test_where_expressions_begin_and_end(text: str, result: object) -> None:
    assert evaluate(text, SCOPE) == result


def test_what_an_expression_gives_is_not_evaluated_again() -> None:
    assert of("template") == "${workflow.input.i}"
    assert of("escaped") == "$${x}"
    assert evaluate("x${workflow.input.escaped}", SCOPE) == "x${x}"


def test_maps_and_lists_are_walked_and_keys_left_alone() -> None:
    template = {
        "${workflow.input.s}": ["${workflow.input.i}", {"t": "x${workflow.input.s}"}, 5.0, None, [["${a.output.o}"]]]
    }
    assert evaluate(template, SCOPE) == {"${workflow.input.s}": [5.0, {"t": "xtext"}, 5.0, None, [[{"p": [1.0]}]]]}


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("nosuch", None),
        ("nosuch.deeper", None),
        ("s.x", None),
        ("n.x", None),
        ("l[0]", 1.0),
        ("l[-1]", [3.0]),
        ("l[9]", None),
        ("l[-9]", None),
        ("l[3].k", 2.0),
        ("l[3]['k']", 2.0),
        ("l.k", None),
        ("l.0", None),
        ("l['0']", None),
        ("s[0]", None),
        ("m['long key']", 2.0),
        ("m['with.dot']", 7.0),
        ('m["a"]', 1.0),
        ("m[ 'a' ]", 1.0),
        ("m.['a']", 1.0),
        ("s ", "text"),
        ("m[*]", [3.0, 1.0, 2.0, 7.0]),
        ("m.*", [3.0, 1.0, 2.0, 7.0]),
        ("l[*]", INPUT["l"]),
        ("objs[*].x", [1.0, 3.0]),
        ("objs.*.x", [1.0, 3.0]),
        ("objs[*]['x']", [1.0, 3.0]),
        ("objs[*].y", [2.0, None]),
        ("objs[*][0]", [9.0]),
        ("objs[*].nosuch", []),
        ("nosuch[*].x", []),
        ("n[*]", []),
        ("s[*]", []),
        ("l[0,1]", [1.0, "x"]),
        ("l[0, 9]", [1.0]),
        ("objs[0:2].x", [1.0]),
        ("l[1:3]", ["x", None]),
        ("l[:2]", [1.0, "x"]),
        ("l[3:]", [{"k": 2.0}, [3.0]]),
        ("l[-2:]", [{"k": 2.0}, [3.0]]),
        ("l[:-1]", [1.0, "x", None, {"k": 2.0}]),
        ("l[-3:-1]", [None, {"k": 2.0}]),
        ("l[0:-1]", []),
        ("l[3:1]", []),
        ("l[-1:2]", [[3.0], 1.0, "x"]),
        ("l[1:99]", ["x", None, {"k": 2.0}, [3.0]]),
        ("l.length()", 5),
        ("l.size()", 5),
        ("m.length( )", 4),
        ("s.length()", None),
        ("nosuch.length()", None),
        ("l.length", None),
    ],
)
def test_paths(path: str, result: object) -> None:
    assert of(path) == result


def test_a_list_that_a_path_gives_is_an_ordinary_list() -> None:
    given = of("objs[*].x")
    assert type(given) is list
    assert evaluate("x${workflow.input.l}", {"workflow": {"input": {"l": given}}}) == "x[1.0, 3.0]"


@pytest.mark.parametrize("path", ["$.workflow.input.s", "$['workflow'].input.s", "['workflow']['input'].s"])
def test_a_path_may_begin_in_other_ways(path: str) -> None:
    assert evaluate(f"${{{path}}}", SCOPE) == "text"


@pytest.mark.parametrize(
    "path",
    [
        "a.",
        "a. b",
        "a .b",
        "a b",
        " a",
        "a...b",
        "..b",
        "a[b]",
        "a[]",
        "a[0",
        "a['b'",
        "a['b]",
        "$a.b",
        "$.",
        "",
        "a[:]",
    ],
)
def test_a_text_that_is_no_path_gives_null(path: str) -> None:
    with pytest.raises(InvalidPathError):
        parse_path(path)
    assert evaluate(f"${{{path}}}", {"a": {"b": 1.0}}) in (None, "")


@pytest.mark.parametrize(
    "path",
    [
        "a[?(@.b == 1)]",
        "a..b",
        ".a.b",
        "a['b','c']",
        "a.keys()",
        "a.length().b",
        "a[*].length()",
        "$",
        "@.a",
        "*.a",
        "a[0]b",
        "a.*x",
        "a[",
    ],
)
def test_the_rest_of_json_path_is_told_apart_and_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnsupportedPathError):
        parse_path(path)
    with caplog.at_level(logging.WARNING):
        assert evaluate(f"${{{path}}}", {"a": {"b": 1.0}}) is None
    assert path in caplog.text


def test_environment_variables_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H_O_M_E", "/here")
    monkeypatch.delenv("NETFLIX_ENV", raising=False)
    assert evaluate(["${H_O_M_E}", "x${H_O_M_E}", "${H_O_M_E.x}"], SCOPE) == ["/here", "x/here", None]
    assert evaluate("${NETFLIX_ENV}", SCOPE) == "${NETFLIX_ENV}"


def test_secrets_stay_as_they_are_written() -> None:
    assert evaluate(["${workflow.secrets.x}", "x${workflow.secrets.x}"], SCOPE) == [
        "${workflow.secrets.x}",
        "x${workflow.secrets.x}",
    ]


def test_what_a_workflow_shows_of_itself() -> None:
    workflow = a_workflow(correlation_id="c1", input={"x": 1.0}, variables={"v": 2.0})
    scope = scope_of(workflow)
    seen = {name: evaluate(f"${{workflow.{name}}}", scope) for name in scope["workflow"]}
    assert seen == {
        "input": {"x": 1.0},
        "output": {},
        "status": "RUNNING",
        "workflowId": workflow.workflow_id,
        "parentWorkflowId": None,
        "parentWorkflowTaskId": None,
        "workflowType": "flow",
        "version": 1,
        "correlationId": "c1",
        "reasonForIncompletion": None,
        "schemaVersion": 2,
        "variables": {"v": 2.0},
    }


def test_what_a_task_shows_is_its_latest_attempt() -> None:
    workflow = a_workflow()
    a_task(workflow, status=TaskStatus.FAILED, output={"o": 1.0})
    second = a_task(
        workflow, status=TaskStatus.COMPLETED, output={"o": 2.0}, retry_count=1, poll_count=1, worker_id="w"
    )
    scope = scope_of(workflow)
    names = ("taskId", "status", "output", "retryCount", "pollCount", "workerId", "reasonForIncompletion", "nosuch")
    assert [evaluate(f"${{job_ref.{name}}}", scope) for name in names] == [
        second.task_id,
        "COMPLETED",
        {"o": 2.0},
        1,
        1,
        "w",
        "",
        None,
    ]
    assert list(scope) == ["workflow", "job_ref"]
    assert len(scope) == 2


def test_what_no_worker_has_touched_has_no_worker_and_no_reason() -> None:
    workflow = a_workflow()
    a_task(workflow)
    assert evaluate(["${job_ref.workerId}", "${job_ref.reasonForIncompletion}"], scope_of(workflow)) == [None, None]


def test_a_loops_latest_turn_is_seen_under_the_plain_name() -> None:
    workflow = a_workflow()
    for turn in (1, 2):
        a_task(workflow, output={"o": float(turn)}, iteration=turn).reference_name = f"job__{turn}"
    scope = scope_of(workflow)
    assert evaluate(["${job.output.o}", "${job__1.output.o}", "${job.referenceTaskName}"], scope) == [
        2.0,
        None,
        "job__2",
    ]


def test_the_id_of_the_task_itself() -> None:
    workflow = a_workflow()
    assert evaluate(["${CPEWF_TASK_ID}", "x${CPEWF_TASK_ID}"], scope_of(workflow, "id1")) == ["id1", "xid1"]
    assert evaluate("${CPEWF_TASK_ID}", scope_of(workflow)) == "${CPEWF_TASK_ID}"
