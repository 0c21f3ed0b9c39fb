"""JSON Schemas of workers: what they accept is what the worker accepts, and what they promise is what it gives."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import re
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field
from typed_functions import annotated
from typing_extensions import NotRequired

from conductor_grpc import (
    Resource,
    Task,
    TaskInProgress,
    TaskResult,
    WorkerInterface,
    _core,
    input_schema,
    output_schema,
    worker_task,
)
from conductor_grpc.cli.root import root
from conductor_grpc.errors import InputError
from conductor_grpc.testing import call_worker
from conductor_grpc.worker.inputs.binding import plan_binding
from conductor_grpc.worker.inputs.schema import DIALECT


class Letter(enum.Enum):
    A = "a"
    TWO = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Word(enum.Enum):
    A = "a"
    B = "b"


@dataclass
class Node:
    value: int
    next: Node | None = None
    weight: float = 0.5
    tags: list[str] = field(default_factory=list)
    size: int = field(init=False, default=0)


class Options(TypedDict):
    a: int
    b: NotRequired[str]
    c: NotRequired[Optional[bool]]  # noqa: UP045


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Line(BaseModel):
    article: str
    count: int = Field(1, gt=0)
    rest: list[Line] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


INTEGERS = st.integers(-3, 3) | st.integers(-(2**53), 2**53)
FLOATS = st.sampled_from([0.0, 1.0, -2.0, 0.5]) | st.floats(-(2.0**53), 2.0**53)
TEXTS = st.sampled_from(["", "a", "b", "c"])
KEYS = st.sampled_from(["a", "b", "c", "value", "next", "weight", "tags", "x"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def perhaps(fitting: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what fits, and sometimes anything."""
    return st.one_of(fitting, fitting, fitting, fitting, ANYTHING)


def dictionary(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


NODES = st.deferred(
    lambda: dictionary(
        {"value": perhaps(INTEGERS)},
        {"next": perhaps(st.none() | NODES), "weight": perhaps(FLOATS), "tags": perhaps(st.none() | st.lists(TEXTS))},
    )
)
OPTIONS = dictionary({"a": perhaps(INTEGERS)}, {"b": perhaps(TEXTS | st.none()), "c": perhaps(st.booleans())})

CASES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, ANYTHING),
    (str, TEXTS),
    (int, INTEGERS | FLOATS),
    (float, INTEGERS | FLOATS),
    (bool, st.booleans() | st.integers(0, 1)),
    (None, st.none()),
    (Literal["a", 1, True, None], TEXTS | st.booleans() | st.integers(0, 1) | st.none() | st.just(1.0)),
    (Letter, TEXTS | st.integers(1, 3) | st.just(2.0)),
    (Right, st.integers(-1, 4) | st.sampled_from([3.0, 2.5])),
    (int | None, INTEGERS | st.none()),
    (int | list[str], INTEGERS | st.lists(perhaps(TEXTS))),
    (list[int], st.lists(perhaps(INTEGERS))),
    (set[int], st.lists(perhaps(INTEGERS | FLOATS))),
    (tuple[int, str], st.lists(INTEGERS | TEXTS, max_size=3) | st.tuples(INTEGERS, TEXTS).map(list)),
    (tuple[str, ...], st.lists(perhaps(TEXTS))),
    (tuple[()], st.lists(INTEGERS, max_size=1)),
    (Point, st.lists(INTEGERS | FLOATS, max_size=3)),
    (dict[str, int], st.dictionaries(KEYS, perhaps(INTEGERS))),
    (dict[Word, int], st.dictionaries(TEXTS, perhaps(INTEGERS))),
    (Node, NODES),
    (list[Node | Options], st.lists(perhaps(NODES | OPTIONS))),
    (Options, OPTIONS),
    (Annotated[int, Field(gt=0, multiple_of=3)], INTEGERS | FLOATS),
    (Annotated[list[Node], Field(max_length=1)], st.lists(NODES)),
    (Annotated[int | None, Field(gt=0)], INTEGERS | st.none()),
]


def accepts(function: Any, inputs: dict[str, Any]) -> bool:
    try:
        plan_binding(function).bind(Task(input_data=inputs))
    except InputError:
        return False
    return True


