"""What a server tells of its interface: server reflection, v1alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from conductor_grpc.errors import PayloadDecodeError
from conductor_grpc.payload import Layout
from conductor_grpc.transport.methods import raw_stream

if TYPE_CHECKING:
    from conductor_grpc.transport.channel import Channel

REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
"""v1alpha: the released server (3.32.1) does not know v1."""

TIMEOUT: Final = 5.0
"""Seconds for the answer."""

# As raw bytes, and as a stream of one request: it saves a dependency, and the wire is the same.
_REQUEST: Final = Layout([(4, "string")])  # file_containing_symbol
_RESPONSE: Final = Layout([(4, "bytes")])  # file_descriptor_response
_FILES: Final = Layout([(1, "messages")])  # file_descriptor_proto


def files_of(channel: Channel, symbol: str) -> list[FileDescriptorProto]:
    """The file that defines a message or service, and those it imports; empty where the server does not know it.

    Blocks. Raises ServerError, and PayloadDecodeError for an answer that is none.
    """
    ask = raw_stream(channel, REFLECTION)
    answers = list(ask(_REQUEST.encode((symbol,)), timeout=TIMEOUT))
    if not answers:
        return []
    (found,) = _RESPONSE.decode(answers[0])
    (files,) = _FILES.decode(found)
    try:
        return [FileDescriptorProto.FromString(data) for data in files]
    except DecodeError as error:
        raise PayloadDecodeError(f"not a file descriptor: {error}") from error
