"""The journal of one poller."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal import records
from conductor_grpc.poller.journal.append import append
from conductor_grpc.poller.journal.folder import (
    FolderLock,
    append_given_up,
    given_up_files,
    journal_files,
    make_folder,
    new_file,
    set_aside,
    sync_folder,
)
from conductor_grpc.poller.journal.records import Damage, Kind
from conductor_grpc.poller.journal.state import Claim, FormerWorker, Recovered, State, settled_record
from conductor_grpc.poller.part import BackgroundPart

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from conductor_grpc.poller.journal.state import Key
    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.worker.task import Task

logger = logging.getLogger(__name__)

SYNC_INTERVAL: Final = 1.0
"""Seconds of work that a power cut can cost. The death of the process costs none."""

RETRY_INTERVAL: Final = 30.0
"""Seconds until a journal that has failed is tried again."""

INTEGERS_KEPT: Final = 30 * 86_400.0
"""Seconds for which a task type counts as one that carries integers. A type that is polled over REST shows none any
more, so after that it is tried over gRPC again, at a start. If it still carries some, that costs one batch, which
reclaim finds, and it is noted anew."""

CRASHES_KEPT: Final = 7 * 86_400.0
"""Seconds for which it is remembered that a process died with a task."""

INTEGERS_NOTED_AGAIN: Final = 86_400.0
"""Seconds after which integers of a type that is known for them are worth another note."""

GROWTH: Final = 8 * 1024 * 1024
"""Bytes by which the file grows before what still matters of it moves to a new one."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class Journal(BackgroundPart):
    """What must survive the death of the process: claims, outcomes, worker ids, types that carry integers,
    and with which tasks processes have died.

    Every change is appended to a file, by one `write` in the thread that makes it: what the kernel has, a killed
    process cannot lose, so a result that was journaled is never worked out twice. Only a power cut or a kernel
    panic can lose it, at most the last SYNC_INTERVAL, and that costs what a crash without a journal costs: tasks
    are run again. That a task is settled is written with whatever comes next: to lose that costs one look at the
    server. What is settled goes when the file has grown by GROWTH and the rest moves to a new one.

    No method raises OSError. When the disk fails, the journal is off: `failed` says why, the error is logged once,
    and it is tried again every RETRY_INTERVAL. What happens meanwhile is kept in memory and written then.
    """

    def __init__(self, folder: Path, on_death: DeathHandler) -> None:
        """Use `open`."""
        super().__init__("conductor-journal", on_death)
        self.folder = folder
        self.failed: str | None = None
        """Why the journal is off; None if it is not."""
        self._lock = threading.Lock()
        self._state = State()
        self._settled: list[Key] = []
        self._folder_lock: FolderLock | None = None
        self._descriptor = -1
        """Stays the same from file to file, so that no thread ever writes to one that was closed under it."""
        self._size = self._base = 0
        self._unsynced = False
        self._next_try = 0.0
        self._told = False
        self._ended = threading.Event()
        self._recovered = Recovered()
        self.integer_types: frozenset[str] = frozenset()
        """Task types whose inputs hold JSON integers, as far as earlier runs know."""

    @classmethod
    def open(cls, folder: Path, on_death: DeathHandler) -> Journal:
        """The journal in `folder`, which is made if need be. Blocks while it is read.

        Raises:
            JournalError: Another process, or another poller of this one, has it.
        """
        journal = cls(folder, on_death)
        try:
            journal._begin()
        except OSError as error:
            journal._fail(error)
        journal._recovered = journal._state.recovered()
        journal.integer_types = journal._recovered.integer_types
        return journal

    def recover(self) -> Recovered:
        """What earlier runs have left, to the first who asks: the outcomes may take much memory. It stays in the
        journal until it is settled, or the worker id forgotten."""
        recovered, self._recovered = self._recovered, Recovered()
        return recovered

    def worker(self, worker_id: str, task_type: str, domain: str | None) -> None:
        """Note that tasks are going to be polled under this id."""
        worker = FormerWorker(worker_id, task_type, domain, time.time_ns() // 1_000_000)
        with self._lock:
            record = self._state.add_worker(worker)
        self._append(record)

    def forget_worker(self, worker_id: str) -> None:
        """Note that nothing can be stranded under this id any more."""
        with self._lock:
            record = self._state.forget_worker(worker_id)
        self._append(record)

    def integers(self, task_type: str) -> None:
        """Note that tasks of this type hold JSON integers."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            if self._state.has_integer_type(task_type, now - int(INTEGERS_NOTED_AGAIN * 1000)):
                return
            record = self._state.add_integer_type(task_type, now)
        self._append(record)

    def claimed(self, tasks: Iterable[Task]) -> None:
        """Note that these tasks are here."""
        claims = [Claim.of(task) for task in tasks]
        if not claims:
            return
        with self._lock:
            record = self._take_settled() + self._state.claim(claims)
        self._append(record)

    def finished(self, task: Task, wire: bytes) -> None:
        """Note the outcome of a task, before it is sent: `wire` is the serialised UpdateTaskRequest."""
        with self._lock:
            record = self._state.finish(Claim.of(task), wire)
        self._append(record)

    def settled(self, key: Key) -> None:
        """Note that nothing is left to do for a task: the server has its outcome, or has it back."""
        with self._lock:
            self._state.settle(key)
            if self.failed is None:  # else nothing is written, and the list would grow
                self._settled.append(key)

    def given_up(self, key: Key) -> None:
        """Note that this run does not try any more to get rid of an outcome: it goes from memory to a file of its own,
        which the next run reads. Blocks for a disk access."""
        with self._lock:
            record = self._state.outcome(key)
        if record is None or self.failed is not None:
            return  # it stays where it is: a claim is small, and a disk that failed takes nothing
        try:
            append_given_up(self.folder, record)
        except OSError as error:
            self._fail(error)
        else:
            self.settled(key)

    def crashed(self, claim: Claim) -> int:
        """Note that a process has died with this task, or ended without having got rid of it; how often that has
        happened. Once for each time that the server has handed it out."""
        with self._lock:
            times, record = self._state.crash(claim, time.time_ns() // 1_000_000)
        self._append(record)
        return times

    def flush(self) -> None:
        """Write and sync everything noted so far. Blocks."""
        with self._lock:
            record = self._take_settled()
        self._append(record)
        if self._unsynced and self.failed is None:
            self._unsynced = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """Flush and let go of the folder. Blocks; what is noted afterwards is lost."""
        self.stop()
        self.join()
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._folder_lock is not None:
            self._folder_lock.close()
            self._folder_lock = None

    def _run(self) -> None:
        while not self._ended.wait(SYNC_INTERVAL):
            if self.failed is not None:
                if time.monotonic() >= self._next_try:
                    self._try_again()
                continue
            self.flush()
            # What is kept may be large itself: outcomes that wait for a server that is down.
            if self._size - self._base > max(GROWTH, self._base):
                self._renew()

    def _wake(self) -> None:
        self._ended.set()

    def _take_settled(self) -> bytes:
        """The record of what was settled since the last one; the lock is held."""
        if not self._settled:
            return b""
        keys, self._settled = self._settled, []
        return settled_record(keys)

    def _append(self, record: bytes) -> None:
        # Not under the lock: a slow disk must hold up only those who write.
        if self.failed is not None or self._descriptor < 0 or not record:
            return  # off, or closed: a poll that the drain has given up may still bring tasks
        try:
            self._write(record)
        except OSError as error:
            self._fail(error)

    def _write(self, record: bytes) -> None:
        append(self._descriptor, record)
        self._size += len(record)  # may lose a race; it is an estimate
        self._unsynced = True

    def _fail(self, error: OSError | JournalError) -> None:
        with self._lock:
            first, self._told = not self._told, True
            self.failed = str(error)
            self._settled.clear()
        self._next_try = time.monotonic() + RETRY_INTERVAL
        (logger.error if first else logger.debug)(
            "the journal in %s is off: %s. Work goes on without it, and tasks that are here when this process is "
            "killed wait for their response timeout or run twice. %s; it is tried again every %.0f s",
            self.folder,
            error,
            _remedy(error),
            RETRY_INTERVAL,
        )

    def _try_again(self) -> None:
        try:
            if self._folder_lock is None:
                self._begin()
            else:
                self._move_to_new_file()
        except (OSError, JournalError) as error:
            self._fail(error)
        else:
            self._told = False
            logger.warning("the journal in %s works again", self.folder)

    def _renew(self) -> None:
        try:
            self._move_to_new_file()
        except OSError as error:
            self._fail(error)

    def _begin(self) -> None:
        make_folder(self.folder)
        self._folder_lock = FolderLock(self.folder)
        try:
            # What was given up comes last, since the other files tell that it was settled.
            given_up = given_up_files(self.folder)
            files = [*journal_files(self.folder), *given_up]
            damaged = {path for path in files if not self._read(path)}
            with self._lock:
                now_ms = time.time_ns() // 1_000_000
                self._state.forget_integer_types(now_ms - int(INTEGERS_KEPT * 1000))
                self._state.forget_crashes(now_ms - int(CRASHES_KEPT * 1000))
            self._move_to_new_file(damaged)
            _remove(given_up, damaged)
        except BaseException:
            self._folder_lock.close()
            self._folder_lock = None
            raise

    def _move_to_new_file(self, damaged: Collection[Path] = ()) -> None:
        """Go on in a new file that begins with all that still matters, and remove the others.

        Damaged ones are kept under another name, for somebody to look at.

        Whoever appends meanwhile has made the change to the state first, so it is in what is copied, or takes
        place after the switch and is appended to the new file; mostly both, which does no harm.
        """
        earlier = journal_files(self.folder)
        path, descriptor = new_file(self.folder)
        try:
            append(descriptor, records.FILE_HEADER)  # before the switch, from which on others append
            if self._descriptor < 0:
                self._descriptor = os.dup(descriptor)
            else:
                os.dup2(descriptor, self._descriptor, inheritable=False)
            self._size = len(records.FILE_HEADER)
            with self._lock:
                self.failed = None
                known = self._state.records()
            for record in known:
                self._write(record)
            os.fsync(self._descriptor)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        sync_folder(self.folder)
        self._base = self._size
        _remove(earlier, damaged)

    def _read(self, path: Path) -> bool:
        """Take in what the file tells; False if it was damaged otherwise than by a crash."""
        data = path.read_bytes()
        if not data.startswith(records.FILE_HEADER):
            if records.FILE_HEADER.startswith(data):
                return True  # died when it had just been made
            logger.error("%s is no journal of this version and is not read", path)
            return False
        unreadable = 0
        for record in records.decode(data):
            if isinstance(record, Damage):
                unreadable += 0 if record.torn else record.length
            elif not self._apply(*record):
                unreadable += len(record[1])
        if unreadable:
            logger.error(
                "%s is damaged: %d of its %d bytes cannot be read. Tasks that they told of wait for their response "
                "timeout or run twice; the rest is used, and the file is kept as it is under another name",
                path,
                unreadable,
                len(data),
            )
        return not unreadable

    def _apply(self, kind: Kind, payload: bytes) -> bool:
        try:
            with self._lock:
                self._state.apply(kind, payload)
        except (ValueError, TypeError):  # whole, but not written by this version
            return False
        return True


def _remove(files: Iterable[Path], damaged: Collection[Path]) -> None:
    for each in files:
        if each in damaged:
            set_aside(each)
        else:
            each.unlink()


def _remedy(error: OSError | JournalError) -> str:
    number = getattr(error, "errno", None)
    if number in _FULL:
        return "Free disk space"
    if number in _FORBIDDEN:
        return "Make the folder writable for this user, or choose another one"
    return "Set that right, or choose another folder"
