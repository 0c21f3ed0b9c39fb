"""What a worker's function gets for its inputs, for tests of types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conductor_grpc import Task
from conductor_grpc.worker.inputs.binding import plan_binding

if TYPE_CHECKING:
    from collections.abc import Callable


def bound(function: Callable[..., object], **inputs: Any) -> dict[str, object]:
    """The keyword arguments of the function for these inputs."""
    positional, keywords = plan_binding(function).bind(Task(input_data=inputs))
    assert positional == []
    return keywords


def annotated(annotation: Any) -> Callable[..., object]:
    """A function with one parameter `x` of this annotation, which returns what it gets."""

    def function(x):  # type: ignore[no-untyped-def]
        return x

    function.__annotations__["x"] = annotation
    return function


def one(annotation: Any, value: Any) -> object:
    """The value that a parameter of this annotation gets for an input."""
    return bound(annotated(annotation), x=value)["x"]
