"""The journal's folder: who has it, and the files in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"journal-(\d{9})")

_locked: dict[str, int] = {}
_locked_lock: Final = threading.Lock()


class FolderLock:
    """Keeps other processes, and others in this one, off a folder until `release` or the end of the process.

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

    def release(self) -> None:
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
    last = max((int(path.name.partition("-")[2]) for path in journal_files(folder)), default=0)
    path = folder / f"journal-{last + 1:09}"
    return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


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
