"""Work that goes on elsewhere: look, and come back later, without holding a slot meanwhile."""

from __future__ import annotations

from conductor_grpc import Task, TaskInProgress, worker_task


@worker_task("wait_for_batch")
def wait_for_batch(task: Task, batch: str) -> dict[str, object] | TaskInProgress:
    looks = task.output_data.get("looks")  # what the last turn has left
    turn = looks + 1 if isinstance(looks, int) else 1
    if turn < 3:
        return TaskInProgress(1, {"looks": turn})
    return {"batch": batch, "looks": turn}
