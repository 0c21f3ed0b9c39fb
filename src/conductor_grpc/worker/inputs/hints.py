"""Reading annotations: resolved, of functions and of classes."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import WorkerDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable


class naming:  # noqa: N801 - reads as a statement
    """Puts the place of a bad annotation in front of the error about it."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, WorkerDefinitionError):
            raise WorkerDefinitionError(f"{self._place}: {error}") from None


def parameter_hints(function: Callable[..., object]) -> dict[str, Any]:
    """The annotations of its parameters.

    Without the return annotation, which often names a type imported for type checking only and is not needed.

    Raises:
        WorkerDefinitionError: It is no function of Python's, or an annotation cannot be resolved.
    """
    plain = _plain(function)
    hints = {key: hint for key, hint in _declared(plain).items() if key != "return"}
    return resolve_hints(_carrier(plain.__globals__, plain.__qualname__, hints))


def return_hint(function: Callable[..., object]) -> Any:
    """The return annotation; Any if there is none.

    Raises:
        WorkerDefinitionError: It cannot be resolved.
    """
    plain = _plain(function)
    hints = {key: hint for key, hint in _declared(plain).items() if key == "return"}
    return resolve_hints(_carrier(plain.__globals__, plain.__qualname__, hints)).get("return", Any)


def resolve_hints(owner: Any) -> dict[str, Any]:
    """typing.get_type_hints, strings resolved, with what `Annotated` adds.

    Raises:
        WorkerDefinitionError: An annotation is a name that cannot be resolved in the owner's module.
    """
    try:
        hints = typing.get_type_hints(owner, include_extras=True)
    except Exception as error:
        raise WorkerDefinitionError(
            f"cannot resolve the annotations of {owner.__qualname__}: {type(error).__name__}: {error}."
            " Import or define the type at module level (not under TYPE_CHECKING or in a function), before"
            " the worker"
        ) from error
    return hints if sys.version_info >= (3, 11) else _resolved_inside(owner, hints)


def alias_value(alias: Any) -> Any:
    """What a `type X = ...`, or a TypeAliasType of typing_extensions, stands for.

    Raises:
        WorkerDefinitionError: It cannot be resolved.
    """
    space = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
    return resolve_hints(_carrier(space, str(alias), {"value": alias.__value__}))["value"]


def type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)


def _resolved_inside(owner: Any, hints: dict[str, Any]) -> dict[str, Any]:
    """With what Python 3.10 leaves as text: the name in `list["Node"]`, where `List["Node"]` has it resolved."""
    for name, hint in hints.items():
        referring = _referring(hint)
        if referring is not hint:
            hints[name] = resolve_hints(_carrier(_space_of(owner, name), owner.__qualname__, {name: referring}))[name]
    return hints


def _space_of(owner: Any, name: str) -> dict[str, Any]:
    """Where the names in the annotation of `name` are looked up."""
    if not isinstance(owner, type):
        return typing.cast("dict[str, Any]", owner.__globals__)
    said_by = next((each for each in owner.__mro__ if name in vars(each).get("__annotations__", {})), owner)
    return vars(sys.modules[said_by.__module__])


def _referring(hint: Any) -> Any:
    """`hint`, with references in place of texts in the brackets of `list` and the like; itself if there are none."""
    arguments = getattr(hint, "__args__", ())
    generic, union = isinstance(hint, types.GenericAlias), isinstance(hint, types.UnionType)
    if not (generic or union or hasattr(hint, "copy_with")):
        return hint
    made = tuple(
        typing.ForwardRef(each) if generic and isinstance(each, str) else _referring(each) for each in arguments
    )
    if all(new is old for new, old in zip(made, arguments, strict=True)):
        return hint
    if union:
        return typing.Union[made]  # noqa: UP007 - of what was made just now
    return types.GenericAlias(hint.__origin__, made) if generic else hint.copy_with(made)


def _plain(function: Callable[..., object]) -> types.FunctionType:
    plain = inspect.unwrap(function)
    if not isinstance(plain, types.FunctionType):
        raise WorkerDefinitionError(f"{plain!r} has no signature to read: wrap it in a def")
    return plain


def _declared(function: types.FunctionType) -> dict[str, Any]:
    if sys.version_info >= (3, 14):  # where they are evaluated when asked for, and one may not be possible yet
        import annotationlib

        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return function.__annotations__


def _carrier(space: dict[str, Any], name: str, annotations: dict[str, Any]) -> types.FunctionType:
    # A function object, since get_type_hints takes annotations of any other kind apart differently.
    carrier = types.FunctionType(_nothing.__code__, space, name)
    carrier.__qualname__ = name
    carrier.__annotations__ = annotations
    return carrier


def _nothing() -> None:
    """The body of the carrier of annotations; never called."""
