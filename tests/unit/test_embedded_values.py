"""google.protobuf.Value <-> payloads, as the released server has them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.pb.model.task_pb2 import Task
from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
from conductor_grpc.pb.model.workflowtask_pb2 import WorkflowTask
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure, UnmappableValue, UnsetValue
from conductor_grpc.server.embedded.engine.java_text import JsonArray, hash_order, java_text
from conductor_grpc.server.embedded.engine.values import fill_values, from_value, from_values
from conductor_grpc.server.embedded.engine.wire_checks import check_wire

PAYLOAD = {"none": None, "yes": True, "no": False, "f": 1.5, "t": "é", "m": {"e": {}}, "l": [None, [], {"x": 2.0}]}


def round_trip(payload: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    task = Task()
    fill_values(task.input_data, payload, strict=strict)
    return from_values(Task.FromString(task.SerializeToString()).input_data)


@pytest.mark.parametrize("strict", [True, False])
def test_every_kind_comes_back_as_it_was(strict: bool) -> None:
    assert round_trip(PAYLOAD, strict=strict) == PAYLOAD


def test_a_number_from_the_wire_is_a_float() -> None:
    value = from_value(Value(number_value=7))
    assert (value, type(value)) == (7.0, float)


@pytest.mark.parametrize(("number", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_json_has_no_number_for_becomes_text(number: float, text: str) -> None:
    assert from_value(Value(number_value=number)) == text


@pytest.mark.parametrize("payload", [{"n": 7}, {"m": {"n": 7}}, {"l": [[7]]}])
def test_an_integer_cannot_be_mapped_in_strict_mode(payload: dict[str, Any]) -> None:
    with pytest.raises(UnmappableValue, match=r"^cannot map to Value type: 7$"):
        fill_values(Task().input_data, payload, strict=True)


def test_an_integer_is_a_number_like_any_other_outside_strict_mode() -> None:
    assert round_trip({"n": 7}) == {"n": 7.0}


@pytest.mark.parametrize("strict", [True, False])
def test_true_is_no_integer(strict: bool) -> None:
    assert round_trip({"b": True}, strict=strict)["b"] is True


@pytest.mark.parametrize(
    "value",
    [Value(), Value(list_value=ListValue(values=[Value()])), Value(struct_value=Struct(fields={"x": Value()}))],
)
def test_a_value_without_a_kind_is_refused_however_deep(value: Value) -> None:
    with pytest.raises(UnsetValue, match=r"^unset Value element: $"):
        from_value(value)
    with pytest.raises(UnsetValue):
        check_wire(WorkflowDef(tasks=[WorkflowTask(loop_over=[WorkflowTask(input_parameters={"x": value})])]))


@pytest.mark.parametrize(
    "definition",
    [
        WorkflowDef(timeout_policy=7),
        WorkflowDef(tasks=[WorkflowTask(join_mode=7)]),
        WorkflowDef(tasks=[WorkflowTask(task_definition=TaskDef(retry_logic=9))]),
        WorkflowDef(
            tasks=[WorkflowTask(decision_cases={"a": WorkflowTask.WorkflowTaskList(tasks=[WorkflowTask(join_mode=7)])})]
        ),
    ],
)
def test_an_unknown_enum_number_is_refused_however_deep(definition: WorkflowDef) -> None:
    with pytest.raises(IllegalArgumentFailure, match="UNRECOGNIZED"):
        check_wire(WorkflowDef.FromString(definition.SerializeToString()))


@pytest.mark.parametrize(
    "given",
    [Value(string_value="abc"), Value(string_value="x${a.b}"), Value(struct_value=Struct()), Value(bool_value=True)],
)
def test_a_sub_workflow_definition_must_be_an_expression(given: Value) -> None:
    with pytest.raises(IllegalArgumentFailure, match="expression"):
        check_wire(WorkflowTask(sub_workflow_param=SubWorkflowParams(name="n", workflow_definition=given)))


@pytest.mark.parametrize("given", [Value(string_value="${a.b}"), Value(null_value=0)])
def test_an_expression_or_null_will_do_as_a_sub_workflow_definition(given: Value) -> None:
    check_wire(WorkflowTask(sub_workflow_param=SubWorkflowParams(name="n", workflow_definition=given)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5.0, "5.0"),
        (-0.0, "-0.0"),
        (1, "1"),
        (0.001, "0.001"),
        (0.00012, "1.2E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (123456789012.5, "1.234567890125E11"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (1 / 3, "0.3333333333333333"),
        (-1.5e22, "-1.5E22"),
        ([1.0, "x", None, {"k": 2.0}, []], "[1.0, x, null, {k=2.0}, []]"),
        ({}, "{}"),
        (
            JsonArray(["a/b", '"\\', "\n\u2028\x01é", 1e10, None, {"k": []}]),
            '["a\\/b","\\"\\\\","\\n\\u2028\\u0001é",1.0E10,null,{"k":[]}]',
        ),
    ],
)
def test_values_in_a_text_look_as_java_prints_them(value: object, text: str) -> None:
    assert java_text(value) == text


def test_a_map_in_a_text_is_in_the_order_of_a_java_hash_map() -> None:
    # As 3.32.1 printed it; "long key" and "with.dot" show that the hash counts, not the alphabet.
    keys = ["a", "b", "c", "long key", "zeta", "alpha", "with.dot"]
    assert hash_order(keys) == ["zeta", "a", "b", "c", "alpha", "long key", "with.dot"]


def test_a_larger_map_has_more_buckets() -> None:
    words = "apple pear plum fig kiwi lime date melon grape mango peach cherry banana".split()  # noqa: SIM905
    twelve, thirteen = hash_order(words[:12]), hash_order(words)
    assert twelve.index("apple") < twelve.index("kiwi")
    assert thirteen[-3:] == ["apple", "pear", "melon"]
