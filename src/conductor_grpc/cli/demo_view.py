"""The live picture of the demo: one line for each task, as the server tells it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live

from conductor_grpc.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console
    from typing_extensions import Self

    from conductor_grpc.clients import Workflow

_COLUMNS = ("Workflow", "Status", "Tasks")


class DemoView:
    """A table that changes in place on a terminal; elsewhere one line for each change of state."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._live = Live(table(_COLUMNS, ()), console=screen, transient=True)
        self._begun = time.monotonic()
        self._seen: set[tuple[str, ...]] = set()

    def show(self, runs: Sequence[Workflow]) -> None:
        """The runs as they stand now."""
        rows = [row for run in runs for row in _rows(run)]
        if self._screen.is_terminal:
            shown = [(name, status, f"{task} {state}".strip()) for name, status, task, state in rows]
            self._live.update(table(_COLUMNS, shown), refresh=True)
            return
        for row in rows:
            if row not in self._seen:
                self._seen.add(row)
                name, status, task, state = row
                line = f"{time.monotonic() - self._begun:6.2f} s  {name} {status}: {task} {state}"
                self._screen.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._screen.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def _rows(run: Workflow) -> list[tuple[str, str, str, str]]:
    if not run.tasks:
        return [(run.name, run.status.value, "", "not scheduled yet")]
    return [(run.name, run.status.value, task.reference_task_name, task.status.value) for task in run.tasks]
