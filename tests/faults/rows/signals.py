"""Workers that are asked to end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from faults.row import Row, Twice

if TYPE_CHECKING:
    from faults.scene import Scene

TIMES = 3


def _terminate(scene: Scene, signals: int) -> None:
    scene.feed()
    handed_back = 0
    for number in range(TIMES):
        worker = scene.worker()
        scene.when_done(scene.scale.tasks * (number + 1) // (TIMES + 1))
        worker.signal(signal.SIGTERM)
        if signals > 1:
            scene.until(lambda: "stopping: " in worker.log, "the worker begins to stop")  # noqa: B023
            worker.signal(signal.SIGTERM)
        code = worker.wait(60)
        if (code == 0 or (signals > 1 and code == -signal.SIGTERM)) and worker.report and scene.in_the_middle:
            scene.fired(1, "drains in the middle of load")
            handed_back += worker.report["handed_back"] + worker.report["cancelled"]
        else:
            scene.outcome.wrong.append(f"the worker ended with {code}, {worker.report}")
        scene.dropped(worker.log)
    scene.outcome.notes.append(f"{handed_back} tasks handed back")
    scene.worker()


ROWS = [
    Row("sigterm", "SIGTERM", lambda scene: _terminate(scene, 1), fires=TIMES),
    Row("two-sigterms", "two SIGTERMs", lambda scene: _terminate(scene, 2), Twice.UNFINISHED, fires=TIMES),
]
