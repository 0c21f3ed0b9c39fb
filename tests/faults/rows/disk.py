"""The journal's disk."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from faults.row import Row

if TYPE_CHECKING:
    from faults.processes import WorkerProcess
    from faults.scene import Scene

OUTPUT: Final = 5_000
"""Bytes of output: more than may be left in the last page of a full disk."""
DISK: Final = 32 << 20
"""Bytes of the journal's own disk."""


def _full(scene: Scene) -> None:
    """On a disk of its own, where the system lets us have one, and else under a limit on the size of files."""
    journal = scene.folder / "journal"
    within = _on_a_disk(journal)
    worker = scene.worker(output_bytes=OUTPUT, within=within)
    scene.feed()
    scene.when_done(scene.scale.tasks // 3)
    # In its namespace the journal is on that disk; seen from here it is an empty folder.
    how = _fill(Path(f"/proc/{worker.pid}/root{journal}")) if within else _limit(worker, journal)
    scene.until(lambda: "the journal in" in worker.log and " is off: " in worker.log, "the journal is off")
    before = scene.done()
    scene.when_done(min(scene.scale.tasks, before + scene.scale.tasks // 3))
    code = errno.ENOSPC if within else errno.EFBIG
    scene.fired(worker.log.count(os.strerror(code)), f"writes failed with {errno.errorcode[code]}")
    scene.outcome.notes.append(f"{how}, {scene.done() - before} tasks done without the journal")
    if not within:
        _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))


def _on_a_disk(folder: Path) -> list[str]:
    """The beginning of a command that has a file system of its own at `folder`; empty where that is forbidden."""
    folder.mkdir()
    mount = 'mount -t tmpfs -o size="$1",mode=700 none "$2" && shift 2 && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--mount", "sh", "-c", mount, "sh", str(DISK), str(folder)]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return command


def _fill(disk: Path) -> str:
    """Leave no room on it."""
    block = b"\0" * 4096
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return f"a tmpfs of {DISK >> 20} MiB, filled up"


def _limit(worker: WorkerProcess, journal: Path) -> str:
    """The kernel refuses to let any file of the worker grow beyond what the journal has; its ledger and its log, which
    must not be hit, are smaller."""
    size = max(path.stat().st_size for path in journal.iterdir())
    _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, most))
    return f"no tmpfs to be had, so files limited to {size} bytes"


ROWS = [Row("disk", "journal's disk full", _full)]
