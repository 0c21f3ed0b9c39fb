"""Very many tasks against the embedded server, while one call in a hundred fails.

In portions, each with a worker process and a ledger of its own: a million tasks fit into neither this process nor
what the server keeps of the past.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from faults.row import EMBEDDED, Row, run_row
from faults.rows.updates import Unreliable, run_unreliable
from faults.scene import Outcome, Scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.processes import Server
    from faults.scene import Scene

SHARE: Final = 0.01
PORTION: Final = 20_000
_COUNTS: Final = ("tasks", "fired", "lost", "stranded", "twice", "needlessly", "seconds")


def _fail_now_and_then(scene: Scene) -> None:
    late = scene.scale.update_timeout * 1.3
    portion = int(scene.folder.name.rpartition("-")[2])
    run_unreliable(scene, Unreliable(("UpdateTask", "BatchPoll"), SHARE, late, seed=portion), seconds=0.0)


ROW: Final = Row("soak", "1 % of UpdateTask and BatchPoll fail", _fail_now_and_then, servers=(EMBEDDED,))


def soak(server: Server, folder: Path, tasks: int, told: Callable[[Outcome], None]) -> Outcome:
    """The outcome of all portions; `told` gets the sum after each."""
    whole = Outcome()
    scale = replace(Scale(), window=1_000, update_timeout=5.0)
    for number in range(-(-tasks // PORTION)):
        portion = replace(scale, tasks=min(PORTION, tasks - number * PORTION))
        part = run_row(ROW, server, folder / f"portion-{number}", portion)
        for name in _COUNTS:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.fault = part.fault
        whole.notes += part.notes
        whole.wrong += part.wrong
        told(whole)
    return whole
