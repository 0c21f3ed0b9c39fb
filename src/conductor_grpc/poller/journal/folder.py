"""The journal's folder: who has it, and the files in it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal.append import append
from conductor_grpc.poller.journal.records import FILE_HEADER

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"journal-(\d{9})")
_GIVEN_UP: Final = "given-up"

_locked: dict[str, int] = {}
_locked_lock: Final = threading.Lock()


class FolderLock:
    """Keeps other processes, and others in this one, off a folder until `close` or the end of the process.

    A lock of the kernel's: it ends with the process, however that ends, and a forked child does not inherit it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises JournalError if somebody else has it, OSError if the folder cannot be used."""
        self._name = os.path.realpath(folder)
        path = folder / "lock"
        with _locked_lock:
            # Such a lock belongs to the process, which could take it twice, and closing any descriptor of the
            # file would release it. So within the process a register tells; a forked child finds the parent's in it.
            if _locked.get(self._name) == os.getpid():
                raise _in_use(folder, f"another poller of this process ({os.getpid()})")
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, f"{os.getpid()} on {socket.gethostname()}".encode())
            except BlockingIOError:
                holder = os.read(self._descriptor, 200).decode(errors="replace")
                os.close(self._descriptor)
                raise _in_use(folder, f"process {holder or '(unknown)'}") from None
            except BaseException:
                os.close(self._descriptor)
                raise
            _locked[self._name] = os.getpid()

    def close(self) -> None:
        with _locked_lock:
            if _locked.get(self._name) == os.getpid():
                del _locked[self._name]
                os.close(self._descriptor)


def _in_use(folder: Path, holder: str) -> JournalError:
    return JournalError(
        f"the journal in {folder} is in use by {holder}: give each process a folder of its own, or stop that one first"
    )


def make_folder(folder: Path) -> None:
    """Make it, for this user only: the journal holds the outputs of tasks."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def journal_files(folder: Path) -> list[Path]:
    """The files with records, oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def new_file(folder: Path) -> tuple[Path, int]:
    """The path and the descriptor, for appending, of an empty file that sorts after all others."""
    path = folder / f"journal-{_last_number(folder) + 1:09}"
    return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def given_up_files(folder: Path) -> list[Path]:
    """Those with the outcomes that a run has given up."""
    path = folder / _GIVEN_UP
    return [path] if path.exists() else []


def append_given_up(folder: Path, record: bytes) -> None:
    """Add a record to that file, such that a power cut cannot lose it. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(folder / _GIVEN_UP, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size == 0:
            record = FILE_HEADER + record
        append(descriptor, record)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(folder)


def adopt(folder: Path) -> None:
    """Take over what killed processes have left in the numbered folders beside this one, and in numbered folders within
    those and this one, which nobody may need again: fewer processes may run from now on. Folders that are in use are
    left alone, with all that is in them.

    Raises:
        JournalError: The folder itself is in use.
    """
    try:
        make_folder(folder)
        with contextlib.closing(FolderLock(folder)):
            for each in [*_numbered(folder.parent), *_numbered(folder)]:
                if each != folder:
                    _take_over(each, folder)
    except OSError as error:
        _cannot_take_over(folder.parent, error)


def adopt_below(root: Path, folder: Path) -> None:
    """Take over into `folder`, one of the numbered folders in `root`, what killed processes have left in `root` itself
    and in the others. The caller has the lock of `root`.

    Raises:
        JournalError: The folder is in use.
    """
    try:
        with contextlib.closing(FolderLock(folder)):
            _move_files(root, folder)
            for each in _numbered(root):
                if each != folder:
                    _take_over(each, folder)
    except OSError as error:
        _cannot_take_over(root, error)


def _numbered(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.name.isdecimal() and each.is_dir())


def _take_over(source: Path, target: Path) -> None:
    with contextlib.suppress(JournalError), contextlib.closing(FolderLock(source)):
        _move_files(source, target)
        for each in _numbered(source):
            _take_over(each, target)


def _move_files(source: Path, target: Path) -> None:
    # A rename is all or nothing, so a kill at any moment leaves each file in one of the two folders. Each file speaks
    # of turns of tasks that only its own process has had, so the order among those of different folders is of no
    # importance; what was given up comes after what says that it was settled.
    for path in [*journal_files(source), *given_up_files(source)]:
        path.rename(target / f"journal-{_last_number(target) + 1:09}")
        logger.info("the journal %s of a killed process is taken over", path)


def _cannot_take_over(folder: Path, error: OSError) -> None:
    logger.warning(
        "what killed processes may have left in %s cannot be taken over: %s. Their tasks wait for their response "
        "timeout, or for as many processes as there were then",
        folder,
        error,
    )


def _last_number(folder: Path) -> int:
    return max((int(path.name.partition("-")[2]) for path in journal_files(folder)), default=0)


def set_aside(path: Path) -> Path:
    """Rename a file that is not to be read again, for somebody to look at."""
    aside = path.with_name(f"{path.name}.damaged")
    path.rename(aside)
    return aside


def sync_folder(folder: Path) -> None:
    """Make the names of new files outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every file system can, and a killed process needs none of this
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
