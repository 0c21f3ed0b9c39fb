"""From a type annotation to the converter for it, and clear words where there is none."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from typing import Any, Final, NewType

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.conversion import (
    SCALARS,
    Converter,
    Entry,
    dataclass_of,
    dict_of,
    enum_of,
    list_of,
    literal_of,
    optional_of,
    union_of,
)
from conductor_grpc.worker.task import Task

_LISTS: Final = (list, collections.abc.Sequence)
_DICTS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class ConverterFactory:
    """Builds converters and remembers those of dataclasses, which may refer to themselves."""

    def __init__(self) -> None:
        self._dataclasses: dict[type, Converter] = {}

    def converter(self, annotation: Any) -> Converter:
        """The converter for a resolved annotation.

        Raises:
            WorkerDefinitionError: There is no rule for this annotation.
        """
        if isinstance(annotation, collections.abc.Hashable) and annotation in SCALARS:
            return SCALARS[annotation]
        if annotation is Task:
            raise WorkerDefinitionError(
                "Task cannot be a part of another type: annotate a parameter with Task and nothing else"
            )
        if isinstance(annotation, NewType):
            return self.converter(annotation.__supertype__)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments)
        if origin is typing.Literal:
            return literal_of(arguments)
        if annotation in _LISTS or origin in _LISTS:
            return list_of(self.converter(arguments[0] if arguments else Any))
        if annotation in _DICTS or origin in _DICTS:
            return self._dict(annotation, arguments)
        # Python 3.10 calls set[int] a type, hence the origin.
        if origin is None and isinstance(annotation, type):
            if issubclass(annotation, enum.Enum):
                return enum_of(annotation)
            if dataclasses.is_dataclass(annotation):
                return self._dataclass(annotation)
        raise WorkerDefinitionError(
            f"unsupported annotation {type_name(annotation)}: use Task, str, int, float, bool, None, Any,"
            " list[...], dict[str, ...], Literal, an Enum, a dataclass, or a union of these"
        )

    def _union(self, arguments: tuple[Any, ...]) -> Converter:
        members = [self.converter(each) for each in arguments if each is not types.NoneType]
        nullable = len(members) < len(arguments)
        if len(members) > 1:
            members = [union_of(members, " | ".join(type_name(each) for each in arguments))]
        return optional_of(members[0]) if nullable else members[0]

    def _dict(self, annotation: Any, arguments: tuple[Any, ...]) -> Converter:
        if arguments and arguments[0] not in (str, Any):
            raise WorkerDefinitionError(
                f"unsupported annotation {type_name(annotation)}: the keys of a JSON object are str"
            )
        return dict_of(self.converter(arguments[1] if arguments else Any))

    def _dataclass(self, cls: type) -> Converter:
        known = self._dataclasses.get(cls)
        if known is not None:
            return known
        fields: list[Entry] = []
        convert = dataclass_of(cls, fields)
        self._dataclasses[cls] = convert  # before its fields, which may name the class again
        hints = resolve_hints(cls)
        if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
            raise WorkerDefinitionError(f"dataclass {cls.__name__} has an InitVar, which has no type to check")
        for each in dataclasses.fields(cls):
            if each.init:
                required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
                with naming(f"{cls.__name__}.{each.name}"):
                    fields.append(Entry(each.name, self.converter(hints[each.name]), required))
        return convert


class naming:  # noqa: N801 - reads as a statement
    """Puts the place of a bad annotation in front of the error about it."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, WorkerDefinitionError):
            raise WorkerDefinitionError(f"{self._place}: {error}") from None


def resolve_hints(owner: Any) -> dict[str, Any]:
    """typing.get_type_hints, strings resolved.

    Raises:
        WorkerDefinitionError: An annotation is a name that cannot be resolved in the owner's module.
    """
    try:
        return typing.get_type_hints(owner)
    except Exception as error:
        raise WorkerDefinitionError(
            f"cannot resolve the annotations of {owner.__qualname__}: {type(error).__name__}: {error}."
            " Import or define the type at module level (not under TYPE_CHECKING or in a function), before"
            " the worker"
        ) from error


def type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
