"""`conductor-grpc run` keeps a journal unless it is told not to."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from command import end, running
from conftest import ServerAddress
from waiting import wait_for

from conductor_grpc import Configuration, MetadataClient, WorkflowClient, WorkflowStatus
from conductor_grpc.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = ["-m", "conductor_grpc", "run", "workers"]


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=True) as server, MetadataClient(Configuration("", target=server.target)) as metadata:
        metadata.register_task({"name": "journaled", "retryCount": 0, "responseTimeoutSeconds": 600})
        metadata.register_workflow({"name": "journaled", "tasks": [{"name": "journaled", "taskReferenceName": "only"}]})
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workers.py").write_text(
        """
import os, time
from pathlib import Path
from conductor_grpc import worker_task

@worker_task("journaled")
def work():
    Path(f"begun-{os.getpid()}").touch()
    while not Path("finish").exists():
        time.sleep(0.01)
"""
    )
    return tmp_path


def journals(folder: Path) -> list[Path]:
    return sorted((folder / "state").glob("conductor-grpc/journal/*/*"))


def test_a_killed_process_strands_nothing(server: EmbeddedServer, folder: Path) -> None:
    address = ServerAddress(server.target, "")
    with WorkflowClient(Configuration("", target=server.target)) as workflows:
        workflow_id = workflows.start("journaled", {})
        with running(address, RUN, folder) as first:
            wait_for((folder / f"begun-{first.pid}").exists)
            first.send_signal(signal.SIGKILL)
            first.wait(30)
        assert [path.name for path in journals(folder)] == ["0"]
        (folder / "finish").touch()
        with running(address, RUN, folder) as second:
            wait_for(lambda: workflows.get(workflow_id).status is WorkflowStatus.COMPLETED)
            code, _, complaints = end(second)
    assert code == 0
    assert "an earlier run ended without notice" in complaints
    assert [path.name for path in journals(folder)] == ["0"]


def test_a_second_process_gets_a_journal_of_its_own(server: EmbeddedServer, folder: Path) -> None:
    address = ServerAddress(server.target, "")
    with running(address, RUN, folder) as first:
        wait_for(lambda: len(journals(folder)) == 1)
        with running(address, RUN, folder) as second:
            wait_for(lambda: len(journals(folder)) == 2)
            assert end(second)[0] == 0
        assert end(first)[0] == 0
    assert [path.name for path in journals(folder)] == ["0", "1"]
    assert len({path.parent for path in journals(folder)}) == 1


def test_a_journal_that_was_named_is_used_or_the_command_fails(server: EmbeddedServer, folder: Path) -> None:
    address = ServerAddress(server.target, "")
    mine = folder / "mine"
    with running(address, [*RUN, "--journal", "mine"], folder) as first:
        wait_for(lambda: any(mine.glob("journal-*")))
        with running(address, [*RUN, "--journal", "mine"], folder) as second:
            _, complaints = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"Error: the journal in {mine} is in use by process {first.pid} on " in complaints.splitlines()[-1]
        assert end(first)[0] == 0
    assert journals(folder) == []


def test_without(server: EmbeddedServer, folder: Path) -> None:
    with running(ServerAddress(server.target, ""), [*RUN, "--no-journal"], folder) as process:
        assert process.stderr is not None
        while " as '" not in process.stderr.readline():
            assert process.poll() is None
        assert end(process)[0] == 0
    assert journals(folder) == []
