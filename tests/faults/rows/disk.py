"""The journal's disk."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from faults.row import Row

if TYPE_CHECKING:
    from faults.scene import Scene

OUTPUT = 2_000
"""Bytes of output, so that the journal outgrows the ledger and the log, which must not be hit."""


def _full(scene: Scene) -> None:
    """The kernel refuses to let any file of the worker grow beyond what the journal has: EFBIG, as ENOSPC does."""
    worker = scene.worker(output_bytes=OUTPUT)
    scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    size = max(path.stat().st_size for path in (scene.folder / "journal").iterdir())
    unlimited = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    scene.until(lambda: "the journal in" in worker.log and " is off: " in worker.log, "the journal is off")
    before = scene.done()
    scene.when_done(min(scene.scale.tasks, before + scene.scale.tasks // 3))
    scene.fired(worker.log.count(" is off: "), "failed writes to the journal")
    scene.outcome.notes.append(f"full at {size} bytes, {scene.done() - before} tasks done without it")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (unlimited[1], unlimited[1]))


ROWS = [Row("disk", "journal's disk full", _full)]
