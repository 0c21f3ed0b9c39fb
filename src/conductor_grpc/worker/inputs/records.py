"""Rules for classes with named, typed members: dataclasses, TypedDicts and NamedTuples."""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.inputs.composed import tuple_rule
from conductor_grpc.worker.inputs.conversion import SCALARS, Converter
from conductor_grpc.worker.inputs.entry import Entry, object_of, object_schema
from conductor_grpc.worker.inputs.hints import naming, resolve_hints
from conductor_grpc.worker.inputs.pydantic_rule import refuse_as_default
from conductor_grpc.worker.inputs.rule import Definitions, Rule, Schema

if TYPE_CHECKING:
    from collections.abc import Callable


class RecordRules:
    """Makes the rules and remembers them, for a record may refer to itself."""

    def __init__(self, member_rule: Callable[[Any], Rule]) -> None:
        self._member_rule = member_rule
        self._known: dict[type, Rule] = {}

    def rule(self, cls: type) -> Rule | None:
        """The rule for a class; None if it is no record.

        Raises:
            WorkerDefinitionError: A member has no rule.
        """
        if cls in self._known:
            return self._known[cls]
        try:
            if dataclasses.is_dataclass(cls):
                return self._dataclass(cls)
            if _is_typed_dict(cls):
                return self._typed_dict(cls)
            if issubclass(cls, tuple) and hasattr(cls, "_fields"):
                return self._named_tuple(cls)
        except WorkerDefinitionError:
            self._known.pop(cls, None)  # half made: the next who needs it is to be told as well
            raise
        return None

    def _remember(self, cls: type, convert: Converter, schema: Callable[[Definitions], Schema]) -> Rule:
        # Before its members are known, which may name the class again.
        rule = self._known[cls] = Rule(
            convert, lambda definitions: definitions.reference(cls, cls.__name__, lambda: schema(definitions))
        )
        return rule

    def _dataclass(self, cls: Any) -> Rule:
        accepted: list[Entry] = []
        sent: list[Entry] = []
        rule = self._remember(
            cls,
            object_of(cls.__name__, accepted, cls),
            lambda definitions: object_schema(sent if definitions.output else accepted, definitions),
        )
        hints = resolve_hints(cls)
        if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
            raise WorkerDefinitionError(f"dataclass {cls.__name__} has an InitVar, which has no type to check")
        for each in dataclasses.fields(cls):
            with naming(f"{cls.__name__}.{each.name}"):
                refuse_as_default(each.default)
                member = self._member_rule(hints[each.name]) if each.init else self._sent_member(hints[each.name])
            sent.append(Entry(each.name, member.convert, True, member.schema))
            if each.init:
                required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
                default = ... if each.default is dataclasses.MISSING else each.default
                accepted.append(Entry(each.name, member.convert, required, member.schema, default))
        return rule

    def _typed_dict(self, cls: Any) -> Rule:
        entries: list[Entry] = []
        rule = self._remember(
            cls,
            object_of(cls.__name__, entries, dict),
            lambda definitions: object_schema(entries, definitions),
        )
        for name, hint in resolve_hints(cls).items():
            # What the class says is wrong where its annotations are text; then the hint has it.
            annotation, required = _qualified(hint, name in cls.__required_keys__)
            with naming(f"{cls.__name__}.{name}"):
                member = self._member_rule(annotation)
            entries.append(Entry(name, member.convert, required, member.schema))
        return rule

    def _named_tuple(self, cls: Any) -> Rule:
        members: list[Rule] = []
        least = len(cls._fields) - len(cls._field_defaults)
        values = tuple_rule(members, least, lambda items: cls(*items))
        rule = self._remember(cls, values.convert, values.schema)
        hints = resolve_hints(cls)
        for name in cls._fields:
            with naming(f"{cls.__name__}.{name}"):
                members.append(self._member_rule(hints.get(name, Any)))
        return rule

    def _sent_member(self, annotation: Any) -> Rule:
        # A field that the class fills itself: no input needs a rule for it.
        try:
            return self._member_rule(annotation)
        except WorkerDefinitionError:
            return Rule(SCALARS[Any], lambda _: {})


def _is_typed_dict(cls: type) -> bool:
    # By what it has: the one of typing_extensions is another class, which need not be installed.
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__") and hasattr(cls, "__total__")


def _qualified(annotation: Any, required: bool) -> tuple[Any, bool]:
    """Takes Required, NotRequired and ReadOnly off, those of typing and of typing_extensions."""
    while (name := getattr(typing.get_origin(annotation), "_name", None)) in ("Required", "NotRequired", "ReadOnly"):
        required = required if name == "ReadOnly" else name == "Required"
        (annotation,) = typing.get_args(annotation)
    return annotation, required
