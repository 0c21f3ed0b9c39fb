"""A worker process with a metrics file, for tests that gather several or kill one.

python metrics_process.py TASK_TYPE TARGET DIRECTORY
"""

from __future__ import annotations

import sys

from conductor_grpc import Configuration, MetricsSettings, Task, TaskPoller, worker_task


def main(task_type: str, target: str, directory: str) -> None:
    @worker_task(task_type, concurrency=2)
    def work(task: Task) -> dict[str, str]:
        return {"ran": task.task_id}

    settings = MetricsSettings(directory=directory, file_name="metrics.log", update_interval=0.05)
    TaskPoller([work], Configuration("", target=target, poll_wait_ms=100), metrics_settings=settings).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
