"""The conditions of a DO_WHILE that count. The results are those of 3.32.1."""

from __future__ import annotations

from typing import Any

import pytest

from conductor_grpc.server.embedded.engine.loop_condition import InvalidLoopConditionError, LoopCondition


def turns(text: str, **inputs: Any) -> int:
    """How often a loop turns, at most five times."""
    condition = LoopCondition.parse(text)
    scope: dict[str, Any] = {**inputs, "loop": {"iteration": 1}}
    while scope["loop"]["iteration"] < 5 and condition.holds(scope):
        scope["loop"]["iteration"] += 1
    return int(scope["loop"]["iteration"])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("$.loop['iteration'] < 3", 3),
        ('$.loop["iteration"] < 3', 3),
        ("$.loop.iteration < 3", 3),
        ("$.loop.iteration<3;", 3),
        ("$.loop['iteration'] < 2 ;", 2),
        ("$['loop'].iteration < 2", 2),
        ("$.loop['iteration'] <= 3", 4),
        ("3 > $.loop.iteration", 3),
        ("3 >= $.loop.iteration", 4),
        ("(($.loop.iteration < 2))", 2),
        ("$.loop.iteration < 1.5", 2),
        ("$.loop.iteration < -1", 1),
        ("if ($.loop['iteration'] < $.value) { true; } else { false; }", 2),
        ("if ( $.loop['iteration'] < $.value ) { true; } else { false;}", 2),
        ("if ($.loop.iteration < 2) true; else false;", 2),
        ("(function () {\n  if ($.loop['iteration'] < $.value) {\n    return true;\n  }\n  return false;\n})();", 2),
        ("$.loop.iteration != 3", 3),
        ("$.loop.iteration == 1", 2),
        ("$.loop.iteration < 2 ? true : false", 2),
        ("true;;", 5),
        ("false", 1),
        ("", 1),
    ],
)
def test_a_loop_turns_as_often_as_its_condition_says(text: str, count: int) -> None:
    assert turns(text, value=2.0) == count


@pytest.mark.parametrize(
    ("value", "count"),
    [("3", 3), (" 3 ", 3), (None, 1), ("", 1), ("three", 1), ([2.0], 1), ({}, 1), (True, 1), (3.0, 3)],
)
def test_values_that_are_no_numbers_count_as_in_javascript(value: object, count: int) -> None:
    assert turns("$.loop.iteration < $.limit", limit=value) == count


def test_what_is_not_there_ends_the_loop() -> None:
    assert turns("$.loop.iteration < $.nosuch") == 1
    assert turns("$.loop.iteration < $.list[3]", list=[2.0]) == 1


def test_the_output_of_a_task_inside_is_seen_too() -> None:
    assert LoopCondition.parse("$.t1['left'][0] > 0").holds({"t1": {"left": [2.0]}})


def test_two_texts_are_compared_as_texts() -> None:
    assert LoopCondition.parse("$.a < $.b").holds({"a": "10", "b": "9"})


@pytest.mark.parametrize("text", ["$.nosuch.iteration < 3", "$.loop.iteration < $.nothing.x"])
def test_to_look_into_nothing_is_an_error(text: str) -> None:
    with pytest.raises(InvalidLoopConditionError, match="Unable to evaluate condition"):
        turns(text, nothing=None)


@pytest.mark.parametrize(
    "text",
    [
        "x(((",
        "$.value",
        "$.loop.iteration < 3 && $.t1.x < 3",
        "$.loop.iteration = 3",
        "$.loop.iteration + 1 < 3",
        "$.loop['iteration'] < ${workflow.input.n}",
        "return $.loop.iteration < 3;",
        "if ($.loop.iteration < 2) { false; } else { true; }",
        "if ($.loop.iteration < 2) { return true; } else { return false; }",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidLoopConditionError, match="JavaScript"):
        LoopCondition.parse(text)
