"""The default journals of `conductor-grpc run`: one folder for each process, and nothing is forgotten in any."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from conductor_grpc import Configuration, DrainReport, Task, worker_task
from conductor_grpc.cli import run as run_module
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.poller.journal import FolderLock, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = Configuration("", target="127.0.0.1:1")


@worker_task("work")
def work() -> None: ...


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders that pollers were run with."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return []


def run_with(taken: list[Path]) -> None:
    def run(folder: Path) -> DrainReport:
        with contextlib.closing(opened(folder)):
            taken.append(folder)
        return DrainReport()

    run_module._run_with_default_journal(run, [work], CONFIGURATION)


def opened(folder: Path) -> Journal:
    return Journal.open(folder, lambda *_: pytest.fail("died"))


def folders() -> Iterator[Path]:
    return default_folders(CONFIGURATION, [work])


def test_the_second_process_gets_a_folder_of_its_own(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    with contextlib.closing(opened(first)):
        run_with(taken)
    run_with(taken)
    assert taken == [second, first]


def test_one_process_after_several_takes_over_what_all_have_left(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    with contextlib.closing(opened(second)) as journal:
        journal.claimed([Task(task_id="a", poll_count=1)])
    run_with(taken)
    assert taken == [first]
    with contextlib.closing(opened(first)) as journal:
        assert [claim.task_id for claim in journal.recover().claims] == ["a"]


def test_a_process_after_a_handler_takes_over_what_its_processes_have_left(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    for number, folder in enumerate((first / "1", second / "0", second / "12")):
        with contextlib.closing(opened(folder)) as journal:
            journal.claimed([Task(task_id=str(number), poll_count=1)])
    with contextlib.closing(opened(first / "3")) as in_use:
        in_use.claimed([Task(task_id="of a process that still drains", poll_count=1)])
        run_with(taken)
    with contextlib.closing(opened(first)) as journal:
        assert sorted(claim.task_id for claim in journal.recover().claims) == ["0", "1", "2"]


def test_the_journals_of_a_handler_that_lives_are_left_alone(taken: list[Path]) -> None:
    first, second = (each for each, _ in zip(folders(), range(2), strict=False))
    with contextlib.closing(opened(second / "0")) as journal:
        journal.claimed([Task(task_id="of a process that starts again", poll_count=1)])
    with contextlib.closing(FolderLock(second)):  # which a handler has
        run_with(taken)
    with contextlib.closing(opened(first)) as journal:
        assert journal.recover().claims == ()
