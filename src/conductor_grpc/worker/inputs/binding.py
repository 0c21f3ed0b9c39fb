"""Binding a task's inputs to the parameters of a worker function, by name."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, Final

from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.worker.context import current_task
from conductor_grpc.worker.inputs.annotation import RuleFactory
from conductor_grpc.worker.inputs.conversion import Mismatch
from conductor_grpc.worker.inputs.entry import Entry
from conductor_grpc.worker.inputs.hints import naming, parameter_hints
from conductor_grpc.worker.inputs.pydantic_rule import refuse_as_default
from conductor_grpc.worker.resources import is_resource
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.inputs.rule import Rule

_MOST_TOLD: Final = 8
_TASK_HINT: Final = "; to get the task itself, annotate it: task: Task"


@dataclass(frozen=True, slots=True)
class BindingPlan:
    """How to call one function with a task: made once, when the worker is declared. Thread-safe."""

    entries: tuple[Entry, ...]
    """The parameters that are inputs."""
    task_parameters: tuple[str, ...]
    """The parameters annotated Task."""
    positional: tuple[tuple[str, object], ...]
    """Name and default of the parameters that can be passed by position only."""
    rest: Rule | None
    """For the values that `**kwargs` takes; None where the function has no such parameter."""
    resource_parameters: tuple[str, ...] = ()
    """The parameters annotated Resource."""

    def bind(self, task: Task) -> tuple[list[object], dict[str, object]]:
        """Positional and keyword arguments for the function.

        Inputs that no parameter names are ignored unless the function takes `**kwargs`. null counts as absent
        where the parameter has a default and its type does not admit None.

        Raises:
            InputError: An input is missing or has the wrong type; `parameter` is its path,
                `order.items[2].price`.
        """
        arguments: dict[str, object] = {}
        try:
            for entry in self.entries:
                entry.take(task.input_data, arguments)
            if self.rest is not None:
                self._take_rest(task.input_data, arguments)
        except Mismatch as error:
            raise self._refusal(task.input_data, error) from error.__cause__
        for name in self.task_parameters:
            arguments[name] = task
        for name in self.resource_parameters:
            arguments[name] = current_task().resources[name]
        return [arguments.pop(name, default) for name, default in self.positional], arguments

    def _take_rest(self, inputs: dict[str, Any], arguments: dict[str, object]) -> None:
        assert self.rest is not None
        named = {entry.name for entry in self.entries}.union(self.task_parameters, self.resource_parameters)
        for name in inputs:
            if name not in named:
                Entry(name, self.rest.convert, required=True).take(inputs, arguments)

    def _refusal(self, inputs: dict[str, Any], first: Mismatch) -> InputError:
        """All that is wrong with the inputs, when the first of it was found."""
        found: list[Mismatch] = []
        for entry in self.entries:
            try:
                entry.take(inputs, {})
            except Mismatch as error:  # noqa: PERF203 - one after the other is the point
                found += [error, *error.others]
        found = found or [first, *first.others]
        told = [(each.path.removeprefix("."), each.message) for each in found[:_MOST_TOLD]]
        told = [(path, message + (_TASK_HINT if path == "task" else "")) for path, message in told]
        text = "; ".join([told[0][1], *(f"{path}: {message}" for path, message in told[1:])])
        more = len(found) - len(told)
        return InputError(told[0][0], f"{text}; and {more} more" if more else text)


def plan_binding(function: Callable[..., object]) -> BindingPlan:
    """The plan for `function`, from its signature.

    A parameter without annotation takes the input of its name as it came; one annotated `Task` takes the
    task.

    Raises:
        WorkerDefinitionError: A parameter cannot be filled from named inputs, or has an unsupported
            annotation.
    """
    factory = RuleFactory()
    hints = parameter_hints(function)
    entries: list[Entry] = []
    tasks: list[str] = []
    resources: list[str] = []
    positional: list[tuple[str, object]] = []
    rest: Rule | None = None
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = hints.get(name, Any)
        with naming(f"parameter {name!r} of {function.__qualname__}"):
            if parameter.kind is Parameter.VAR_POSITIONAL:
                raise WorkerDefinitionError("inputs have names and *args has none: use **kwargs or named parameters")
            if parameter.kind is Parameter.VAR_KEYWORD:
                rest = factory.rule(annotation)
                continue
            if parameter.kind is Parameter.POSITIONAL_ONLY:
                positional.append((name, parameter.default))
            if _is_task(annotation):
                tasks.append(name)
            elif is_resource(annotation):
                resources.append(name)
            else:
                entries.append(_entry(parameter, factory.rule(annotation)))
    return BindingPlan(tuple(entries), tuple(tasks), tuple(positional), rest, tuple(resources))


def _is_task(annotation: Any) -> bool:
    return annotation is Task or (typing.get_origin(annotation) is Annotated and typing.get_args(annotation)[0] is Task)


def _entry(parameter: Parameter, rule: Rule) -> Entry:
    if parameter.default is Parameter.empty:
        return Entry(parameter.name, rule.convert, True, rule.schema)
    refuse_as_default(parameter.default)
    return Entry(parameter.name, rule.convert, False, rule.schema, parameter.default)