@pytest.mark.feature("conductor-python: JSON schemas of workers")
@pytest.mark.parametrize(("annotation", "values"), CASES, ids=lambda each: str(each)[:40])
@pytest.mark.parametrize("optional", [False, True], ids=["required", "with default"])
def test_the_schema_accepts_what_the_worker_accepts(annotation: Any, values: Any, optional: bool) -> None:
    function = annotated(annotation)
    if optional:
        function.__defaults__ = (None,)  # type: ignore[attr-defined]
    schema = input_schema(worker_task("w")(function))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    @settings(max_examples=40, deadline=None)
    @given(dictionary({}, {"x": perhaps(values), "y": ANYTHING}))
    def check(inputs: dict[str, Any]) -> None:
        assert validator.is_valid(inputs) == accepts(function, inputs), inputs

    check()


TEXT_FORMS = st.sampled_from(
    ["2024-02-03T04:05:06Z", "2024-02-03", "04:05", "PT1S", str(uuid.UUID(int=1)), "1.5", "YQ==", "."]
)


TEXT_TYPES = [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal, bytes]


@given(st.sampled_from(TEXT_TYPES), TEXT_FORMS | ANYTHING)
def test_of_texts_with_a_format_the_schema_accepts_more(annotation: Any, value: Any) -> None:
    validator = Draft202012Validator(input_schema(worker_task("w")(annotated(annotation))))
    if accepts(annotated(annotation), {"x": value}):
        assert validator.is_valid({"x": value})
    if not isinstance(value, str):
        assert validator.is_valid({"x": value}) == accepts(annotated(annotation), {"x": value})


@given(st.deferred(lambda: LINES))
def test_a_model_accepts_what_its_schema_accepts_and_null_for_what_is_absent(value: Any) -> None:
    function = annotated(list[Line])
    if Draft202012Validator(input_schema(worker_task("w")(function))).is_valid({"x": value}):
        assert accepts(function, {"x": value})
        assert accepts(function, {"x": [{**line, "count": None} for line in value]})


LINES: st.SearchStrategy[Any] = perhaps(
    st.lists(
        dictionary({"article": perhaps(TEXTS)}, {"count": INTEGERS, "rest": st.deferred(lambda: LINES)}), max_size=2
    )
)


def test_the_schema_of_a_whole_function() -> None:
    @worker_task("w")
    def function(
        node: Node, task: Task, pool: Resource[object], limit: int | None = 3, letter: Letter = Letter.A, **rest: str
    ) -> None: ...

    assert input_schema(function) == {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            "node": {"$ref": "#/$defs/Node"},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 3},
            "letter": {"anyOf": [{"$ref": "#/$defs/Letter"}, {"type": "null"}], "default": "a"},
        },
        "required": ["node"],
        "additionalProperties": {"type": "string"},
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": None},
                    "weight": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 0.5},
                    "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
                },
                "required": ["value"],
            },
            "Letter": {"enum": ["a", 2]},
        },
    }


def test_the_schema_of_a_native_function_has_its_names() -> None:
    schema = input_schema(worker_task("w")(_core.decode_map))
    assert list(schema["properties"]) == schema["required"] == ["data", "field_number"]
    assert output_schema(worker_task("w")(_core.decode_map)) == {"$schema": DIALECT, "type": "object"}


class Other(WorkerInterface):
    def execute(self, task: Task) -> TaskResult:
        return self.get_task_result_from_task(task)


def test_a_class_takes_and_gives_any_object() -> None:
    assert input_schema(Other("w")) == output_schema(Other("w")) == {"$schema": DIALECT, "type": "object"}


