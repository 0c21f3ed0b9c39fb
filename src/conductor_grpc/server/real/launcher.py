"""A real Conductor 3.32.1 on this machine: Java, SQLite, gRPC and REST, started and stopped from Python.

Java runs under :mod:`conductor_grpc.server.real.supervisor`, in a session of its own: Ctrl-C in the terminal
reaches this process only, which then stops Java in order; and Java does not outlive this process, whatever
ends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.ports import is_free
from conductor_grpc.server.real import supervisor
from conductor_grpc.server.real.health import grpc_serving, rest_healthy
from conductor_grpc.server.real.jar import Progress, Step, server_jar, silent
from conductor_grpc.server.real.java import QUICK_START, QUIET, find_java, server_properties
from conductor_grpc.server.real.server_log import gave_up, telling_line
from conductor_grpc.server.real.unpack import unpack, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

_LOG_NAME = "server.log"
_DATABASE_NAME = "conductor.db"
_JAVA_TEMP_NAME = "java-tmp"
_LOOK_EVERY = 0.1  # seconds between two looks at a server that is starting
_LAST_LINES = 1.0  # seconds a server that has given up gets to write down why
_SUPERVISOR_MARGIN = 5.0  # seconds it gets beyond the grace it gives Java

_log = logging.getLogger(__name__)


class RealServer:
    """One Conductor server process, with an SQLite database in one folder. Context manager.

    It listens on every interface, without authentication: for development and tests.

    :param folder: where database and log live; it is made when missing and stays. None: a temporary folder,
        removed by :meth:`stop` (after a failed start only the log is kept there, for reading).
    :param grpc_port: TCP port of the gRPC services.
    :param rest_port: TCP port of REST (under ``/api``) and of the UI (``/``).
    :param jar: the server's jar, taken as it is; None: the pinned one, downloaded and unpacked at its first use.
    :param heap: the most Java may take for its heap, as in ``-Xmx``: ``768m``, ``2g``.
    :param jvm_options: more options for Java itself, after ours.
    :param properties: more server (Spring) properties; they win over ours, except for the two ports.
    :param start_timeout: seconds :meth:`start` waits for the server to be ready; the download not counted.
    :param stop_timeout: seconds Java gets to end in order before it is killed.
    :param progress: told how download and start go.

    :meth:`start` is called by one thread; :meth:`stop`, :meth:`kill` and :meth:`wait` by any.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        grpc_port: int = 8090,
        rest_port: int = 8080,
        *,
        jar: str | Path | None = None,
        heap: str = "1g",
        jvm_options: Sequence[str] = (),
        properties: Mapping[str, str | int | bool] | None = None,
        start_timeout: float = 120.0,
        stop_timeout: float = 15.0,
        progress: Progress = silent,
    ) -> None:
        _check_ports(grpc_port, rest_port)
        if not re.fullmatch(r"[1-9]\d*[kmgKMG]", heap):
            raise LauncherError(f"heap is {heap!r}, expected a size such as 768m or 2g")
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self._given_folder = None if folder is None else Path(folder).absolute()
        self._folder = self._given_folder
        self._jar = None if jar is None else Path(jar).absolute()
        self._java_options = [*QUICK_START, *QUIET, f"-Xmx{heap}", *jvm_options]
        self._properties = dict(properties or {})
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._progress = progress
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_file = Path(_LOG_NAME)  # of the last start; a stop by another thread may have removed it
        self._log_start = 0
        self._log_to_read = False
        self._stopping = threading.Lock()

    # -- where it is --

    @property
    def target(self) -> str:
        """gRPC address, ``host:port``."""
        return f"localhost:{self.grpc_port}"

    @property
    def base_url(self) -> str:
        """REST address, as the client's ``Configuration`` takes it."""
        return f"http://localhost:{self.rest_port}/api"

    @property
    def ui_url(self) -> str:
        """Address of the server's web pages."""
        return f"http://localhost:{self.rest_port}/"

    @property
    def folder(self) -> Path | None:
        """Where database and log are; None before the first start when no folder was given."""
        return self._folder

    @property
    def log_path(self) -> Path | None:
        """The file that takes what Java prints; None when there is no folder yet."""
        return None if self._folder is None else self._folder / _LOG_NAME

    @property
    def pid(self) -> int | None:
        """Java's process id; None when it does not run."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        """Whether the Java process is there (it may still be starting)."""
        return self._supervisor is not None and self._supervisor.poll() is None

    # -- start and stop --

    def start(self) -> None:
        """Starts the server and blocks until REST and gRPC answer: 7 to 20 s, and the download if needed.

        After :meth:`stop` or :meth:`kill` it may be called again: on a given folder, or after a kill, the
        data is still there. Raises LauncherError, its message one line; nothing is left running then.
        """
        if self.running:
            raise LauncherError(f"this server already runs, as process {self._pid}; stop it first")
        self._require_free_ports()  # before a download, to say it at once
        java = find_java()
        jar = self._jar or unpacked() or unpack(server_jar(self._progress), java, self._progress)
        started = time.monotonic()
        self._progress(Step.START, 0, 0)
        try:
            process = self._launch(java, jar)
            self._wait_until_ready(process, started + self._start_timeout)
        except BaseException as error:
            with self._stopping:
                self._end(kill=True)
                self._clear_folder(keep_log=isinstance(error, Exception))  # not after Ctrl-C
            raise
        _log.info("Conductor is ready after %.1f s, gRPC on %s", time.monotonic() - started, self.target)

    def stop(self) -> None:
        """Stops the server in order and removes a temporary folder. Blocks; idempotent; fine before a start.

        Java that has not ended after ``stop_timeout`` is killed. When it had ended by itself, its log is left
        in the temporary folder, for reading.
        """
        with self._stopping:
            if self._supervisor is not None:
                self._log_to_read = not self.running
            try:
                self._end(kill=False)
            finally:
                self._clear_folder(keep_log=self._log_to_read)

    def kill(self) -> None:
        """Kills Java as ``kill -9`` does and waits for its end; the folder stays, for another start."""
        with self._stopping:
            self._end(kill=True)

    def restart(self) -> None:
        """Stops in order and starts again with the same data and ports. Raises LauncherError."""
        with self._stopping:
            self._end(kill=False)
        self.start()

    def wait(self, timeout: float | None = None) -> int | None:
        """Blocks until Java has ended, by itself or stopped; its exit code, or None after ``timeout`` s."""
        process = self._supervisor
        if process is None:
            return None
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def death(self, code: int | None) -> LauncherError:
        """The error, its message one line, for a server that ended by itself with what :meth:`wait` returned."""
        return self._failure(f"the server ended by itself, {_ending(code or 0)}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- inside --

    def _require_free_ports(self) -> None:
        for port, what, flag, name in (
            (self.grpc_port, "gRPC", "--grpc-port", "grpc_port"),
            (self.rest_port, "REST", "--port", "rest_port"),
        ):
            if not is_free(port):
                raise LauncherError(
                    f"{what} port {port} is taken by another program; stop that, or choose another port "
                    f"({flag} on the command line, {name}= in Python)"
                )

    def _launch(self, java: Path, jar: Path) -> subprocess.Popen[bytes]:
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="conductor-grpc-"))
            folder, java_temp = self._folder, self._folder / _JAVA_TEMP_NAME
            shutil.rmtree(java_temp, ignore_errors=True)  # what a killed Java left
            java_temp.mkdir(parents=True)
            self._log_file = folder / _LOG_NAME
            log = self._log_file.open("ab")
        except OSError as error:
            where = self._folder or "for temporary files"
            raise LauncherError(f"cannot use the folder {where}: {error.strerror or error}") from error
        with log:
            self._log_start = log.tell()
            command = [
                *(sys.executable, "-I", "-S", supervisor.__file__),
                *(str(os.getpid()), str(self._stop_timeout)),
                str(folder) if self._given_folder is None else "",
                *(str(java), *self._java_options, f"-Djava.io.tmpdir={java_temp}"),
                f"-Duser.home={folder}",  # else the server makes a folder in the user's home
                *("-jar", str(jar)),
                *server_properties(folder / _DATABASE_NAME, self.grpc_port, self.rest_port, self._properties),
            ]
            process = self._supervisor = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,  # the server also reads an application.properties there
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as announced:
            line = announced.readline()
        self._pid = int(line) if line else None
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        rest_ready = False
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_EVERY)
                raise self._failure(f"the server ended while starting, {_ending(code)}")
            if gave_up(self._log_file, self._log_start):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LAST_LINES)
                raise self._failure("the server cannot start")
            rest_ready = rest_ready or rest_healthy(self.rest_port)
            if rest_ready and grpc_serving(self.grpc_port):
                return
            if time.monotonic() >= deadline:
                silent_one = "gRPC" if rest_ready else "REST"
                raise self._failure(
                    f"the server was not ready after {self._start_timeout:g} s ({silent_one} does not answer)"
                )

    def _failure(self, what: str) -> LauncherError:
        why = telling_line(self._log_file, self._log_start) or "it does not say why"
        return LauncherError(f"{what}: {why} (log: {self._log_file})")

    def _end(self, *, kill: bool) -> None:
        process = self._supervisor
        if process is None:
            return
        process.send_signal(supervisor.KILL_NOW if kill else signal.SIGTERM)
        try:
            process.wait(self._stop_timeout + _SUPERVISOR_MARGIN)
        except BaseException as interruption:
            # Java dies with its supervisor, by the kernel's hand.
            process.kill()
            process.wait()
            if not isinstance(interruption, subprocess.TimeoutExpired):
                raise
        self._supervisor = None

    def _clear_folder(self, *, keep_log: bool) -> None:
        if self._folder is None:
            return
        temporary = self._given_folder is None
        for path in self._folder.glob("*" if temporary else _JAVA_TEMP_NAME):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif not (keep_log and path.name == _LOG_NAME):
                path.unlink(missing_ok=True)
        if temporary and not keep_log:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _check_ports(grpc_port: int, rest_port: int) -> None:
    for name, port in (("grpc_port", grpc_port), ("rest_port", rest_port)):
        if not 1 <= port <= 65535:
            raise LauncherError(f"{name} is {port}, expected 1 to 65535")
    if grpc_port == rest_port:
        raise LauncherError(f"gRPC and REST cannot share port {grpc_port}; choose two")


def _ending(code: int) -> str:
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(code - 128).name}"  # the supervisor's way to say so
    return f"exit code {code}"
