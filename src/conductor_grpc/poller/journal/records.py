"""How the journal's files are written: records that show whether they are whole."""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_HEADER: Final = b"conductor-grpc journal 1\n"
"""First bytes of each file. Another version of the format gets another number."""

_MARK: Final = b"\xc0\xd7"  # no UTF-8 text holds these bytes
_HEADER: Final = struct.Struct("<2scII")  # mark, kind, length and checksum of the payload


class Kind(bytes, enum.Enum):
    """What a record tells."""

    WORKER = b"W"
    FORGET_WORKER = b"F"
    CLAIMS = b"C"
    OUTCOME = b"O"
    SETTLED = b"S"
    INTEGERS = b"I"
    CRASH = b"X"


_KINDS: Final = {kind.value: kind for kind in Kind}


@dataclass(frozen=True)
class Damage:
    """Bytes that are no record."""

    offset: int
    length: int
    torn: bool
    """They are what a write that was cut short leaves at a file's end, by the process's or the machine's death."""


def encode(kind: Kind, payload: bytes) -> bytes:
    """The record, to be written by one call."""
    return _HEADER.pack(_MARK, kind, len(payload), zlib.crc32(payload)) + payload


def decode(data: bytes) -> Iterator[tuple[Kind, bytes] | Damage]:
    """The records of a file that begins with FILE_HEADER, and what lies between them. Never raises.

    After damage it goes on at the next record that is whole: one bad sector must not cost all that came later.
    """
    position = len(FILE_HEADER)
    while position < len(data):
        record = _record_at(data, position)
        if record is None:
            end = _next_record(data, position + 1)
            yield Damage(position, end - position, torn=end == len(data) and _torn(data, position))
            position = end
        else:
            yield record
            position += _HEADER.size + len(record[1])


def _record_at(data: bytes, position: int) -> tuple[Kind, bytes] | None:
    if position + _HEADER.size > len(data):
        return None
    mark, kind, length, checksum = _HEADER.unpack_from(data, position)
    start = position + _HEADER.size
    if mark != _MARK or kind not in _KINDS or start + length > len(data):
        return None
    payload = data[start : start + length]
    return (_KINDS[kind], payload) if zlib.crc32(payload) == checksum else None


def _next_record(data: bytes, position: int) -> int:
    while (position := data.find(_MARK, position)) >= 0:
        if _record_at(data, position) is not None:
            return position
        position += 1
    return len(data)


def _torn(data: bytes, position: int) -> bool:
    """Whether the rest of the file is the beginning of one record, or the zeros that a power cut leaves."""
    rest = data[position:]
    if not rest.strip(b"\0"):
        return True
    if len(rest) < _HEADER.size:
        return rest.startswith(_MARK[: len(rest)])
    mark, _, length, _ = _HEADER.unpack_from(rest)
    return bool(mark == _MARK) and _HEADER.size + length > len(rest)
