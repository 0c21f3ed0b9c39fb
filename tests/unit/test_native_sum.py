"""get_sum of the C++ library, through the native module."""

from __future__ import annotations

from typing import Any

import pytest

from conductor_grpc import _core

LARGEST = 2**31 - 1
SMALLEST = -(2**31)


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [(1, 2, 3), (-5, 5, 0), (LARGEST, 0, LARGEST), (LARGEST, SMALLEST, -1), (SMALLEST, 0, SMALLEST)],
)
def test_sums(a: int, b: int, total: int) -> None:
    assert _core.get_sum(a, b) == total
    assert _core.get_sum(b=b, a=a) == total


@pytest.mark.parametrize(("a", "b"), [(LARGEST, 1), (SMALLEST, -1), (LARGEST, LARGEST)])
def test_a_sum_that_does_not_fit_names_both_values(a: int, b: int) -> None:
    with pytest.raises(OverflowError, match=f"the sum of {a} and {b} does not fit in 32 bits"):
        _core.get_sum(a, b)


@pytest.mark.parametrize("value", [LARGEST + 1, SMALLEST - 1, 2**64, -(2**100)])
def test_a_value_that_does_not_fit_is_named(value: int) -> None:
    with pytest.raises(OverflowError, match=f"a is {value}, which does not fit in 32 bits"):
        _core.get_sum(value, 1)
    with pytest.raises(OverflowError, match=f"b is {value}, which does not fit in 32 bits"):
        _core.get_sum(1, value)


@pytest.mark.parametrize("value", [1.0, "1", True, None, b"1", [1], 1j])
def test_anything_but_an_int_is_refused(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        _core.get_sum(1, value)
    assert str(caught.value).startswith(f"b is {value!r} of type {type(value).__name__}, expected an int: convert it")
