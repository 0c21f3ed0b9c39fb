"""Workers that are killed, or stopped for a while."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from conductor_grpc.poller.journal import Journal
from faults.row import Row, Twice

if TYPE_CHECKING:
    from faults.processes import WorkerProcess
    from faults.scene import Scene

TIMES = 3
LONG = 0.1
"""Seconds of a task: long enough to be killed in the middle of it."""


def _kill(scene: Scene) -> None:
    scene.feed()
    for number in range(TIMES):
        worker = scene.worker(seconds=LONG)
        scene.when_done(scene.scale.tasks * (number + 1) // (TIMES + 1))
        with scene.monitor.excused():
            scene.until(lambda: _stopped_with_a_task(scene, worker), "a task that runs")  # noqa: B023
            scene.fired(int(scene.in_the_middle), "kills with tasks running")
            worker.kill()
            _read_journal(scene, number)
    with scene.monitor.excused():
        last = scene.worker()
        scene.until(lambda: "polling" in last.log, "the next worker")


def _stopped_with_a_task(scene: Scene, worker: WorkerProcess) -> bool:
    """Stopped, it cannot finish its tasks between this look and the kill."""
    worker.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    scene.ledger.update()
    if any(run.pid == worker.pid for run in scene.ledger.running.values()):
        return True
    worker.signal(signal.SIGCONT)
    return False


def _read_journal(scene: Scene, number: int) -> None:
    """What was on record when the worker died; read from a copy, for the next worker has the original."""
    copy = scene.folder / f"journal-at-death-{number}"
    shutil.copytree(scene.folder / "journal", copy)
    journal = Journal.open(copy, lambda *_: None)
    left = journal.recover()
    journal.close()
    scene.unfinished |= {claim.key for claim in left.claims}
    scene.outcome.notes.append(f"{len(left.claims)} unfinished and {len(left.outcomes)} unsent in the journal")


def _stop(scene: Scene) -> None:
    worker = scene.worker()
    scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    with scene.lasting("the worker stood still"):
        worker.signal(signal.SIGSTOP)
        before = scene.done()
        time.sleep(scene.scale.pause)
        stood = scene.done() - before <= worker.settings.concurrency and scene.in_the_middle
        worker.signal(signal.SIGCONT)
    scene.fired(int(stood), "stops in the middle of load")


ROWS = [
    Row("worker-kill", "worker kill -9 and restart", _kill, Twice.UNFINISHED, fires=TIMES),
    Row("worker-stop", "worker SIGSTOP, then SIGCONT", _stop),
]
