"""A process started by spawn, seen from the one that has started it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import multiprocessing.process
import os
import pickle
import select
import signal
import threading
import time
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker import child_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

START_TIMEOUT: Final = 120.0
"""Seconds that a process gets to import its worker."""

_REAP: Final = 2.0
"""Seconds until the exit code of a process that has ended must be there."""

_SYS_PIDFD_OPEN: Final = 434
"""The same on all architectures."""

_SPAWN: Final = multiprocessing.get_context("spawn")
_starting: Final = threading.Lock()


class ChildEnded(Exception):  # noqa: N818 - its users turn it into what it means to them
    """The process has ended; the text says how: "ended with exit code 3"."""


class SpawnedProcess:
    """A process with a pipe to it, started at once. One thread sends and receives; all else is for any."""

    def __init__(self, target: Callable[..., object], settings: object, name: str, shown: str) -> None:
        """Runs `target(connection, settings)` there, which is to handle SIGTERM and SIGINT, and then to unblock them.

        Args:
            target: A function at the top level of a module.
            settings: What can be pickled.
            name: Of the process, as `logging` knows it.
            shown: What it is, for messages: "worker 'greet'".

        Raises:
            OSError: The system has no process left.
        """
        ours, theirs = _SPAWN.Pipe()
        self._connection: connection.Connection[Any, Any] = ours
        # Not a daemon, which may have no processes of its own.
        self._process = _SPAWN.Process(target=target, args=(theirs, settings), name=name, daemon=False)
        try:
            # Blocked, so that none comes before the process handles them: the mask is inherited.
            with _starting, _blocked_signals():
                self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        with contextlib.ExitStack() as undo:
            undo.callback(self._process.close)
            undo.callback(self._process.join)
            undo.callback(self._process.kill)
            undo.callback(ours.close)
            # The end of the process itself, whatever its own children have inherited from it.
            self._pidfd = pidfd_open(self.pid)
            undo.callback(os.close, self._pidfd)
            self._wakes = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.pop_all()
        self._lock = threading.Lock()
        self._busy = False
        """Its thread is about to use it, so `close` must wait."""
        self._open = True
        self._killed = False
        self._code: int | None = None
        self._shown = f"the process {self.pid} of {shown}"

    def __str__(self) -> str:
        return self._shown

    def kill(self) -> None:
        """End it at once."""
        with self._lock:
            if self._open:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                    self._killed = True

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for its end; True if it has ended."""
        with self._lock:
            if not self._open:
                return True
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
        return bool(ended.poll(timeout * 1000))

    def ending(self) -> str:
        """How it has ended, in words."""
        code = self.exit_code()
        if code is None:
            return "ended"
        if code >= 0:
            return f"ended with exit code {code}"
        words = (signal.strsignal(-code) or "").lower()
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        by_others = -code == signal.SIGKILL and not self._killed
        hint = ", perhaps out of memory: the kernel's log tells" if by_others else ""
        return f"was killed by {name} ({words}{hint})"

    def close(self) -> None:
        """Free what it needs here, once it has ended; harmless where its thread still uses it, which then does."""
        if not self.wait(_REAP):
            return
        self.exit_code()
        with self._lock:
            if self._open and not self._busy:
                self._open = False
                self._connection.close()
                os.close(self._pidfd)
                os.close(self._wakes)
                with contextlib.suppress(ValueError):
                    self._process.close()

    def exit_code(self) -> int | None:
        """Once it has ended; below 0 the signal that killed it, None if nobody can tell."""
        # The first one who asks gets it, which may be another thread that starts a process.
        end = time.monotonic() + _REAP
        while self._code is None and time.monotonic() < end:
            with self._lock:
                if self._open:
                    self._code = self._process.exitcode
            if self._code is None:
                time.sleep(0.01)
        return self._code

    def wake(self) -> None:
        """End the wait of `receive`."""
        with self._lock:
            if self._open:  # or the number may be that of another file by now
                os.eventfd_write(self._wakes, 1)

    def send(self, *message: object) -> None:
        # Should the process be gone, the next receive says so.
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def receive(self, timeout: float | None) -> tuple[Any, ...] | None:
        """The next message that is no log; None if none came in time, or if `wake` was called.

        Raises:
            ChildEnded: There will be none.
        """
        ready = connection.wait([self._connection, self._pidfd, self._wakes], timeout)
        if self._wakes in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wakes)
        if self._connection in ready:
            try:
                message: tuple[Any, ...] = self._connection.recv()
            except (EOFError, OSError):
                # It may go on without the pipe, if the worker has closed that.
                if not self.wait(_REAP):
                    self.kill()
                raise ChildEnded(self.ending()) from None
            if message[0] != child_process.LOG:
                return message
            _handle(message[1])
        elif self._pidfd in ready:
            raise ChildEnded(self.ending())
        return None


def pidfd_open(pid: int) -> int:
    """Raises OSError, also where the kernel has no such call (before Linux 5.3)."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    # Pythons that were built for old systems lack it whatever they run on, uv's (python-build-standalone) among them.
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_OPEN, pid, 0)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_open, which process workers need (Linux 5.3 or later): {os.strerror(number)}")
    return int(descriptor)


def check_main_module(workers: str) -> None:
    """
    Raises:
        WorkerDefinitionError: This is such a process itself, since the program's main module starts something when it
            is imported; `workers` is for whom.
    """
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise WorkerDefinitionError(
            f"a process for worker {workers} has imported the program's main module, and that starts a poller again:"
            ' put it under if __name__ == "__main__":'
        )


def log_levels() -> dict[str, int]:
    """Those that a process is to have: of the root logger, "", and of this package."""
    package = __name__.partition(".")[0]
    return {name: logging.getLogger(name).getEffectiveLevel() for name in ("", package)}


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    resource_tracker.ensure_running()  # which would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, child_process.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(pickled: bytes) -> None:
    # No record is worth a task: one that cannot be read here, or that a filter fails at, is told and left.
    try:
        record: logging.LogRecord = pickle.loads(pickled)
        named = logging.getLogger(record.name)
        if named.isEnabledFor(record.levelno):
            named.handle(record)
    except Exception as error:  # noqa: BLE001 - what was pickled is the user's, and so are filters
        logger.warning("a log record of a worker's process is lost: %s: %s", type(error).__name__, error)
