"""Functions of pybind11 extensions as workers: their parameters stand in the docstring that pybind11 writes."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import InputError, WorkerDefinitionError
from conductor_grpc.worker.context import current_task
from conductor_grpc.worker.inputs.conversion import SCALARS, Mismatch
from conductor_grpc.worker.inputs.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conductor_grpc.worker.task import Task

_OPEN, _CLOSED, _QUOTES = "([{", ")]}", "'\""
_CANCELLATION: Final = re.compile(r"\bCancellationFlag\b")
_UNNAMED: Final = re.compile(r"arg\d+")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class NativePlan:
    """How to call a function of an extension with a task. Thread-safe."""

    name: str
    signature: str
    entries: tuple[Entry, ...]
    """The parameters that are inputs. Their values go as they came: the extension converts them."""
    cancellations: tuple[str, ...]
    """The parameters that take a CancellationFlag."""

    def bind(self, task: Task) -> tuple[list[object], dict[str, object]]:
        """Positional (none) and keyword arguments for the function, as `BindingPlan.bind` has them.

        Raises:
            InputError: An input is missing.
        """
        arguments: dict[str, object] = {}
        try:
            for entry in self.entries:
                entry.take(task.input_data, arguments)
        except Mismatch as error:
            raise InputError(
                error.path.removeprefix("."), f"{error.message}; the function is {self.signature}"
            ) from None
        for name in self.cancellations:
            arguments[name] = current_task().cancelled.flag
        return [], arguments

    def mismatch(self, error: TypeError, arguments: dict[str, object]) -> InputError | None:
        """What to raise in the place of pybind11's error if that says that an input has the wrong type."""
        if not str(error).startswith(f"{self.name}(): incompatible function arguments"):
            return None
        inputs = [entry.name for entry in self.entries]
        given = ", ".join(
            f"{name} = {arguments[name]!r:.{_SHOWN}} ({type(arguments[name]).__name__})"
            for name in inputs
            if name in arguments
        )
        return InputError(", ".join(inputs), f"expected {self.signature}, got {given}")


def is_native(function: object) -> bool:
    """Whether it is a function of an extension."""
    return isinstance(function, types.BuiltinFunctionType)


def plan_native(function: Callable[..., object]) -> NativePlan:
    """The plan for a function of a pybind11 extension.

    Raises:
        WorkerDefinitionError: Nobody can tell the names of its parameters, or one cannot be an input.
    """
    name = function.__name__
    document = function.__doc__ or ""
    signature = document.strip().partition("\n")[0]
    wrap = f"wrap it in a def, def {name}_task(...): return {name}(...)"
    if signature == f"{name}(*args, **kwargs)" and "Overloaded function." in document:
        raise WorkerDefinitionError(f"{name} has overloads, and nobody can tell which one a task means: {wrap}")
    if not signature.startswith(f"{name}(") or ")" not in signature:
        raise WorkerDefinitionError(
            f"{name} does not say what its parameters are, expected the docstring of pybind11,"
            f" {name}(a: int, b: int) -> int (is it disabled by py::options?): {wrap}"
        )
    entries, cancellations = [], []
    for parameter in _parameters(signature[len(name) + 1 :]):
        declared, _, default = _cut(parameter, "=")
        parameter_name, _, annotation = _cut(declared, ":")
        parameter_name = parameter_name.strip()
        if parameter_name in ("/", "*"):
            continue
        if parameter_name.startswith("*") or _UNNAMED.fullmatch(parameter_name):
            raise WorkerDefinitionError(
                f"{signature} has the parameter {parameter_name!r}, and inputs are bound by name: name it where it is"
                f' bound, py::arg("a"), or {wrap}'
            )
        if _CANCELLATION.search(annotation):
            cancellations.append(parameter_name)
        else:
            entries.append(Entry(parameter_name, _converter(annotation, bool(default)), not default))
    return NativePlan(name, signature, tuple(entries), tuple(cancellations))


def _converter(annotation: str, optional: bool) -> Callable[[object], object]:
    if not optional or re.search(r"\bNone\b|\bobject\b|\bOptional\b|\bAny\b", annotation):
        return SCALARS[object]  # as it is

    def present(value: object) -> object:
        if value is None:  # counts as absent, so that the default holds
            raise Mismatch(f"expected {annotation.strip()}, got null")
        return value

    return present


def _parameters(text: str) -> Iterator[str]:
    """The parts between the commas, up to the parenthesis that closes the list."""
    start = 0
    for index, character in _outside(text):
        if character in ",)":
            if text[start:index].strip():
                yield text[start:index]
            start = index + 1
        if character == ")":
            return


def _cut(text: str, separator: str) -> tuple[str, str, str]:
    for index, character in _outside(text):
        if character == separator:
            return text[:index], separator, text[index + 1 :]
    return text, "", ""


def _outside(text: str) -> Iterator[tuple[int, str]]:
    """The characters that are neither in brackets nor quoted, with their places."""
    depth, quote = 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[index - 1] != "\\" else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSED and depth:
            depth -= 1
        elif not depth:
            yield index, character