NOW = datetime.datetime(2024, 2, 3, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("annotation", "values", "wrong"),
    [
        (None, [None], [{"a": 1}]),
        (int, [3], [{"result": "a"}, {}]),
        (dict[str, int], [{"a": 1}, {}], [{"a": "b"}]),
        (Node, [Node(1, Node(2))], [{"value": 1}]),
        (Node | None, [Node(1), None], [{"result": 1}]),
        (list[Node], [[Node(1)]], [{"result": [1]}, [1]]),
        (Annotated[Node, Field(description="d")], [Node(1)], [{"result": [1]}]),
        (Point, [Point(1)], [{"result": [1]}, {"x": 1, "y": 2}]),
        (set[Letter], [{Letter.A}], [{"result": ["b"]}]),
        (decimal.Decimal, [decimal.Decimal("19.90")], [{"result": 19.9}]),
        (datetime.datetime, [NOW], [{"result": 5}]),
        (Options, [{"a": 1}], [{"b": "c"}]),
        (Line, [Line(article="a", rest=[Line(article="b")])], [{"article": 1}]),
        (Options | int, [{"a": 1}, 1], [{}]),
        (Annotated[Cat | Dog, Field(discriminator="kind")], [Cat(kind="cat")], [{"kind": "bird"}, {"result": 1}]),
        (Any, [1, None, {"a": 1}], []),
        (TaskResult | TaskInProgress | None, [None, TaskInProgress(5, {"a": 1})], []),
        ("Missing", [{"a": 1}, 5], []),
        (type, [{"a": 1}, 5], []),
    ],
    ids=lambda each: str(each)[:40],
)  # fmt: skip
def test_the_schema_of_the_output_is_that_of_what_is_sent(annotation: Any, values: list[Any], wrong: list[Any]) -> None:
    def function(given: Any = None) -> None:
        return given  # type: ignore[no-any-return]

    function.__annotations__["return"] = annotation
    schema = output_schema(worker_task("w")(function))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    for value in values:
        function.__defaults__ = (value,)
        output = json.loads(json.dumps(call_worker(worker_task("w")(function), {}).output_data))
        assert validator.is_valid(output), output
    for output in wrong:
        assert not validator.is_valid(output), output


def test_the_command_prints_both_for_each_worker(tmp_path: Path) -> None:
    module = tmp_path / "schema_workers.py"
    module.write_text(
        "from __future__ import annotations\n"
        "from conductor_grpc import worker_task\n"
        "@worker_task('greet')\n"
        "def greet(name: str, greeting: str = 'Grüezi') -> dict[str, str]: ...\n"
        "@worker_task('count')\n"
        "async def count(text: str) -> int: ...\n",
        "utf-8",
    )
    printed = CliRunner().invoke(root, ["schema", str(module)])
    assert printed.exit_code == 0, printed.output
    schemas = json.loads(printed.stdout)
    assert list(schemas) == ["greet", "count"]
    assert schemas["greet"]["input"]["properties"]["greeting"]["default"] == "Grüezi"
    assert "Grüezi" in printed.stdout
    assert schemas["count"]["output"]["properties"] == {"result": {"type": "integer"}}
    only = CliRunner().invoke(root, ["schema", f"{module}:count"])
    assert list(json.loads(only.stdout)) == ["count"]


@pytest.mark.parametrize("second", ["text: str", "number: int"])
def test_the_command_leaves_none_of_two_workers_out(tmp_path: Path, second: str) -> None:
    module = tmp_path / f"two_workers_{second[:4]}.py"
    module.write_text(
        "from conductor_grpc import worker_task\n"
        "@worker_task('count', domain='a')\n"
        "def first(number: int): ...\n"
        "@worker_task('count', domain='b')\n"
        f"def second({second}): ...\n",
        "utf-8",
    )
    printed = CliRunner().invoke(root, ["schema", str(module)])
    assert ("two workers of 'count' take or return different types" in printed.output) == (second == "text: str")
    assert printed.exit_code == (1 if second == "text: str" else 0)


def test_the_command_names_the_worker_without_a_schema(tmp_path: Path) -> None:
    module = tmp_path / "callable_workers.py"
    module.write_text(
        "from collections.abc import Callable\n"
        "from pydantic import BaseModel\n"
        "from conductor_grpc import worker_task\n"
        "class Calls(BaseModel):\n"
        "    call: Callable[[], int]\n"
        "@worker_task('call')\n"
        "def call(calls: Calls): ...\n",
        "utf-8",
    )
    printed = CliRunner().invoke(root, ["schema", str(module)])
    assert printed.exit_code == 1
    assert "Error: worker 'call': pydantic says: " in printed.output


def test_a_default_that_is_not_finite_is_in_no_schema() -> None:
    def function(x: float = float("inf"), y: list[float] = [float("nan")]) -> None: ...  # noqa: B006

    assert all("default" not in each for each in input_schema(worker_task("w")(function))["properties"].values())


def test_the_page_says_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "typed.md").read_text("utf-8")
    module = ModuleType("typed_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where annotations are resolved
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    exec(compile(code, "typed.md", "exec", dont_inherit=True), vars(module))
    order = {"id": "1", "placed": "tomorrow", "lines": [{"article": "a", "count": "2"}], "kind": "old"}
    reason = call_worker(module.price, {"order": order}).reason_for_incompletion
    assert reason in " ".join(page.split())
