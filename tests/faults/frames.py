"""HTTP/2 as far as a proxy needs it: frames, the settings that keep header blocks independent, gRPC's messages."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA: Final = 0x0
HEADERS: Final = 0x1
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE: Final = 9
MESSAGE_PREFIX: Final = 5

_HEADER_TABLE_SIZE: Final = 1
_PATH: Final = re.compile(rb"/[\w.]+/\w+")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `wire` is all of it."""

    kind: int
    flags: int
    stream: int
    wire: bytes

    @property
    def payload(self) -> bytes:
        return self.wire[HEADER_SIZE:]

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def data(self) -> bytes:
        """What a DATA frame carries, without padding."""
        payload = self.payload
        return payload[1 : len(payload) - payload[0]] if self.flags & PADDED else payload


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def reset_stream(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window_update(stream: int, size: int) -> bytes:
    """Gives back what a DATA frame that goes no further has used of the sender's window."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def status_only(stream: int, status: int, message: str) -> bytes:
    """A gRPC answer that is nothing but an error: one header block, in plain literals."""
    block = b"\x88" + b"".join(  # \x88: `:status: 200` of the static table
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (
            (b"content-type", b"application/grpc"),
            (b"grpc-status", str(status).encode()),
            (b"grpc-message", message.encode()),
        )
    )
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def without_header_table(settings: Frame) -> bytes:
    """These settings, but such that the peer's header blocks do not depend on each other.

    Then any block can be held back or left out, and paths are in it as they are. Only the first block of a
    connection has to arrive: it says that the table is empty.
    """
    if settings.flags & ACK:
        return settings.wire
    kept = b"".join(
        settings.payload[at : at + 6]
        for at in range(0, len(settings.payload), 6)
        if settings.payload[at : at + 2] != _HEADER_TABLE_SIZE.to_bytes(2, "big")
    )
    return frame(SETTINGS, 0, 0, kept + struct.pack(">HI", _HEADER_TABLE_SIZE, 0))


def method_of(headers: Frame) -> str:
    """The name of the RPC that a client's HEADERS frame begins, such as `BatchPoll`; empty if it cannot be told."""
    for found in _PATH.finditer(headers.wire):
        # In plain, so its length is in the byte before it; the byte behind it may look like a part of it.
        path = headers.wire[found.start() : found.start() + headers.wire[found.start() - 1]]
        if _PATH.fullmatch(path):
            return path.rpartition(b"/")[2].decode()
    return ""


@dataclass(slots=True)
class FrameReader:
    """Bytes to frames, however they are cut."""

    preface: int = 0
    """Bytes at the beginning that are no frame, and still to come."""
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame | bytes]:
        """The frames that are complete now; the preface as bytes."""
        self._buffer += data
        buffer = self._buffer
        if self.preface:
            if len(buffer) < self.preface:
                return
            yield bytes(buffer[: self.preface])
            del buffer[: self.preface]
            self.preface = 0
        while len(buffer) >= HEADER_SIZE:
            end = HEADER_SIZE + int.from_bytes(buffer[:3], "big")
            if len(buffer) < end:
                return
            kind, flags, stream = struct.unpack_from(">BBI", buffer, 3)
            wire = bytes(buffer[:end])
            del buffer[:end]
            yield Frame(kind, flags, stream & 0x7FFFFFFF, wire)


@dataclass(slots=True)
class MessageReader:
    """The payload of DATA frames to gRPC messages."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while len(self._buffer) >= MESSAGE_PREFIX:
            end = MESSAGE_PREFIX + int.from_bytes(self._buffer[1:MESSAGE_PREFIX], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[MESSAGE_PREFIX:end])
            del self._buffer[:end]
            yield message
