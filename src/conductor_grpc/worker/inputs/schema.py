"""The JSON Schema (draft 2020-12) of what a worker takes and of what it returns."""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.decorator import FunctionWorker
from conductor_grpc.worker.in_progress import TaskInProgress
from conductor_grpc.worker.inputs.annotation import RuleFactory
from conductor_grpc.worker.inputs.binding import plan_binding
from conductor_grpc.worker.inputs.entry import object_schema
from conductor_grpc.worker.inputs.hints import return_hint
from conductor_grpc.worker.inputs.rule import Definitions, Schema
from conductor_grpc.worker.native import is_native, plan_native
from conductor_grpc.worker.result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.interface import WorkerInterface

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_ANY_OUTPUT: Final[Schema] = {"type": "object"}


def input_schema(worker: WorkerInterface) -> Schema:
    """The schema of the input data that the worker accepts.

    A function's parameters, without those annotated `Task` and `Resource`. A class with an `execute` of its own says
    nothing about its inputs: any object. Where a parameter has a default, null is accepted as if it were absent.

    Raises:
        WorkerDefinitionError: pydantic has no schema for a model in the signature.
    """
    definitions = Definitions(output=False)
    function = _function(worker)
    if function is None:
        return _document({"type": "object"}, definitions)
    if is_native(function):
        return _document(object_schema(plan_native(function).entries, definitions), definitions)
    plan = plan_binding(function)
    schema = object_schema(plan.entries, definitions)
    if plan.rest is not None:
        schema["additionalProperties"] = plan.rest.schema(definitions)
    return _document(schema, definitions)


def output_schema(worker: WorkerInterface) -> Schema:
    """The schema of the output data that the worker gives, by its return annotation.

    Nothing checks what it really returns. Any object, with a comment that says why, where the annotation does not
    resolve or is of no type with a schema: it may be there for a type checker only.
    """
    definitions = Definitions(output=True)
    function = _function(worker)
    if function is None or is_native(function):
        return _document(_ANY_OUTPUT, definitions)
    try:
        schema = _output_of(return_hint(function), definitions)
    except WorkerDefinitionError as error:
        return _document({**_ANY_OUTPUT, "$comment": f"of the return annotation: {error}"}, Definitions(output=True))
    return _document(schema, definitions)


def _function(worker: WorkerInterface) -> Callable[..., object] | None:
    return worker.__wrapped__ if isinstance(worker, FunctionWorker) else None  # type: ignore[attr-defined]


def _document(schema: Schema, definitions: Definitions) -> Schema:
    defined = {"$defs": definitions.schemas} if definitions.schemas else {}
    return {"$schema": DIALECT, **schema, **defined}


def _output_of(annotation: Any, definitions: Definitions) -> Schema:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {"anyOf": [_output_of(each, definitions) for each in typing.get_args(annotation)]}
    if isinstance(annotation, type) and issubclass(annotation, (TaskResult, TaskInProgress)):
        return dict(_ANY_OUTPUT)
    return _as_output(RuleFactory().rule(annotation).schema(definitions), definitions)


def _as_output(schema: Schema, definitions: Definitions) -> Schema:
    """A value that is no object becomes the output `{"result": value}`, and None the empty one."""
    meant = schema
    while "$ref" in meant or "allOf" in meant:
        meant = definitions.schemas[meant["$ref"].rpartition("/")[2]] if "$ref" in meant else meant["allOf"][0]
    kind = meant.get("type")
    for either in ("anyOf", "oneOf"):  # pydantic says the second of members that a field tells apart
        if either in meant:
            return {"anyOf": [_as_output(each, definitions) for each in meant[either]]}
    if not meant:  # Any
        return dict(_ANY_OUTPUT)
    if kind == "object":
        return schema
    if kind == "null":
        return {"type": "object", "maxProperties": 0}
    return {"type": "object", "properties": {"result": schema}, "required": ["result"]}
