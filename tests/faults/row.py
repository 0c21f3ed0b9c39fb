"""What a row of the table is, and how one is run."""

from __future__ import annotations

import enum
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from faults.monitor import TOO_LONG
from faults.scene import Outcome, Scale, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from faults.processes import Server


class Twice(enum.Enum):
    """Which tasks may run twice."""

    NONE = "none"
    UNFINISHED = "only unfinished"
    """Those that a killed worker had begun, and of which nothing was on record."""
    REPORTED = "reported"
    """As many as the server makes run twice; the table tells how many."""


EMBEDDED: Final = "embedded"
SQLITE: Final = "sqlite"
REDIS: Final = "redis"


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    title: str
    """As in the table."""
    run: Callable[[Scene], None]
    """Makes the fault fire in the middle of load, and says so by `Scene.fired`."""
    twice: Twice = Twice.NONE
    fires: int = 1
    """How often it has to fire at least."""
    servers: tuple[str, ...] = (EMBEDDED, SQLITE, REDIS)
    """Where it can be run."""
    types: int = 1
    definition: Mapping[str, object] = field(default_factory=dict)
    """Fields of the task definition."""
    idle: float = TOO_LONG
    """Seconds after which a task that waits for nothing is stranded."""


def run_row(row: Row, server: Server, folder: Path, scale: Scale) -> Outcome:
    """The outcome of one row. Never raises for what goes wrong within it."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    outcome: Outcome | None = None
    try:
        if server.pid is None:  # an earlier row could not start it again
            server.start()
        with Scene(server, folder, scale, types=row.types, definition=row.definition, idle=row.idle) as scene:
            outcome = scene.outcome
            row.run(scene)
            scene.settle()
    except Exception as error:  # noqa: BLE001 - the other rows are to be run, too
        outcome = outcome or Outcome()
        outcome.wrong.append(f"{type(error).__name__}: {error}")
        (folder / "error").write_text(traceback.format_exc())
        outcome.seconds = time.monotonic() - began
    if outcome.fired < row.fires:
        outcome.wrong.append(f"the fault fired {outcome.fired} times, and not {row.fires}")
    return outcome


def verdict(row: Row, outcome: Outcome) -> str:
    """Why the row has failed; empty if it has not."""
    reasons = list(outcome.wrong)
    if outcome.lost:
        reasons.append(f"{outcome.lost} results lost")
    if outcome.stranded:
        reasons.append(f"{outcome.stranded} tasks stranded")
    if row.twice is Twice.NONE and outcome.twice:
        reasons.append(f"{outcome.twice} tasks ran twice")
    if row.twice is Twice.UNFINISHED and outcome.needlessly:
        reasons.append(f"{outcome.needlessly} tasks ran twice that were finished")
    return "; ".join(reasons)
