"""`keepLastN` among the input parameters of a DO_WHILE: of how many turns it keeps the tasks and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.server.embedded.engine.failures import ClassCastFailure, IllegalArgumentFailure

if TYPE_CHECKING:
    from conductor_grpc.server.embedded.engine.plan import TaskPlan, WorkflowPlan

_KEY = "keepLastN"
_JAVA_TYPES = {bool: "Boolean", float: "Double", str: "String"}


def keep_last(loop: TaskPlan) -> int:
    """How many turns; 0: all of them. Raises IllegalArgumentFailure if it is no whole number from 1 on."""
    value = loop.input_parameters.get(_KEY)
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer() and value >= 1:
        return int(value)
    raise IllegalArgumentFailure(f"task {loop.reference_name}: {_KEY} is {value!r}, must be a whole number from 1 on")


def check_keep_last(plan: WorkflowPlan, *, strict: bool) -> None:
    """Raises an EngineError if a loop of this workflow names what cannot be used.

    That is everything in strict mode: the released server takes an integer only, and none can be sent over gRPC. It
    finds out when it comes to the loop, each time it looks at the workflow; here nothing is started.
    """
    for task in plan.by_reference.values():
        if task.type != "DO_WHILE" or task.input_parameters.get(_KEY) is None:
            continue
        if strict:
            name = _JAVA_TYPES.get(type(task.input_parameters[_KEY]), "Object")
            raise ClassCastFailure(
                f"class java.lang.{name} cannot be cast to class java.lang.Integer (java.lang.{name} and"
                " java.lang.Integer are in module java.base of loader 'bootstrap')"
            )
        keep_last(task)
