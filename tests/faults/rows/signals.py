"""Workers that are asked to end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from faults.processes import POLLING
from faults.row import Row, Twice

if TYPE_CHECKING:
    from faults.processes import WorkerProcess
    from faults.scene import Scene

TIMES = 3
ATTEMPTS = 2 * TIMES
"""A drain may be over before the second signal comes, and shows nothing then."""
LONG = 4.0
"""Seconds of a task, from half to one and a half of it: some end within two seconds, some do not."""
LONG_TASKS = 100


def _terminate(scene: Scene, signals: int) -> None:
    scene.feed()
    handed_back = 0
    for _ in range(ATTEMPTS):
        if scene.outcome.fired == TIMES:
            break
        worker = scene.worker()
        scene.until(lambda worker=worker: POLLING in worker.log, "the worker polls, and handles signals")
        scene.when_done(scene.done() + scene.scale.tasks // (2 * ATTEMPTS))
        report = _end(scene, worker, signals)
        if report and scene.in_the_middle:
            scene.fired(1, "drains in the middle of load")
            handed_back += report["handed_back"]
        scene.dropped(worker.log)
    scene.outcome.notes.append(f"{handed_back} tasks handed back that nobody had begun")
    scene.worker()


def _outlast(scene: Scene) -> None:
    """What does not end within the grace is handed back, is counted by the report, and is all that runs twice."""
    scene.feed(LONG_TASKS)
    worker = scene.worker(seconds=LONG)
    scene.when_done(1)
    report = _end(scene, worker, 2)
    cancelled = report.get("cancelled", 0)
    scene.fired(cancelled, "tasks that outlasted the grace")
    if scene.dropped(worker.log) != cancelled:
        scene.outcome.wrong.append(f"the report says {report}, the log {scene.unfinished}")
    scene.outcome.notes.append(f"{report.get('done', 0)} ended within the grace, {cancelled} did not: handed back")
    scene.worker()


def _end(scene: Scene, worker: WorkerProcess, signals: int) -> dict[str, int]:
    """Send so many SIGTERMs; the report of the drain that all of them came into, empty if not all did."""
    worker.signal(signal.SIGTERM)
    for _ in range(signals - 1):
        scene.until(lambda: "stopping: " in worker.log or not worker.running, "the worker begins to stop")
        worker.signal(signal.SIGTERM)
    code = worker.wait(60)
    report = worker.report
    # A signal that comes when the drain is over kills the process.
    if not report or code not in (0, -signal.SIGTERM):
        scene.outcome.wrong.append(f"the worker ended with {code}, {report}")
        return {}
    return report if report["signals"] == signals else {}


ROWS = [
    Row("sigterm", "SIGTERM", lambda scene: _terminate(scene, 1), fires=TIMES),
    Row("two-sigterms", "two SIGTERMs", lambda scene: _terminate(scene, 2), fires=TIMES),
    Row("two-sigterms-long", "two SIGTERMs, tasks of 2 to 6 s", _outlast, Twice.UNFINISHED),
]
