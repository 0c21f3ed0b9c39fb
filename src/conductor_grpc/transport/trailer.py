"""The trailer in which the server tells which Java exception it met.

By convention `grpc-status-details-bin` holds a google.rpc.Status. This server puts a bare
google.rpc.DebugInfo in it (stack_entries = 1, detail = 2), on which grpcio's `rpc_status.from_call` raises. Either
is read: the embedded server keeps the convention unless it is strict.
The bytes come from outside, perhaps mangled by a proxy, so nothing here raises: what can be read is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

TRAILER_KEY = "grpc-status-details-bin"

_CLASS_NAME = re.compile(r"(?:[\w$]+\.)*([A-Z][\w$]*)(?=:|$)")


@dataclass(frozen=True)
class ServerTrace:
    """What the server said about an exception of its own."""

    exception_class: str | None
    """The class without its package, e.g. `NotFoundException`; None if it cannot be made out."""

    message: str
    """The exception's message, "" if it had none."""

    stack: tuple[str, ...]
    """The Java stack trace, one line an entry: the exception itself, `at` lines, `Caused by:` lines."""

    @property
    def causes(self) -> tuple[str, ...]:
        """The lines of the stack that name exceptions and their messages, outermost first."""
        return tuple(line for line in self.stack if not line.lstrip().startswith(("at ", "...")))


def decode_trailer(error: grpc.RpcError) -> ServerTrace | None:
    """The server's trace in a failed call, synchronous or asyncio; None if it sent none. Never raises."""
    read = getattr(error, "trailing_metadata", None)
    metadata = read() if callable(read) else None
    for key, value in metadata or ():
        if key == TRAILER_KEY and isinstance(value, bytes):
            return decode_debug_info(value)
    return None


def decode_debug_info(data: bytes) -> ServerTrace | None:
    """Read a serialized google.rpc.DebugInfo as far as it goes; None if it says nothing. Never raises."""
    stack: list[str] = []
    detail = ""
    for number, chunk in _length_delimited_fields(_without_status(data)):
        if number == 1:
            stack.append(chunk.decode("utf-8", "replace"))
        elif number == 2:
            detail = chunk.decode("utf-8", "replace")
    if not stack and not detail:
        return None
    exception_class, message = _split(detail or stack[0])
    return ServerTrace(exception_class, message, tuple(stack))


def _without_status(data: bytes) -> bytes:
    """The first detail of a google.rpc.Status (details = 3, of google.protobuf.Any: value = 2); else the data."""
    for number, chunk in _length_delimited_fields(data):
        if number == 3:
            return dict(_length_delimited_fields(chunk)).get(2, b"")
    return data


def _split(line: str) -> tuple[str | None, str]:
    """Class and message of `package.ClassName: message`."""
    match = _CLASS_NAME.match(line)
    if match is None:
        return None, line
    return match.group(1), line[match.end() :].removeprefix(":").strip()


def _length_delimited_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, content) of the strings and submessages, up to the first byte that makes no sense."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _varint(data, position)
            if tag < 8 or length < 0 or position + length > len(data):
                return
            yield tag >> 3, data[position : position + length]
            position += length
        elif wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            return


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Value and the position after it. -1 and the end of the data if it is cut off or too long."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return -1, len(data)
