"""Servers that are killed, are away for long, or stand still."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from faults.row import Row, Twice

if TYPE_CHECKING:
    from faults.processes import WorkerProcess
    from faults.scene import Scene


def _kill_and_restart(scene: Scene) -> None:
    _away(scene, 0.0)


def _down(scene: Scene) -> None:
    _away(scene, scene.scale.outage)


def _away(scene: Scene, seconds: float) -> None:
    worker = scene.worker()
    feeder = scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    with scene.lasting("server away"):
        scene.server.kill()
        gone = scene.server.pid is None and scene.in_the_middle
        time.sleep(seconds)
        scene.server.start()
        scene.until(lambda: _noticed(worker) and scene.done() > 0, "the worker notices that the server was away")
        before = scene.done()
        scene.until(lambda: scene.done() > before or not scene.in_the_middle, "work goes on")
    scene.fired(int(gone), "kills in the middle of load")
    if feeder.in_doubt:
        scene.outcome.notes.append(f"{feeder.in_doubt} starts unanswered")


def _noticed(worker: WorkerProcess) -> bool:
    return "failed (" in worker.log or "could not send" in worker.log


def _stand_still(scene: Scene) -> None:
    scene.worker()
    scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    pid = scene.server.pid
    assert pid is not None
    with scene.lasting("the server stood still"):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(0.5)  # what was sent before comes in
            before = scene.begun()
            time.sleep(scene.scale.pause)
            stood = scene.begun() == before and scene.in_the_middle
        finally:
            os.kill(pid, signal.SIGCONT)
    scene.fired(int(stood), "stops in the middle of load")


ROWS = [
    Row("server-kill", "server kill -9 and restart", _kill_and_restart, Twice.REPORTED),
    Row("server-down", "server down for {outage:.0f} s", _down, Twice.REPORTED),
    Row("server-stop", "server SIGSTOP, then SIGCONT", _stand_still),
]
