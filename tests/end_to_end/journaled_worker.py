"""A worker process with a journal, for tests that kill it: writes what it begins and what it has finished to a file.

python journaled_worker.py TASK_TYPE TARGET BASE_URL JOURNAL FILE SECONDS_PER_TASK

Each line is `began` or `finished`, the process id, the thread's name and the task id. The file is open before the
poller starts, and each line is one append: what is in it has happened, in that order.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from conductor_grpc import Configuration, Task, TaskPoller, TaskResult, TaskResultStatus, WorkerInterface

if TYPE_CHECKING:
    from collections.abc import Sequence

CONCURRENCY = 20


class Recorder(WorkerInterface):
    concurrency = CONCURRENCY

    def __init__(self, task_definition_name: str, path: str, seconds: float) -> None:
        super().__init__(task_definition_name)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seconds = seconds

    def execute(self, task: Task) -> TaskResult:
        self._write("began", task)
        time.sleep(self._seconds)
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        result.output_data = {"process": os.getpid(), **task.input_data}
        self._write("finished", task)
        return result

    def _write(self, what: str, task: Task) -> None:
        thread = threading.current_thread().name
        os.write(self._file, f"{what} {os.getpid()} {thread} {task.task_id}\n".encode())


def main(arguments: Sequence[str]) -> None:
    task_type, target, base_url, journal, path, seconds = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    worker = Recorder(task_type, path, float(seconds))
    print(TaskPoller([worker], Configuration(base_url, target=target, journal=journal)).run(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
