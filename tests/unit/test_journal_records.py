"""What is read from the journal's files, whole and damaged."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_grpc.poller.journal.append import SMALL, append
from conductor_grpc.poller.journal.records import FILE_HEADER, Damage, Kind, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND, THIRD = (Kind.CLAIMS, b"first"), (Kind.OUTCOME, b"second\xc0\xd7 holds the mark"), (Kind.SETTLED, b"")
ALL = [FIRST, SECOND, THIRD]
ENCODED = [encode(*record) for record in ALL]


def a_file(*parts: bytes) -> bytes:
    return FILE_HEADER + b"".join(parts)


def test_what_is_written_is_read() -> None:
    assert list(decode(a_file(*ENCODED))) == ALL
    assert list(decode(FILE_HEADER)) == []


@pytest.mark.parametrize("kept", range(1, len(ENCODED[1])))
def test_a_write_that_was_cut_short_is_told_from_damage(kept: int) -> None:
    read = list(decode(a_file(ENCODED[0], ENCODED[1][:kept])))
    assert read == [FIRST, Damage(len(FILE_HEADER) + len(ENCODED[0]), kept, torn=True)]


def test_zeros_at_the_end_are_what_a_power_cut_leaves() -> None:
    assert list(decode(a_file(ENCODED[0], bytes(4096))))[1:] == [
        Damage(len(FILE_HEADER) + len(ENCODED[0]), 4096, torn=True)
    ]


@pytest.mark.parametrize("place", range(len(ENCODED[1])))
def test_a_changed_byte_costs_its_record_only(place: int) -> None:
    broken = bytearray(ENCODED[1])
    broken[place] ^= 0x55
    read = list(decode(a_file(ENCODED[0], bytes(broken), ENCODED[2])))
    assert read == [FIRST, Damage(len(FILE_HEADER) + len(ENCODED[0]), len(broken), torn=False), THIRD]


def test_a_record_that_was_cut_short_in_the_middle_costs_itself_only() -> None:
    """The disk was full for a moment, and another thread's record came after it."""
    read = list(decode(a_file(ENCODED[0], ENCODED[1][:9], ENCODED[2])))
    assert [each for each in read if not isinstance(each, Damage)] == [FIRST, THIRD]


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(data: bytes) -> None:
    whole = FILE_HEADER + data
    covered = 0
    for each in decode(whole):
        covered += each.length if isinstance(each, Damage) else len(encode(*each))
    assert covered == len(data)


@pytest.mark.parametrize("length", [0, 1, SMALL, SMALL + 1, 3_000_000])
def test_all_of_a_record_is_appended_zeros_included(tmp_path: Path, length: int) -> None:
    data = b"\0x" * length
    path = tmp_path / "file"
    path.write_bytes(b"before")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    append(descriptor, data)
    os.close(descriptor)
    assert path.read_bytes() == b"before" + data


@pytest.mark.parametrize("length", [1, SMALL + 1])
def test_a_disk_that_is_full_is_told(length: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            append(full, b"x" * length)
    finally:
        os.close(full)
    assert caught.value.errno == errno.ENOSPC
