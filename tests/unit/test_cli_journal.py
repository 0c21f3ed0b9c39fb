"""The default journals of `conductor-grpc run`: one folder for each process, and nothing is forgotten in any."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from conductor_grpc import Configuration, DrainReport, Task, worker_task
from conductor_grpc.cli import run as run_module
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.poller.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = Configuration("", target="127.0.0.1:1")


@worker_task("work")
def work() -> None: ...


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders that pollers were run with."""
    folders: list[Path] = []

    def run(_workers: object, configuration: Configuration) -> Mock:
        assert configuration.journal is not None
        with contextlib.closing(opened(configuration.journal)):
            folders.append(configuration.journal)
        return Mock(run=DrainReport)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(run_module, "TaskPoller", run)
    return folders


def opened(folder: Path) -> Journal:
    return Journal.open(folder, lambda *_: pytest.fail("died"))


def folders() -> Iterator[Path]:
    return default_folders(CONFIGURATION, [work])


def test_the_second_process_gets_a_folder_of_its_own(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    with contextlib.closing(opened(first)):
        run_module._run_with_default_journal([work], CONFIGURATION)
    run_module._run_with_default_journal([work], CONFIGURATION)
    assert taken == [second, first]


def test_one_process_after_several_takes_over_what_all_have_left(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    with contextlib.closing(opened(second)) as journal:
        journal.claimed([Task(task_id="a", poll_count=1)])
    run_module._run_with_default_journal([work], CONFIGURATION)
    assert taken == [first]
    with contextlib.closing(opened(first)) as journal:
        assert [claim.task_id for claim in journal.recover().claims] == ["a"]
