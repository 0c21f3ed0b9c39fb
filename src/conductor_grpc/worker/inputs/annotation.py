"""From a type annotation to the rule for it, and clear words where there is none."""

from __future__ import annotations

import collections.abc
import enum
import functools
import operator
import types
import typing
from typing import Any, Final, NewType

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.inputs.composed import (
    array_rule,
    choice_rule,
    dict_rule,
    keyed_dict_rule,
    tuple_rule,
    union_rule,
)
from conductor_grpc.worker.inputs.conversion import SCALARS, mismatch
from conductor_grpc.worker.inputs.hints import alias_value, naming, type_name
from conductor_grpc.worker.inputs.pydantic_rule import (
    constrained,
    is_constraint,
    is_pydantic,
    is_pydantic_class,
    pydantic_rule,
    refuse_without_effect,
)
from conductor_grpc.worker.inputs.records import RecordRules
from conductor_grpc.worker.inputs.rule import Rule, fixed
from conductor_grpc.worker.inputs.standard import STANDARD
from conductor_grpc.worker.task import Task

_JSON: Final[dict[Any, dict[str, Any]]] = {
    Any: {},
    object: {},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    None: {"type": "null"},
    types.NoneType: {"type": "null"},
}
_NAMED: Final = {each: Rule(SCALARS[each], fixed(schema)) for each, schema in _JSON.items()} | STANDARD

_LISTS: Final = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
_SETS: Final[dict[object, Any]] = {
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
_DICTS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class RuleFactory:
    """Makes rules, and remembers those of types that may refer to themselves."""

    def __init__(self) -> None:
        self._records = RecordRules(self.rule)
        self._aliases: dict[object, Rule] = {}

    def rule(self, annotation: Any) -> Rule:
        """The rule for a resolved annotation. What this package does not know is left to pydantic, if it is there.

        Raises:
            WorkerDefinitionError: There is no rule for this annotation.
        """
        own = self._own_rule(annotation)
        return own if own is not None else pydantic_rule(annotation, type_name(annotation))

    def _own_rule(self, annotation: Any) -> Rule | None:
        named = _named_rule(annotation)
        if named is not None:
            return named
        if annotation is Task:
            raise WorkerDefinitionError(
                "Task cannot be a part of another type: annotate a parameter with Task and nothing else"
            )
        if isinstance(annotation, NewType):
            return self.rule(annotation.__supertype__)
        if type(annotation).__name__ == "TypeAliasType":  # of typing, which has it from 3.12 on, or typing_extensions
            return self._alias(annotation)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self._annotated(annotation, arguments[0], arguments[1:])
        if origin is typing.Union or origin is types.UnionType:
            return self._union(arguments)
        if origin is typing.Literal:
            return choice_rule((each, each) for each in arguments)
        return self._container(origin or annotation, annotation, arguments) or self._class(origin, annotation)

    def _container(self, cls: Any, annotation: Any, arguments: tuple[Any, ...]) -> Rule | None:
        if cls in _LISTS:
            return array_rule(self.rule(arguments[0] if arguments else Any))
        if cls is tuple:
            return self._tuple(arguments, bare=not arguments and annotation != tuple[()])
        if cls in _DICTS:
            return self._dict(annotation, arguments)
        if isinstance(cls, type) and cls in _SETS:
            return array_rule(self.rule(arguments[0] if arguments else Any), _SETS[cls])
        return None

    def _class(self, origin: Any, annotation: Any) -> Rule | None:
        # Python 3.10 calls set[int] a type, hence the origin.
        if origin is not None or not isinstance(annotation, type):
            return None
        if is_pydantic_class(annotation):
            return pydantic_rule(annotation, annotation.__name__)
        if issubclass(annotation, enum.Enum):
            return _enum_rule(annotation)
        return self._records.rule(annotation)

    def _annotated(self, annotation: Any, bare: Any, metadata: tuple[Any, ...]) -> Rule | None:
        theirs = [each for each in metadata if is_pydantic(each)]
        if not theirs:
            return self.rule(bare)
        refuse_without_effect(theirs)
        own = self._own_rule(bare) if all(map(is_constraint, theirs)) else None
        return None if own is None else constrained(own, annotation, type_name(annotation))

    def _alias(self, alias: Any) -> Rule:
        if alias not in self._aliases:
            meant: list[Rule] = []
            self._aliases[alias] = Rule(
                lambda value: meant[0].convert(value),  # noqa: PLW0108 - it is not there yet
                lambda definitions: definitions.reference(alias, str(alias), lambda: meant[0].schema(definitions)),
            )
            try:
                with naming(str(alias)):
                    meant.append(self.rule(alias_value(alias)))
            except WorkerDefinitionError:
                del self._aliases[alias]  # as a record that is half made
                raise
        return self._aliases[alias]

    def _union(self, arguments: tuple[Any, ...]) -> Rule:
        members = [(type_name(each), self.rule(each)) for each in arguments if each is not types.NoneType]
        return union_rule(members, nullable=len(members) < len(arguments))

    def _tuple(self, arguments: tuple[Any, ...], *, bare: bool) -> Rule:
        if bare or (len(arguments) == 2 and arguments[1] is ...):
            return array_rule(self.rule(Any if bare else arguments[0]), tuple)
        members = [self.rule(each) for each in arguments if each != ()]  # in 3.10 Tuple[()] has the argument ()
        return tuple_rule(members, len(members))

    def _dict(self, annotation: Any, arguments: tuple[Any, ...]) -> Rule:
        key, value = arguments or (str, Any)
        if key in (str, Any):
            return dict_rule(self.rule(value))
        return keyed_dict_rule(self.rule(key), self.rule(value), type_name(annotation))


def _named_rule(annotation: Any) -> Rule | None:
    try:
        return _NAMED.get(annotation)
    except TypeError:  # without a hash, such as Annotated[int, ["a list"]]
        return None


def _enum_rule(cls: type[enum.Enum]) -> Rule:
    choice = _flag_rule(cls) if issubclass(cls, enum.Flag) else choice_rule((member.value, member) for member in cls)
    return Rule(
        choice.convert,
        lambda definitions: definitions.reference(cls, cls.__name__, lambda: choice.schema(definitions)),
    )


def _flag_rule(cls: type[enum.Flag]) -> Rule:
    """Any members together, which travel as the one number that they are."""
    values = [member.value for member in cls]
    every = functools.reduce(operator.or_, values, 0)
    expected = f"members of {cls.__name__} together, as the sum of their values ({', '.join(map(str, values))})"

    def convert(value: object) -> object:
        number = SCALARS[int](value)
        if not isinstance(number, int) or number & ~every:
            raise mismatch(expected, value)
        return cls(number)

    return Rule(convert, fixed({"type": "integer", "minimum": 0, "maximum": every}))
