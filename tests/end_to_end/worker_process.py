"""A worker process for tests that send signals: appends each task it runs to a file, then prints its report.

python worker_process.py TASK_TYPE TARGET BASE_URL FILE [SECONDS_PER_TASK]
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from conductor_grpc import Configuration, Task, TaskPoller, TaskResult, TaskResultStatus, WorkerInterface

if TYPE_CHECKING:
    from collections.abc import Sequence


class Recorder(WorkerInterface):
    concurrency = 20

    def __init__(self, task_definition_name: str, path: str, seconds: float) -> None:
        super().__init__(task_definition_name)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seconds = seconds

    def execute(self, task: Task) -> TaskResult:
        time.sleep(self._seconds)
        os.write(self._file, f"{task.task_id}\n".encode())  # one small append: whole, whichever thread writes
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result


def main(arguments: Sequence[str]) -> None:
    task_type, target, base_url, path, seconds = arguments
    worker = Recorder(task_type, path, float(seconds))
    poller = TaskPoller([worker], Configuration(base_url, target=target, poll_wait_ms=1000))
    print(poller.run(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
