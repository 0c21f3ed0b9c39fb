"""The fault table, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table

from faults.row import Twice, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.row import Row
    from faults.scene import Outcome, Scale

METHOD: Final = (
    "Lost: finished by a worker, says its ledger, and in the end not COMPLETED with that output on the server. "
    "Stranded: IN_PROGRESS on the server for more than 10 s (or the bound that the row names) with no living worker "
    "running it, the time of the fault itself not counted; or still open in the end. Ran twice: workflows of one task "
    "with more than one execution in the ledger; in brackets, of those, how many although an earlier execution was "
    "finished and on record. A fault that was not seen to fire is a failure."
)

_NAMES: Final = ("server", "fault", "fired")
_NUMBERS: Final = ("tasks", "results lost", "stranded over 10 s", "ran twice", "seconds")
_VERDICT: Final = "verdict"


@dataclass(frozen=True)
class Result:
    """What became of one row."""

    server: str
    row: Row
    outcome: Outcome
    scale: Scale

    @property
    def title(self) -> str:
        return self.row.title.format(outage=self.scale.outage, blackhole=self.scale.blackhole)

    @property
    def why(self) -> str:
        """Why the row has failed; empty if it has not."""
        return verdict(self.row, self.outcome)

    def told(self) -> str:
        """One line for whoever waits."""
        return f"{self.server}, {self.title}: " + "; ".join([self.why or "ok", *self.outcome.notes])

    def cells(self) -> list[str]:
        """As the table has them, without the verdict."""
        outcome = self.outcome
        ran_twice = str(outcome.twice)
        if self.row.twice is not Twice.NONE:
            ran_twice = f"{outcome.twice} ({outcome.needlessly})"
        counts = [outcome.tasks, outcome.lost, outcome.stranded, ran_twice, f"{outcome.seconds:.0f}"]
        return [self.server, self.title, f"{outcome.fired} {outcome.fault}", *map(str, counts)]


def for_the_terminal(results: Sequence[Result]) -> Table:
    table = Table(title="Faults in the middle of load", title_justify="left")
    for name in _NAMES:
        table.add_column(name, ratio=None if name == "server" else 2)
    for name in _NUMBERS:
        table.add_column(name, justify="right")
    table.add_column(_VERDICT)
    for result in results:
        table.add_row(*result.cells(), "[red]FAILED[/red]" if result.why else "[green]ok[/green]")
    return table


def as_markdown(results: Sequence[Result]) -> str:
    """The table, what the rows have noted, the sum, and how it is judged."""
    lines = [
        "| " + " | ".join([*_NAMES, *_NUMBERS, _VERDICT]) + " |",
        "|" + "---|" * len(_NAMES) + "---:|" * len(_NUMBERS) + "---|",
        *("| " + " | ".join([*each.cells(), "FAILED" if each.why else "ok"]) + " |" for each in results),
        "",
        *(f"* {each.told()}" for each in results if each.why or each.outcome.notes),
        "",
        summary(results),
        "",
        METHOD,
    ]
    return "\n".join(lines) + "\n"


def summary(results: Sequence[Result]) -> str:
    """The last line: all that counts, summed up."""
    outcomes = [each.outcome for each in results]
    names = ("tasks", "lost", "stranded", "twice", "needlessly")
    tasks, lost, stranded, twice, needlessly = (sum(getattr(each, name) for each in outcomes) for name in names)
    failed = [each.row.name for each in results if each.why]
    rows = f"{len(results)} rows, {len(failed)} failed" + (f" ({', '.join(failed)})" if failed else "")
    return f"{rows}; {tasks} tasks, {lost} results lost, {stranded} stranded, {twice} ran twice ({needlessly})"
