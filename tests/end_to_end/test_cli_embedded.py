"""`conductor-grpc server --embedded`: from the first line to the end in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from guide import ROOT

from conductor_grpc import Configuration, MetadataClient, TaskClient, UnavailableError
from conductor_grpc.server import free_ports
from conductor_grpc.server.ports import is_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "conductor_grpc", "server", "--embedded"]
TASK = {"name": "kept", "retryCount": 5, "ownerEmail": "someone@example.com"}


class Running:
    """The command once its server is ready."""

    def __init__(self, process: subprocess.Popen[str], shown: dict[str, str]) -> None:
        self.process = process
        self.shown = shown
        """The rows of its table."""
        self.configuration = Configuration("", target=shown["gRPC"], call_timeout=30)

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and complaints."""
        self.process.send_signal(how)
        _, complaints = self.process.communicate(timeout=120)
        return self.process.returncode, complaints.strip()


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Running]:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            shown = {}
            while (line := process.stdout.readline()) != "Ctrl-C stops it.\n":
                assert line, process.communicate()
                name, _, value = line.rstrip("\n").partition("\t")
                shown[name] = value
            yield Running(process, shown)
        finally:
            process.kill()  # harmless if it has ended


@pytest.fixture
def port() -> str:
    return str(free_ports(1)[0])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_asked_to_stop(how: signal.Signals, port: str) -> None:
    with running("--grpc-port", port) as server:
        assert server.shown == {
            "gRPC": f"127.0.0.1:{port}",
            "REST": "none",
            "Data": "in memory",
            "Mode": "lenient",
            "Process": str(server.process.pid),
        }
        with TaskClient(server.configuration) as client:
            assert client.poll("nobody_knows_it") is None
            assert server.end(how) == (0, "")
            with pytest.raises(UnavailableError):
                client.poll("nobody_knows_it")
    assert is_free(int(port))


def test_data_is_there_again_even_after_a_kill(port: str, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    with running("--grpc-port", port, "--data", str(folder)) as server:
        assert server.shown["Data"] == str(folder / "embedded.db")
        with MetadataClient(server.configuration) as client:
            client.register_task(TASK)
        server.process.kill()
        server.process.communicate(timeout=120)
    with running("--grpc-port", port, "--data", str(folder)) as server:
        with MetadataClient(server.configuration) as client:
            assert client.get_task("kept")["retryCount"] == 5
        assert server.end() == (0, "")


def test_strict(port: str) -> None:
    with running("--grpc-port", port, "--strict") as server:
        assert server.shown["Mode"].startswith("strict")
        assert server.shown["REST"] == 'none: give the other commands --base-url ""'
        assert server.end() == (0, "")


def failed(*arguments: str) -> str:
    """The one line that it complains with, without having shown anything."""
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = failed("--grpc-port", port)
    assert line.startswith("Error: ")
    assert port in line


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "folder"
    line = failed("--data", str(folder))
    assert line == f"Error: cannot make the folder {folder} (Not a directory): choose another --data"


def test_the_other_commands_know_it_by_its_address(port: str) -> None:
    with running("--grpc-port", port) as server:
        environment = {**os.environ, "CONDUCTOR_GRPC_TARGET": server.shown["gRPC"]}

        def command(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "conductor_grpc", *arguments],
                check=False,
                capture_output=True,
                env=environment,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        definitions = str(ROOT / "examples" / "definitions")
        assert [line.split("\t")[3] for line in command("apply", definitions).splitlines()] == ["created"] * 4
        assert [line.split("\t")[3] for line in command("apply", definitions).splitlines()] == ["unchanged"] * 4
        workflow_id = command("start", "workflow_with_cpp_task_example").strip()
        assert "cpp_task_example_ref_0\tcpp_task_example\tSCHEDULED" in command("status", workflow_id, "--tasks")
        assert server.end() == (0, "")
