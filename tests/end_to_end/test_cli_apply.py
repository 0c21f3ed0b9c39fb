"""`conductor-grpc apply`: definitions from workers and from files, and none that is overwritten unasked."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conductor_grpc import Configuration, MetadataClient
from conductor_grpc.cli.root import root
from conductor_grpc.server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

WORKERS = """
from conductor_grpc import TaskDefinition, worker_task

@worker_task("charge", definition=TaskDefinition(retry_count=2, timeout_seconds=300))
def charge(amount: float) -> None: ...

@worker_task("notify")
def notify(text: str) -> None: ...
"""
TASK = {"name": "ship", "retryCount": 1, "ownerEmail": "example@example.com"}
WORKFLOW = {
    "name": "order",
    "ownerEmail": "example@example.com",
    "tasks": [{"name": "charge", "taskReferenceName": "charge"}, {"name": "ship", "taskReferenceName": "ship"}],
}
LEFT = (
    "Error: {} of {} {} from what is on the server, which was left as it is: --overwrite replaces it; a workflow may"
    " get a new version instead"
)


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(strict=True) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[MetadataClient]:
    with MetadataClient(Configuration("", target=server.target)) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with workers and files; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "workers_to_apply.py").write_text(WORKERS)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "order.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "files" / "ship.json").write_text(json.dumps(TASK))
    yield tmp_path
    sys.modules.pop("workers_to_apply", None)


def run(server: EmbeddedServer, *arguments: str) -> Result:
    return CliRunner().invoke(root, ["apply", *arguments, "--target", server.target, "--base-url", ""])


def apply(server: EmbeddedServer, *arguments: str, code: int = 0, said: str = "") -> dict[str, str]:
    """Name: outcome, of one call, with its exit code and stderr."""
    result = run(server, *arguments)
    assert (result.exit_code, result.stderr.strip()) == (code, said), result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    return {name: outcome for _, name, _, outcome in rows}


@pytest.mark.usefixtures("folder")
def test_workers_and_files_together(server: EmbeddedServer, client: MetadataClient) -> None:
    everything = ("--from", "workers_to_apply", "files")
    dry = apply(server, *everything, "--dry-run")
    assert dry == dict.fromkeys(("ship", "charge", "notify", "order"), "would be created")
    assert set(apply(server, *everything).values()) == {"created"}
    assert set(apply(server, *everything).values()) == {"unchanged"}
    charge, notify = client.get_task("charge"), client.get_task("notify")
    assert (charge["retryCount"], charge["responseTimeoutSeconds"], charge["inputKeys"]) == (2, 300, ["amount"])
    assert (notify["retryCount"], notify["responseTimeoutSeconds"], notify["inputKeys"]) == (3, 600, ["text"])


@pytest.mark.usefixtures("folder")
def test_a_worker_alone_can_be_named(server: EmbeddedServer) -> None:
    assert apply(server, "--from", "workers_to_apply.py:notify") == {"notify": "created"}


@pytest.mark.usefixtures("folder")
def test_what_differs_is_shown_and_replaced_only_when_asked(server: EmbeddedServer, client: MetadataClient) -> None:
    apply(server, "--from", "workers_to_apply", "files")
    client.register_task({**TASK, "retryCount": 8})
    client.register_task({**client.get_task("charge"), "retryCount": 9})
    client.register_task({**client.get_task("notify"), "retryCount": 9})
    client.register_workflow({**WORKFLOW, "description": "theirs"}, overwrite=True)
    before = [client.get_task("ship"), client.get_task("charge"), client.get_workflow("order")]
    shown = "\n".join(
        [
            "task ship: retryCount: 8 on the server, 1 here",
            "task charge: retryCount: 9 on the server, 2 here",
            'workflow order: description: "theirs" on the server, absent here',
        ]
    )
    left = {"ship": "differs", "charge": "differs", "notify": "unchanged", "order": "differs"}
    everything = ("--from", "workers_to_apply", "files")
    for options in ((), ("--dry-run",)):
        assert apply(server, *everything, *options, code=1, said=f"{shown}\n{LEFT.format(3, 4, 'differ')}") == left
    assert apply(server, *everything, "--dry-run", "--overwrite", said=shown)["ship"] == "would be updated"
    assert [client.get_task("ship"), client.get_task("charge"), client.get_workflow("order")] == before

    replaced = {"ship": "updated", "charge": "updated", "notify": "unchanged", "order": "updated"}
    assert apply(server, *everything, "--overwrite", said=shown) == replaced
    assert client.get_task("notify")["retryCount"] == 9
    assert set(apply(server, *everything).values()) == {"unchanged"}


@pytest.mark.usefixtures("folder")
def test_one_that_differs_holds_up_no_other(server: EmbeddedServer, client: MetadataClient) -> None:
    client.register_task({**TASK, "retryCount": 8})
    said = f"task ship: retryCount: 8 on the server, 1 here\n{LEFT.format(1, 2, 'differs')}"
    assert apply(server, "files", code=1, said=said) == {"ship": "differs", "order": "created"}


def test_a_task_of_both_is_refused_unless_its_worker_declares_none(server: EmbeddedServer, folder: Path) -> None:
    (folder / "files" / "notify.json").write_text(json.dumps({**TASK, "name": "notify"}))
    assert apply(server, "--from", "workers_to_apply", "files")["notify"] == "created"
    (folder / "files" / "charge.json").write_text(json.dumps({**TASK, "name": "charge"}))
    said = "Error: task 'charge' is defined twice, in the files and by a worker: keep one of them"
    assert apply(server, "--from", "workers_to_apply", "files", code=1, said=said) == {}


def test_what_was_done_before_an_error_is_told(server: EmbeddedServer, folder: Path) -> None:
    refused = {**WORKFLOW, "name": "refused", "tasks": [{"name": "x", "taskReferenceName": "x", "type": "INLINE"}]}
    (folder / "files" / "refused.json").write_text(json.dumps(refused))
    result = run(server, "files")
    assert result.exit_code == 1
    assert "task\tship\t\tcreated\n" in result.stdout
    assert "task x: the embedded server does not run tasks of type INLINE" in result.stderr.splitlines()[-1]


def test_a_bad_definition_is_one_line_with_its_place(server: EmbeddedServer, folder: Path) -> None:
    (folder / "workers_to_apply.py").write_text(WORKERS.replace("retry_count=2", "retry_count=-2"))
    said = run(server, "--from", "workers_to_apply").stderr
    assert said.startswith(
        "Error: importing workers_to_apply fails: DefinitionError: TaskDefinition.retry_count: -2 is"
    )
    assert "workers_to_apply.py, line 4)" in said


def test_nothing_to_apply_is_wrong_usage(server: EmbeddedServer) -> None:
    result = run(server)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "Error: nothing to apply: name FILES, or the module of workers with --from MODULE",
    )
