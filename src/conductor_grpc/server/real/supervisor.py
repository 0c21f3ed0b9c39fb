"""A small process between the launcher and Java: whoever dies first, no Java is left behind.

Run as a script by :mod:`conductor_grpc.server.real.launcher`, with the standard library only::

    python -I -S supervisor.py LAUNCHER_PID GRACE_SECONDS FOLDER_TO_REMOVE JAVA [ARGUMENT ...]

Asking the kernel to kill Java together with its parent (PR_SET_PDEATHSIG) is bound to the *thread* that
started it, and a launcher may be called from a thread that ends long before the server should; it also
needs code between fork and exec, which is unsafe in a process with threads. This process has one thread,
so both objections fall away here: Java dies with the supervisor by that signal, and the supervisor notices
the launcher's death by its own parent changing.

It writes Java's process id to its standard output, and ends with Java's exit code (128 + n for signal n).
SIGTERM stops Java in order, SIGUSR1 kills it at once.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

KILL_NOW = signal.SIGUSR1

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, KILL_NOW)
_LOOK_AFTER = 0.5  # seconds between two looks at whether the launcher is alive
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Runs Java to its end; returns the exit code to leave with."""
    launcher, grace, folder = int(arguments[0]), float(arguments[1]), arguments[2]
    # Blocked, the signals wait until sigtimedwait takes them: none is lost between two looks.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    java = _start_java(arguments[3:])
    _announce(java.pid)
    orphaned = _watch(java, launcher, grace)
    if orphaned and folder:
        shutil.rmtree(folder, ignore_errors=True)
    code = java.returncode
    return code if code >= 0 else 128 - code


def _start_java(command: list[str]) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    supervisor = os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    # Safe: this process has one thread.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=before_exec)  # noqa: PLW1509


def _announce(pid: int) -> None:
    os.write(1, b"%d\n" % pid)
    os.close(1)


def _watch(java: subprocess.Popen[bytes], launcher: int, grace: float) -> bool:
    """Returns once Java is gone; whether the launcher had gone before it."""
    orphaned = False
    kill_at: float | None = None
    while java.poll() is None:
        got = signal.sigtimedwait(_SIGNALS, _LOOK_AFTER)
        number = got.si_signo if got is not None else 0
        orphaned = orphaned or os.getppid() != launcher
        asked = number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if kill_at is None and (asked or orphaned):
            java.terminate()
            kill_at = time.monotonic() + grace
        if number == KILL_NOW or (kill_at is not None and time.monotonic() >= kill_at):
            java.kill()
    return orphaned


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
