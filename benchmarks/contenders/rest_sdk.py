"""conductor-python, with its own defaults. Runs in its own environment, see `rest_sdk_environment`."""

from __future__ import annotations

import sys

from conductor.client.automator.task_handler import TaskHandler  # type: ignore[import-not-found]
from conductor.client.configuration.configuration import Configuration  # type: ignore[import-not-found]
from conductor.client.worker.worker import Worker  # type: ignore[import-not-found]


def nothing() -> dict[str, object]:
    """A task that costs nothing but itself; importable, since the SDK starts a process that looks for it."""
    return {}


def main(task_type: str, thread_count: str) -> None:
    worker = Worker(task_type, nothing, thread_count=int(thread_count))
    with TaskHandler([worker], Configuration(), scan_for_annotated_workers=False) as handler:
        handler.start_processes()
        handler.join_processes()


if __name__ == "__main__":
    main(*sys.argv[1:])
