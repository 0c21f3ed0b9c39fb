"""Very many tasks against the embedded server, while one call in a hundred fails.

In portions, each with a worker process and a ledger of its own: a million tasks fit into neither this process nor
what the server keeps of the past.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from faults.row import EMBEDDED, Row, run_row, verdict
from faults.rows.updates import Unreliable, run_unreliable
from faults.scene import Outcome, Scale

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from faults.processes import Server
    from faults.scene import Scene

SHARE: Final = 0.01
PORTION: Final = 40_000
TYPES: Final = 8
"""So many lanes: while the poll of one is late, for seconds, the others have work to do."""
WINDOW: Final = 4_000
"""Workflows started ahead: enough that those of a lane that waits do not keep the others short."""

UPDATE_TIMEOUT: Final = 3.0
POLL_WAIT_MS: Final = 2_000
"""Both shorter than elsewhere, for faults meet here. What a poll has lost is looked for after its wait, and the poll
then in flight, which may be late as well: together that has to stay below the time after which a task is stranded."""
_COUNTS: Final = ("tasks", "fired", "lost", "stranded", "twice", "needlessly", "seconds")


def _fail_now_and_then(scene: Scene) -> None:
    late = scene.scale.update_timeout * 1.3
    portion = int(scene.folder.name.rpartition("-")[2])
    run_unreliable(scene, Unreliable(("UpdateTask", "BatchPoll"), SHARE, late, seed=portion), seconds=0.0)


ROW: Final = Row("soak", "1 % of UpdateTask and BatchPoll fail", _fail_now_and_then, servers=(EMBEDDED,), types=TYPES)


def soak(server: Server, folder: Path, tasks: int, console: Console) -> Outcome:
    """The outcome of all portions; what it is so far is printed after each, above a bar on a terminal."""
    whole = Outcome()
    scale = replace(Scale(), window=WINDOW, update_timeout=UPDATE_TIMEOUT, poll_wait_ms=POLL_WAIT_MS)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=tasks)
        for number in range(-(-tasks // PORTION)):
            portion = replace(scale, tasks=min(PORTION, tasks - number * PORTION))
            part = run_row(ROW, server, folder / f"portion-{number}", portion)
            for name in _COUNTS:
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            whole.fault = part.fault
            whole.notes += part.notes
            whole.wrong += part.wrong
            if verdict(ROW, part):
                console.print(f"portion {number}: {'; '.join(part.notes)}", highlight=False, markup=False)
            progress.update(bar, completed=whole.tasks)
            console.print(_so_far(whole), highlight=False)
    return whole


def _so_far(outcome: Outcome) -> str:
    why = verdict(ROW, outcome)
    return f"{outcome.tasks} tasks, {outcome.fired} calls failed, {why or 'nothing lost'}, {outcome.seconds:.0f} s"
