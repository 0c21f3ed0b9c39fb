"""Journals for tests, and a poller that has one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from conductor_grpc import Configuration, Task, TaskPoller, worker_task
from conductor_grpc.poller.journal import Journal, Recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripted_server import ScriptedServer

    from conductor_grpc import WorkerInterface

FORMER = "former-1-abc/def0"
"""Worker id of the earlier run."""


@worker_task("work", concurrency=4)
def work(task: Task) -> dict[str, str]:
    return {"ran": task.task_id}


def poller_for(server: ScriptedServer, folder: Path, *workers: WorkerInterface) -> TaskPoller:
    return TaskPoller(workers or (work,), Configuration("", target=server.target, poll_wait_ms=200, journal=folder))


def open_journal(folder: Path) -> Journal:
    return Journal.open(folder, lambda name, error: pytest.fail(f"{name} died: {error}"))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    journal = open_journal(folder)
    try:
        yield journal
    finally:
        journal.close()


def left_in(folder: Path) -> Recovered:
    with opened(folder) as journal:
        return journal.recover()
