"""The real Conductor server: started, stopped, killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from waiting import end_of

from conductor_grpc.errors import LauncherError
from conductor_grpc.server import RealServer, free_ports
from conductor_grpc.server.ports import is_free
from conductor_grpc.server.real import launcher
from conductor_grpc.server.real.unpack import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_server

COMMAND = "from conductor_grpc.cli.server import server_command; server_command()"
PARENT = """
import signal, sys
from conductor_grpc.server import RealServer
server = RealServer(None, int(sys.argv[1]), int(sys.argv[2]))
server.start()
print(server.pid, flush=True)
signal.pause()
"""


def arguments_of(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def rest(base_url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base_url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


def register(base_url: str, name: str) -> None:
    rest(base_url, "/metadata/taskdefs", [{"name": name, "retryCount": 7, "ownerEmail": "owner@example.com"}])


def retries(base_url: str, name: str) -> int:
    return int(rest(base_url, f"/metadata/taskdefs/{name}")["retryCount"])


def test_the_pinned_version_answers_over_rest_and_grpc(real_server: Any) -> None:
    assert rest(real_server.base_url, "/version") == "3.32.1"
    with grpc.insecure_channel(real_server.target) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=10) == b"\x08\x01"  # status: SERVING


def test_data_survives_a_restart_and_a_kill(tmp_path: Path) -> None:
    with RealServer(tmp_path, *free_ports(2)) as server:
        register(server.base_url, "survivor")
        first = server.pid
        assert arguments_of(first).count(str(unpacked())) == 1  # the quick one, not the packed jar
        server.restart()
        assert server.pid != first
        assert retries(server.base_url, "survivor") == 7

        server.kill()
        assert server.pid is None
        server.start()
        assert retries(server.base_url, "survivor") == 7
        last = server.pid
        assert last is not None
        with end_of(last) as ended:
            server.stop()
            assert ended.poll(0)
    assert is_free(server.grpc_port)
    assert is_free(server.rest_port)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("conductor.db")) == [
        "server.log",
        "worker-payload",
    ]


@contextlib.contextmanager
def running_command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command once the server is ready, and what it has shown."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = command.stdout.readline()
            assert line, command.communicate()
            shown += line
        yield command, shown


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_asked_to_stop(how: signal.Signals, tmp_path: Path) -> None:
    grpc_port, rest_port = free_ports(2)
    arguments = ["--grpc-port", str(grpc_port), "--port", str(rest_port), "--data", str(tmp_path / "data")]
    with running_command(*arguments) as (command, shown):
        assert f"localhost:{grpc_port}" in shown
        assert f"http://localhost:{rest_port}/api" in shown
        assert rest(f"http://localhost:{rest_port}/api", "/version") == "3.32.1"
        command.send_signal(how)
        _, complaints = command.communicate(timeout=60)
    assert command.returncode == 0
    assert complaints.strip() == ""
    assert is_free(grpc_port)
    assert is_free(rest_port)


def test_the_command_tells_when_the_server_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the temporary folder will be
    grpc_port, rest_port = free_ports(2)
    with running_command("--grpc-port", str(grpc_port), "--port", str(rest_port)) as (command, shown):
        process = re.search(r"Process\W+(\d+)", shown)
        assert process
        os.kill(int(process[1]), signal.SIGKILL)
        _, complaints = command.communicate(timeout=60)
    assert command.returncode == 1
    (line,) = complaints.strip().splitlines()
    assert "the server ended by itself, by SIGKILL" in line
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert kept.name == "server.log"
    assert str(kept) in line


def test_a_killed_parent_takes_java_along() -> None:
    ports = free_ports(2)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *map(str, ports)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        with end_of(int(parent.stdout.readline())) as ended:
            parent.kill()
            assert ended.poll(60_000)
    assert all(map(is_free, ports))


@pytest.mark.parametrize("which", [0, 1], ids=["grpc", "rest"])
def test_a_port_taken_while_java_starts_is_told_in_the_server_s_words(
    which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher looks first, but another program may come in between."""
    ports = free_ports(2)
    monkeypatch.setattr(launcher, "is_free", lambda _port: True)
    with socket.create_server(("0.0.0.0", ports[which])):
        server = RealServer(tmp_path, *ports)
        with pytest.raises(LauncherError, match=r"the server cannot start: .*(in use|bind)"):
            server.start()
    assert not server.running
