"""What the released server refuses while it turns a request's protos into its own classes.

That happens before any validation: enum numbers that it does not know, a google.protobuf.Value without a kind, and a
sub-workflow definition that is no expression (an inline one cannot be sent over gRPC at all). Seen on 3.32.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Value

from conductor_grpc.pb.model.subworkflowparams_pb2 import SubWorkflowParams
from conductor_grpc.server.embedded.engine.failures import IllegalArgumentFailure
from conductor_grpc.server.embedded.engine.values import from_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message


def check_wire(message: Message) -> None:
    """Raises IllegalArgumentFailure or UnsetValue if the server could not read this message of `conductor.proto`."""
    if isinstance(message, SubWorkflowParams):
        _check_sub_workflow(message)
        return
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_ENUM:
            if field.enum_type is None or value not in field.enum_type.values_by_number:
                raise IllegalArgumentFailure(f"Unexpected enum constant: UNRECOGNIZED ({field.name}: {value})")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in _messages(field, value):
                if isinstance(part, Value):
                    from_value(part)
                elif part.DESCRIPTOR.file.package == "conductor.proto":
                    check_wire(part)


def _messages(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    """The messages in a field: one, some, or the values of a map."""
    entry = field.message_type
    if not field.is_repeated:
        yield value
    elif entry is None or not entry.GetOptions().map_entry:
        yield from value
    elif entry.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE:
        yield from value.values()


def _check_sub_workflow(message: SubWorkflowParams) -> None:
    if not message.HasField("workflow_definition"):
        return
    definition = from_value(message.workflow_definition)
    is_expression = isinstance(definition, str) and definition.startswith("${") and definition.endswith("}")
    if definition is not None and not is_expression:
        raise IllegalArgumentFailure(
            f"the definition of the sub-workflow {message.name!r} can only be an expression such as"
            " ${workflow.input.definition}: a definition itself cannot be sent over gRPC"
        )
