"""pydantic's types as inputs and outputs, and their errors in this package's words."""

from __future__ import annotations

import datetime
import ipaddress
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
import pydantic
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator
from typed_functions import annotated, bound, one

from conductor_grpc import TaskResultStatus, worker_task
from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.inputs.binding import plan_binding
from conductor_grpc.worker.inputs.schema import input_schema


class Line(BaseModel):
    article: str
    count: int = Field(1, gt=0)


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    order_id: str = Field(alias="orderId")
    lines: list[Line] = []
    notes: dict[str, int] = {}
    placed: datetime.date | None = None
    parent: Order | None = None

    @field_validator("order_id")
    @classmethod
    def _check(cls, value: str) -> str:
        if value == "x":
            raise ValueError("x is no order")
        return value


class Exact(BaseModel):
    model_config = ConfigDict(strict=True)
    day: datetime.date
    tags: set[str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Crashing(BaseModel):
    x: Annotated[int, BeforeValidator(lambda _: 1 // 0)]


class Silent(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)
    password: str = Field(min_length=10)


class Demanding(BaseModel):
    number: int = 5

    @model_validator(mode="before")
    @classmethod
    def _demand(cls, value: dict[str, object]) -> object:
        value["number"]
        return value


@dataclass
class Misled:
    number: int = Field(5, gt=0)


@pydantic.dataclasses.dataclass
class Checked:
    number: int = Field(alias="theNumber", ge=0)


@dataclass
class Holder:
    line: Line
    many: list[Line]
    few: Annotated[list[int], Field(max_length=2)]


Positive = Annotated[int, Field(gt=0)]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Line, {"article": "a", "count": 3.0}, Line(article="a", count=3)),
        (Line, {"article": "a", "count": None}, Line(article="a")),
        (Order, {"orderId": "1", "placed": "2024-02-03"}, Order(orderId="1", placed=datetime.date(2024, 2, 3))),
        (
            Order,
            {"orderId": "1", "lines": [{"article": "a", "count": None}], "notes": None, "parent": {"orderId": "2"}},
            Order(orderId="1", lines=[Line(article="a")], parent=Order(orderId="2")),
        ),
        (Exact, {"day": "2024-02-03", "tags": ["a"]}, Exact(day=datetime.date(2024, 2, 3), tags={"a"})),
        (list[Line] | None, [{"article": "a"}], [Line(article="a")]),
        (Cat | Dog, {"kind": "dog", "tricks": []}, Dog(kind="dog", tricks=[])),
        (Checked, {"theNumber": 3.0}, Checked(theNumber=3)),
        (
            Holder,
            {"line": {"article": "a"}, "many": [{"article": "b"}], "few": [1.0]},
            Holder(Line(article="a"), [Line(article="b")], [1]),
        ),
        (Positive, 3.0, 3),
        (Positive | None, None, None),
        (Annotated[int, annotated_types.Lt(5)], 4, 4),
        (Annotated[str, StringConstraints(to_upper=True)], "a", "A"),
        (Annotated[int, BeforeValidator(len)], "abc", 3),
        (ipaddress.IPv4Address, "10.0.0.1", ipaddress.IPv4Address("10.0.0.1")),
        (Path, "a/b", Path("a/b")),
    ],
)
def test_values_that_fit(annotation: Any, value: Any, expected: object) -> None:
    got = one(annotation, value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (
            Order,
            {"lines": [{"article": "a", "count": 0}, {"count": 2.5}], "notes": {"b c": "q"}},
            (
                "x.orderId: missing, and it has no default (given: 'lines', 'notes'); "
                "x.lines[0].count: expected greater than 0, got int 0; "
                "x.lines[1].article: missing, and it has no default (given: 'count'); "
                "x.lines[1].count: expected a valid integer, got a number with a fractional part, got float 2.5; "
                "x.notes['b c']: expected a valid integer, unable to parse string as an integer, got str 'q'"
            ),
        ),
        (Order, {"orderId": "x"}, "x.orderId: Value error, x is no order, got str 'x'"),
        (Order, {"orderId": None}, "x.orderId: expected a valid string, got null"),
        (Order, [], "x: expected an object, got list []"),
        (list[Order], [{"orderId": "1"}, {}], "x[1].orderId: missing, and it has no default (given: none)"),
        (Checked, {"theNumber": -1}, "x.theNumber: expected greater than or equal to 0, got int -1"),
        (
            Holder,
            {"line": {}, "many": [], "few": [1, 2, 3]},
            "x.line.article: missing, and it has no default (given: no",
        ),
        (Positive, "3", "x: expected int, got str '3'"),
        (Positive, -3.0, "x: expected greater than 0, got int -3"),
        (Crashing, {"x": 1}, "x: refused: ZeroDivisionError"),
        (Silent, {"password": "hunter2"}, "x.password: String should have at least 10 characters"),
        (
            Order,
            {"orderId": "1", "lines": None, "parent": {"orderId": None, "notes": {"a": None}}},
            "x.parent.orderId: expected a valid string, got null; x.parent.notes.a: expected a valid integer, got null",
        ),
        (Order, {"orderId": "1", "notes": {"a": None}}, "x.notes.a: expected a valid integer, got null"),
        (Order, {"orderId": "1", "lines": [None]}, "x.lines[0]: expected an object, got null"),
        (Demanding, {"number": None}, "x: refused: KeyError: 'number'"),
        (
            Annotated[Any, Field(gt=0)],
            "a",
            "x: refused: TypeError: Unable to apply constraint 'gt' to supplied value a",
        ),
        (Path, 1, "x: Input is not a valid path for"),
    ],
)
def test_values_that_do_not_fit(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(InputError) as caught:
        one(annotation, value)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    assert "pydantic.dev" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_errors_in_a_union_of_models_have_the_path_of_the_value() -> None:
    with pytest.raises(InputError) as caught:
        one(Annotated[Cat | Dog, Field(discriminator="kind")], {"kind": "cat", "lives": "x"})
    assert caught.value.parameter == "x.lives"


@pytest.mark.parametrize("annotation", [Callable[[], int], type, Ellipsis, [int], object()])
def test_what_no_json_value_can_be_is_refused_at_declaration(annotation: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"unsupported annotation|Error"):
        one(annotation, 1)


def test_a_model_without_a_schema_is_usable_and_has_none_to_print() -> None:
    class WithCallable(BaseModel):
        number: int
        call: Callable[[], int] = lambda: 1

    got = one(WithCallable, {"number": 1.0})
    assert isinstance(got, WithCallable)
    assert (got.number, got.call()) == (1, 1)
    worker = worker_task("w")(annotated(WithCallable))
    with pytest.raises(WorkerDefinitionError, match="pydantic says: Cannot generate a JsonSchema for"):
        input_schema(worker)


def test_a_field_as_default_is_refused_at_declaration() -> None:
    def function(x: int = Field(5, gt=0)) -> None: ...

    with pytest.raises(WorkerDefinitionError, match=r"parameter 'x' of .*write x: Annotated\["):
        plan_binding(function)


def test_a_field_as_default_of_a_dataclass_is_refused_at_declaration() -> None:
    with pytest.raises(WorkerDefinitionError, match=r"Misled\.number: its default is a Field"):
        one(Misled, {})


@pytest.mark.filterwarnings("ignore:The 'alias' attribute")
@pytest.mark.parametrize(
    ("field", "text"), [(Field(default=5), "write x: Annotated"), (Field(alias="y"), "as the input is called")]
)
def test_what_a_field_says_without_effect_is_refused_at_declaration(field: Any, text: str) -> None:
    with pytest.raises(WorkerDefinitionError, match=f"has no effect outside of a model: .*{text}"):
        one(list[Annotated[int, field]], [1])


def test_a_default_beside_a_constraint() -> None:
    def function(x: Positive = 5) -> None: ...

    assert bound(function, x=None) == {}
    with pytest.raises(InputError, match="greater than 0"):
        bound(function, x=0)


@pytest.mark.parametrize(
    "annotation", [Positive, ipaddress.IPv4Address, complex, Annotated[int, annotated_types.Gt(0)]]
)
def test_without_pydantic_the_error_names_the_extra(annotation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(WorkerDefinitionError, match=r"pip install 'conductor-grpc-client\[pydantic\]'") as caught:
        plan_binding(annotated(annotation))
    assert "parameter 'x'" in str(caught.value)


def test_pydantic_is_not_loaded_before_a_worker_needs_it() -> None:
    code = """
import sys
from typing import Annotated
from dataclasses import dataclass
from conductor_grpc import worker_task
@dataclass
class A:
    x: int
@worker_task("w")
def w(a: A, b: Annotated[int, "documented"]) -> A: ...
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (
            Order(orderId="1", placed=datetime.date(2024, 2, 3)),
            {"orderId": "1", "lines": [], "notes": {}, "placed": "2024-02-03", "parent": None},
        ),
        ({"order": [Line(article="a")]}, {"order": [{"article": "a", "count": 1}]}),
        (Checked(theNumber=3), {"theNumber": 3}),
        (Holder(Line(article="a"), [], [1]), {"line": {"article": "a", "count": 1}, "many": [], "few": [1]}),
        (pydantic.RootModel[list[int]]([1]), {"result": [1]}),
    ],
)
def test_models_as_output(value: object, output: object) -> None:
    assert call_worker(worker_task("w")(lambda: value)).output_data == output


def test_a_model_with_nan_fails_its_task_at_once() -> None:
    class Measure(BaseModel):
        value: float

    result = call_worker(worker_task("w")(lambda: {"m": Measure(value=math.nan)}))
    assert result.status is TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
    assert "output.m.value" in result.reason_for_incompletion


def test_the_return_annotation_is_not_held_against_the_value() -> None:
    @worker_task("w")
    def wrong() -> Order:
        return 5  # type: ignore[return-value]

    assert call_worker(wrong).output_data == {"result": 5}


def model_with_a_line(**fields: Any) -> type[BaseModel]:
    line = pydantic.create_model("Line", **fields)
    return pydantic.create_model("Order", line=(line, ...))


def test_schemas_of_the_same_name_do_not_fall_together() -> None:
    first, second = model_with_a_line(first=(int, ...)), model_with_a_line(second=(int, ...))
    schema = input_schema(worker_task("w")(annotated(tuple[first, second, first])))  # type: ignore[valid-type]
    validator = Draft202012Validator(schema["properties"]["x"] | {"$defs": schema["$defs"]})
    right, wrong = {"line": {"first": 1}}, {"line": {"second": 2}}
    assert validator.is_valid([right, wrong, right])
    assert [next(iter(error.path)) for error in validator.iter_errors([wrong, right, wrong])] == [0, 1, 2]
