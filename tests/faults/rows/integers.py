"""JSON integers, which the server cannot send over gRPC: the rest of their batch is stranded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from faults.row import REDIS, SQLITE, Row

if TYPE_CHECKING:
    from faults.scene import Scene

BATCH = 10


def _poison(scene: Scene) -> None:
    """One task type for each position, since after the first integer a type is polled otherwise."""
    types = scene.work.task_types
    for position, task_type in enumerate(types):
        # The first one is taken by a scout, which asks for one task; the others come in one batch.
        scene.expect([scene.work.start(task_type, {"text": "some"}) for _ in range(1 + position)])
        scene.expect([scene.work.start_by_rest(task_type, {"text": "some", "number": 7})])
        scene.expect([scene.work.start(task_type, {"text": "some"}) for _ in range(BATCH - position - 1)])
    worker = scene.worker()
    scene.when_done(len(types))
    scene.feed(max(0, scene.scale.tasks - len(types) * (BATCH + 1)))
    scene.until(lambda: len(_found(worker.log)) == len(types), "stranded tasks of every type", 60)
    found = _found(worker.log)
    positions = [found[task_type] for task_type in types]
    scene.fired(len(found), "batches broken at an integer")
    scene.outcome.notes.append(f"stranded and found again, by the integer's position: {positions}")


def _found(log: str) -> dict[str, int]:
    return {name: int(number) for number, name in re.findall(r"found (\d+) stranded tasks of type '([^']+)'", log)}


ROWS = [
    Row("integers", "integer at every position of a batch", _poison, fires=BATCH, servers=(SQLITE, REDIS), types=BATCH)
]
