"""Binding a task's inputs to the parameters of a worker function, by name."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.worker.annotation import ConverterFactory, naming, resolve_hints
from conductor_grpc.worker.conversion import Converter, Entry, Mismatch
from conductor_grpc.worker.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class BindingPlan:
    """How to call one function with a task: made once, when the worker is declared. Thread-safe."""

    entries: tuple[Entry, ...]
    """The parameters that are inputs."""
    task_parameters: tuple[str, ...]
    """The parameters annotated Task."""
    positional: tuple[tuple[str, object], ...]
    """Name and default of the parameters that can be passed by position only."""
    rest: Converter | None
    """For the values that `**kwargs` takes; None where the function has no such parameter."""

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
            path = error.path.removeprefix(".")
            hint = "; to get the task itself, annotate it: task: Task" if path == "task" else ""
            raise InputError(path, error.message + hint) from error.__cause__
        for name in self.task_parameters:
            arguments[name] = task
        return [arguments.pop(name, default) for name, default in self.positional], arguments

    def _take_rest(self, inputs: dict[str, Any], arguments: dict[str, object]) -> None:
        assert self.rest is not None
        named = {entry.name for entry in self.entries}.union(self.task_parameters)
        for name in inputs:
            if name not in named:
                Entry(name, self.rest, required=True).take(inputs, arguments)


def plan_binding(function: Callable[..., object]) -> BindingPlan:
    """The plan for `function`, from its signature.

    A parameter without annotation takes the input of its name as it came; one annotated `Task` takes the
    task.

    Raises:
        WorkerDefinitionError: A parameter cannot be filled from named inputs, or has an unsupported
            annotation.
    """
    factory = ConverterFactory()
    hints = _parameter_hints(function)
    entries: list[Entry] = []
    tasks: list[str] = []
    positional: list[tuple[str, object]] = []
    rest: Converter | None = None
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = hints.get(name, Any)
        with naming(f"parameter {name!r} of {function.__qualname__}"):
            if parameter.kind is Parameter.VAR_POSITIONAL:
                raise WorkerDefinitionError("inputs have names and *args has none: use **kwargs or named parameters")
            if parameter.kind is Parameter.VAR_KEYWORD:
                rest = factory.converter(annotation)
                continue
            if parameter.kind is Parameter.POSITIONAL_ONLY:
                positional.append((name, parameter.default))
            if annotation is Task:
                tasks.append(name)
            else:
                required = parameter.default is Parameter.empty
                entries.append(Entry(name, factory.converter(annotation), required))
    return BindingPlan(tuple(entries), tuple(tasks), tuple(positional), rest)


def _parameter_hints(function: Callable[..., object]) -> dict[str, Any]:
    # Without the return annotation, which often names a type imported for type checking only and is not
    # needed. A function object carries them since get_type_hints takes those of any other kind apart
    # differently.
    plain = inspect.unwrap(function)
    if not isinstance(plain, types.FunctionType):
        raise WorkerDefinitionError(f"{plain!r} has no signature to read: wrap it in a def")
    carrier = types.FunctionType(_nothing.__code__, plain.__globals__, plain.__name__)
    carrier.__qualname__ = plain.__qualname__
    carrier.__annotations__ = {
        name: annotation for name, annotation in plain.__annotations__.items() if name != "return"
    }
    return resolve_hints(carrier)


def _nothing() -> None:
    """The body of the carrier of annotations; never called."""
