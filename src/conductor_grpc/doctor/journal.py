"""The journal: can it be kept, who has it, is it whole?"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from conductor_grpc.doctor.files import why_not_writable
from conductor_grpc.doctor.finding import Finding, note, ok, warning
from conductor_grpc.doctor.integers import integers_without_rest
from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal.folder import FolderLock, given_up_files, journal_files
from conductor_grpc.poller.journal.journal import GROWTH
from conductor_grpc.poller.journal.records import FILE_HEADER, Damage, decode
from conductor_grpc.poller.journal.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conductor_grpc.doctor.setup import Setup

_MIB: Final = 1 << 20


def check(setup: Setup) -> Iterator[Finding]:
    """The folder of the configuration. What is in it is read, and left as it is."""
    folder = setup.configuration.journal
    if folder is None:
        yield note(
            "journal.none",
            "no journal: tasks of a process that is killed wait for their response timeout, and results may be lost",
            "a folder for each process",
            "--journal DIR, or Configuration(journal=...)",
        )
        return
    problem = why_not_writable(folder)
    if problem is not None:
        yield warning(
            "journal.folder",
            f"{folder} cannot be written: {problem}; workers run without a journal then",
            "a folder that this user may write to, or make",
            "make it writable, or choose another: --journal DIR",
        )
        return
    yield from _space(setup, folder)
    content: list[Finding] = []
    if not folder.exists():
        yield ok("journal", f"{folder} can be made")
        return
    try:
        FolderLock(folder).close()  # not kept: a worker that starts meanwhile is to have its journal
        with contextlib.suppress(FileNotFoundError):  # one that did has replaced what it found
            content = list(_content(setup, folder))
        FolderLock(folder).close()
        yield from content
    except JournalError as failure:
        yield warning(
            "journal.in-use",
            str(failure),
            "a folder that no other process has",
            "--journal DIR with another folder; all is well if that is the very process that you ask about",
        )


def _space(setup: Setup, folder: Path) -> Iterator[Finding]:
    while not folder.exists():
        folder = folder.parent
    free = free_bytes(folder)
    # A server that is down, and the results that wait for it, in the old file and in the new one.
    needed = 2 * setup.configuration.outbox_bytes + GROWTH
    if free < needed:
        yield warning(
            "journal.space",
            f"{folder} has {free // _MIB} MiB left",
            f"{needed // _MIB} MiB, for results that wait while the server is away",
            "free disk space, or choose another folder: --journal DIR",
        )


def free_bytes(folder: Path) -> int:
    """What this user may still write to its file system."""
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


def _content(setup: Setup, folder: Path) -> Iterator[Finding]:
    state, damaged = State(), False
    for path in [*journal_files(folder), *given_up_files(folder)]:
        unreadable = _read(path, state)
        if unreadable:
            damaged = True
            yield warning(
                "journal.damaged",
                f"{path}: {unreadable} of its {path.stat().st_size} bytes cannot be read; the tasks that they told of"
                " wait for their response timeout or run twice",
                "records that are whole",
                "nothing is to be done for the next start, which keeps the file under another name; check the disk",
            )
    left = state.recovered()
    if setup.unproven_rest is None and left.integer_types:
        yield integers_without_rest(f"by the journal, tasks of {', '.join(sorted(left.integer_types))} hold integers")
    if left.outcomes or left.claims:
        yield note(
            "journal.unfinished",
            f"{folder}: an earlier run has left {len(left.outcomes)} results to be sent and {len(left.claims)} tasks"
            " to be handed back",
            "",
            "start the workers with this journal",
        )
    elif not damaged:
        yield ok("journal", f"{folder} is free and whole")


def _read(path: Path, state: State) -> int:
    """Takes in a file; how many bytes of it cannot be read, a record cut short by a crash not counted."""
    data = path.read_bytes()
    if not data.startswith(FILE_HEADER):
        return 0 if FILE_HEADER.startswith(data) else len(data)
    unreadable = 0
    for record in decode(data):
        if isinstance(record, Damage):
            unreadable += 0 if record.torn else record.length
            continue
        try:
            state.apply(*record)
        except (ValueError, TypeError):  # whole, and not written by this version
            unreadable += len(record[1])
    return unreadable
