"""The poller of this package, as a user has it."""

from __future__ import annotations

import sys

from conductor_grpc import TaskPoller, worker_task


def main(task_type: str, concurrency: str) -> None:
    def nothing() -> None:
        """A task that costs nothing but itself."""

    TaskPoller([worker_task(task_type, concurrency=int(concurrency))(nothing)]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
