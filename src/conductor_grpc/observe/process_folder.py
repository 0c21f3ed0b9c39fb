"""What several processes that write one metrics file know of each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
from typing import TYPE_CHECKING, Final

from conductor_grpc.observe.values import Values, fold, gather

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

ENDED: Final = "ended"
"""The file, without its ending, with the sums of all processes that have ended."""


class ProcessFolder:
    """A folder beside the metrics file with a snapshot of each process's values, replaced as a whole each time.

    Whoever has the folder's lock adds them up. Files of our own rather than prometheus_client's multiprocess mode: that
    one must be chosen by an environment variable before prometheus_client is first imported, maps files into memory
    for each value that any code of the process counts, and never forgets a gauge of a killed process.

    A process is alive as long as it has a lock on a file of its own. The lock is the kernel's, so it ends with the
    process however that ends (or with the last child that it has forked without exec). What an ended process has
    counted is added to ENDED, and its snapshot removed; should whoever does that be killed in between, the names noted
    in ENDED keep it from being added twice.

    Methods raise OSError. One thread at a time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.path = file.with_name(f".{file.name}.processes")
        self._name = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._alive: int | None = None
        self._folder_lock: int | None = None

    def write(self, values: Values) -> None:
        """Replace this process's snapshot."""
        if self._alive is None or not self._lock_of(self._name).exists():
            self._enter()
        self._replace(self._snapshot_of(self._name), values.to_json().encode())

    def gathered(self) -> Values | None:
        """The values of all processes; None if another one has the folder's lock, and so adds them up and writes."""
        if not self._take_folder_lock():
            return None
        self._add_ended()
        living = [values for name in self._names() if (values := self._read(name)) is not None]
        return gather(living, self._read_ended()[0])

    def publish(self, content: bytes) -> None:
        """Replace the metrics file. Only for whoever has the folder's lock."""
        self._replace(self._file, content)

    def leave(self) -> None:
        """This process counts as ended from now on, and so does its snapshot. It may still add up, until `close`."""
        if self._alive is not None:
            # Unlike closing, this also works while a forked child has the descriptor.
            fcntl.flock(self._alive, fcntl.LOCK_UN)
            os.close(self._alive)
            self._alive = None

    def close(self) -> None:
        """Release everything."""
        self.leave()
        if self._folder_lock is not None:
            fcntl.flock(self._folder_lock, fcntl.LOCK_UN)
            os.close(self._folder_lock)
            self._folder_lock = None

    def _enter(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.leave()
        # Under its name only when it is locked, or others would take this process for an ended one.
        hidden = self.path / f"{self._name}.new"
        self._alive = _locked(hidden)
        assert self._alive is not None
        hidden.rename(self._lock_of(self._name))

    def _take_folder_lock(self) -> bool:
        path = self.path / "lock"
        if self._folder_lock is not None:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(self._folder_lock).st_ino:
                    return True
            os.close(self._folder_lock)  # somebody has removed the folder, and with it what we had locked
        self._folder_lock = _locked(path)
        return self._folder_lock is not None

    def _add_ended(self) -> None:
        names = [name for name in self._names() if not self._is_alive(name)]
        if not names:
            return
        ended, added = self._read_ended()
        for name in names:
            if name not in added and (values := self._read(name)) is not None:
                fold(ended, values)
        document = {"added": names, "ended": ended.to_json()}
        self._replace(self.path / f"{ENDED}.json", json.dumps(document).encode())
        for name in names:
            for path in (self._snapshot_of(name), self._lock_of(name), self.path / f"{name}.tmp"):
                path.unlink(missing_ok=True)

    def _read_ended(self) -> tuple[Values, list[str]]:
        path = self.path / f"{ENDED}.json"
        try:
            document = json.loads(path.read_bytes())
            return Values.from_json(document["ended"]), document["added"]
        except FileNotFoundError:
            return Values(), []
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s cannot be read, so what ended processes have counted is lost: %s", path, error)
            path.unlink(missing_ok=True)
            return Values(), []

    def _read(self, name: str) -> Values | None:
        path = self._snapshot_of(name)
        try:
            return Values.from_json(path.read_text())
        except FileNotFoundError:
            return None  # added to the ended ones meanwhile
        except ValueError as error:
            logger.debug("%s is left out of the metrics: %s", path, error)  # another version of this package, maybe
            return None

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self.path.glob("*.json") if path.stem != ENDED)

    def _is_alive(self, name: str) -> bool:
        if name == self._name:
            return self._alive is not None
        try:
            descriptor = os.open(self._lock_of(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two that look at the same time do not take each other for the process.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _replace(self, path: Path, content: bytes) -> None:
        """Put a file in the place of another at once: readers see the one or the other, never a part."""
        # Nobody else writes the same one, and what a killed process leaves behind is written over or removed.
        temporary = self.path / f"{path.stem}.tmp"
        temporary.write_bytes(content)
        temporary.replace(path)

    def _snapshot_of(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _lock_of(self, name: str) -> Path:
        return self.path / f"{name}.alive"


def _locked(path: Path) -> int | None:
    """A descriptor with a lock on the file, which is made if need be; None if somebody else has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
