"""Inputs bound to parameters by name, with the types of the signature."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, Union

import pytest
from typed_functions import bound, one

from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.worker import Task
from conductor_grpc.worker.inputs.binding import plan_binding

if TYPE_CHECKING:
    from decimal import Decimal

Identifier = NewType("Identifier", str)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    price: float
    name: str = "thing"


@dataclass
class Order:
    items: list[Item]
    notes: dict[str, Item] = field(default_factory=dict)
    parent: Order | None = None
    total: float = field(init=False, default=0.0)


@dataclass
class Positive:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n is negative")


@dataclass
class Leaf:
    value: int


@dataclass
class Branch:
    left: Leaf | Branch


@dataclass
class Unfit:
    member: Callable[[], int]


@dataclass
class WithInitVar:
    seed: InitVar[int]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (int, 3.0, 3),
        (int, -(2.0**53), -(2**53)),
        (int, 2**60, 2**60),
        (float, 3, 3.0),
        (float, 3.5, 3.5),
        (bool, True, True),
        (Any, [1], [1]),
        (object, None, None),
        (None, None, None),
        (list, [1, "x"], [1, "x"]),
        (list[int], [1.0, 2], [1, 2]),
        (Sequence[float], [1], [1.0]),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, int], {"a": 1.0}, {"a": 1}),
        (Mapping[str, Any], {"a": None}, {"a": None}),
        (Optional[int], None, None),  # noqa: UP045
        (int | None, 4.0, 4),
        (Union[int, str], "x", "x"),  # noqa: UP007
        (int | float, 2.5, 2.5),
        (int | str | None, None, None),
        (list[int | None], [1, None], [1, None]),
        (Literal["a", 1], 1, 1),
        (Color, "blue", Color.BLUE),
        (Identifier, "i", "i"),
        (Annotated[int, "documented"], 1.0, 1),
        ("int", 1.0, 1),
        (Item, {"price": 2, "unknown": 1}, Item(2.0)),
        (Order, {"items": [], "parent": {"items": [{"price": 1}]}}, Order([], {}, Order([Item(1.0)]))),
    ],
)
@pytest.mark.feature("Typed inputs")
def test_values_that_fit(annotation: Any, value: Any, expected: object) -> None:
    got = one(annotation, value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "path", "text"),
    [
        (int, "abc", "x", "expected int, got str 'abc'"),
        (int, True, "x", "expected int, got bool True"),
        (int, 2.5, "x", "expected int, got float 2.5"),
        (int, 2.0**60, "x", "expected int, got float"),
        (float, "1", "x", "expected float"),
        (float, False, "x", "expected float, got bool False"),
        pytest.param(float, 10**400, "x", "expected float of at most 1.8e308, got int 1000", id="huge"),
        (bool, 1, "x", "expected bool, got int 1"),
        (str, 1, "x", "expected str, got int 1"),
        (str, None, "x", "expected str, got null (a reference like"),
        (None, 1, "x", "expected null, got int 1"),
        (list[int], {"a": 1}, "x", "expected list, got dict"),
        (list[int], [1, 2, "x"], "x[2]", "expected int, got str 'x'"),
        (dict[str, int], {"a": 1, "b c": []}, "x['b c']", "expected int, got list []"),
        (int | None, "a", "x", "expected int, got str 'a'"),
        (int | list[int], ["a"], "x", "expected int | list[int], got list ['a']"),
        (Literal["a", 1], True, "x", "expected one of 'a', 1, got bool True"),
        (Color, "green", "x", "expected one of 'red', 'blue', got str 'green'"),
        (Item, [], "x", "expected an object for Item, got list []"),
        (Item, {}, "x.price", "missing, and it has no default (given: none)"),
        (Order, {"items": [{"price": 1}, {"price": "1"}]}, "x.items[1].price", "expected float, got str '1'"),
        (Order, {"items": [], "notes": {"k": {"price": None}}}, "x.notes['k'].price", "got null"),
        (Positive, {"n": -1}, "x", "Positive refused it: ValueError: n is negative"),
        (str, ["long"] * 100, "x", "..."),
    ],
)
@pytest.mark.feature("Typed inputs")
def test_values_that_do_not_fit_are_named_by_their_path(annotation: Any, value: Any, path: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        one(annotation, value)
    assert caught.value.parameter == path
    assert text in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.feature("conductor-python: inputs by parameter name")
def test_a_missing_input_is_an_error_that_tells_what_was_given() -> None:
    def function(name: str) -> None: ...

    with pytest.raises(InputError, match=r"^name: missing, and it has no default \(given: 'nam', 'x'\)$"):
        bound(function, nam="a", x=1)


@pytest.mark.feature("Typed inputs")
def test_all_that_is_wrong_is_told_at_once() -> None:
    def function(a: int, order: Order, ok: str, **rest: int) -> None: ...

    items = [{"price": "1", "name": 2}, {"price": "not told, a list ends at its first"}]
    with pytest.raises(InputError) as caught:
        bound(function, a="b", order={"items": items, "total": "ignored", "parent": 1}, ok="ok", more="x")
    assert caught.value.parameter == "a"
    assert str(caught.value).split("; ") == [
        "a: expected int, got str 'b'",
        "order.items[0].price: expected float, got str '1'",
        "order.items[0].name: expected str, got int 2",
        "order.parent: expected an object for Order, got int 1",
    ]
    many = {"items": [], "notes": {}, "parent": {}} | {f"p{number}": "x" for number in range(12)}

    def twelve(p0: int, p1: int, p2: int, p3: int, p4: int, p5: int, p6: int, p7: int, p8: int, p9: int) -> None: ...

    with pytest.raises(InputError, match=r"^p0: expected int.*; p7: expected int, got str 'x'; and 2 more$"):
        bound(twelve, **many)


def test_a_union_tells_why_each_object_does_not_fit() -> None:
    with pytest.raises(InputError) as caught:
        one(Item | Positive | int, {"n": "x"})
    assert "expected Item | Positive | int (Item: price: missing" in str(caught.value)
    assert "; Positive: n: expected int, got str 'x'), got dict {'n': 'x'}" in str(caught.value)


def test_errors_of_deeply_nested_unions_are_found_in_linear_time() -> None:
    value: Any = {"items": [], "parent": "wrong"}
    for _ in range(40):
        value = {"items": [], "parent": value}
    with pytest.raises(InputError) as caught:
        one(Order, value)
    assert caught.value.parameter.count(".parent") == 41
    branch: Any = {"left": "wrong"}
    for _ in range(40):
        branch = {"left": branch}
    with pytest.raises(InputError, match=r"left: expected Leaf \| Branch"):
        one(Branch, branch)


def test_defaults_are_for_absent_inputs_and_for_null_where_it_is_no_value() -> None:
    def function(a: int = 5, b: int | None = 6, c: Any = 7, d: Item = Item(1.0)) -> None: ...  # noqa: B008

    assert bound(function) == {}
    assert bound(function, a=None, b=None, c=None, d=None) == {"b": None, "c": None}
    with pytest.raises(InputError, match=r"^d\.price: expected float, got null"):
        bound(function, d={"price": None})


def test_the_task_and_the_rest() -> None:
    def function(a: int, task: Task, /, b, *, c: int = 0, other: Task, **rest: int) -> None: ...  # type: ignore[no-untyped-def]

    task = Task(input_data={"a": 1.0, "b": "raw", "c": 2, "task": 3, "d": 4.0})
    positional, keywords = plan_binding(function).bind(task)
    assert positional == [1, task]
    assert keywords == {"b": "raw", "c": 2, "other": task, "d": 4}
    with pytest.raises(InputError, match=r"^z: expected int, got str 'no'"):
        plan_binding(function).bind(Task(input_data={"a": 1, "b": 1, "z": "no"}))


def test_a_positional_only_parameter_keeps_its_default() -> None:
    def function(a: int = 1, b: int = 2, /) -> None: ...

    assert plan_binding(function).bind(Task(input_data={"b": 5})) == ([1, 5], {})


def test_inputs_without_a_parameter_are_ignored() -> None:
    def function(a: int) -> None: ...

    assert bound(function, a=1, b=2) == {"a": 1}


def test_parameters_without_annotation_take_their_input_as_it_came() -> None:
    def function(a, b) -> None: ...  # type: ignore[no-untyped-def]

    assert bound(function, a=[None], b=2.5) == {"a": [None], "b": 2.5}


def test_an_unannotated_task_parameter_gets_a_hint() -> None:
    def function(task) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(InputError, match=r"annotate it: task: Task"):
        bound(function, a=1)


@pytest.mark.parametrize(
    "annotation",
    [
        Callable[[], int],
        dict[int, str],
        Task | None,
        list[Task],
        type,
        Ellipsis,
        [int],
    ],
)
def test_unsupported_annotations_are_refused_at_declaration(annotation: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"annotation|Task cannot be|Error"):
        one(annotation, 1)


def test_a_bad_annotation_in_a_dataclass_is_named() -> None:
    with pytest.raises(WorkerDefinitionError, match=r"parameter 'x' of .*WithInitVar"):
        one(WithInitVar, {})
    with pytest.raises(WorkerDefinitionError, match=r"parameter 'x' of .*: Unfit\.member: unsupported .*Callable"):
        one(list[Unfit], [])


def test_args_are_refused() -> None:
    def function(*args: int) -> None: ...

    with pytest.raises(WorkerDefinitionError, match=r"parameter 'args' of .*use \*\*kwargs"):
        plan_binding(function)


def test_annotations_that_do_not_resolve_are_refused_and_the_return_type_does_not_matter() -> None:
    def returns_it() -> Decimal: ...  # type: ignore[empty-body]

    def takes_it(a: Decimal) -> None: ...

    assert bound(returns_it) == {}
    with pytest.raises(WorkerDefinitionError, match=r"name 'Decimal' is not defined.*TYPE_CHECKING"):
        plan_binding(takes_it)
