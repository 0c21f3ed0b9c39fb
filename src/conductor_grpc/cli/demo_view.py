"""The live picture of the demo: each workflow's tasks, with their states as they change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from conductor_grpc.cli.output import coloured
from conductor_grpc.worker import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from rich.console import Console
    from typing_extensions import Self

    from conductor_grpc.clients import Workflow
    from conductor_grpc.worker import Task


@dataclass
class _Trail:
    """The states that a workflow or a task has been in, in their order."""

    name: str
    states: list[str] = field(default_factory=list)


class DemoView:
    """A picture that changes in place on a terminal, and stays; elsewhere one line for each change of state.

    A look may come too late for a state that lasted a millisecond. The server remembers when it was, so each state
    is shown, with its time on the server's clock.
    """

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._live = Live(console=screen, auto_refresh=False)
        self._trails: dict[str, _Trail] = {}
        self._begun = 0

    def show(self, runs: Sequence[Workflow]) -> None:
        """The runs as they stand now, with their tasks."""
        self._begun = self._begun or min((task.scheduled_time for run in runs for task in run.tasks), default=0)
        changes = [change for run in runs for change in self._changes(run)]
        if self._screen.is_terminal:
            self._live.update(self._picture(runs), refresh=True)
            return
        for milliseconds, line in sorted(changes, key=lambda change: change[0]):
            seconds = max(0, milliseconds - self._begun) / 1000
            self._screen.print(f"{seconds:7.3f} s  {line}", highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._screen.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._screen.is_terminal:
            self._screen.print()  # the picture stays, and the next table begins below it

    def _changes(self, run: Workflow) -> Iterator[tuple[int, str]]:
        """What has not been shown yet: when it happened, in the server's milliseconds, and the line about it."""
        for task in run.tasks:
            name = task.reference_task_name + (f" (retry {task.retry_count})" if task.retry_count else "")
            trail = self._trails.setdefault(task.task_id, _Trail(name))
            for moment, state in _states(task)[len(trail.states) :]:
                trail.states.append(state)
                yield moment, f"{run.name}: {name} {state}"
        trail = self._trails.setdefault(run.workflow_id, _Trail(run.name))
        if run.status.value not in trail.states:
            trail.states.append(run.status.value)
            yield run.end_time, f"{run.name}: {run.status.value}"

    def _picture(self, runs: Sequence[Workflow]) -> Group:
        """A line for each workflow, its tasks indented below it."""
        shown = [(key, indent) for run in runs for key, indent in _keys(run)]
        width = max(len(indent + self._trails[key].name) for key, indent in shown)
        return Group(*(_line(self._trails[key], indent, width) for key, indent in shown))


def _keys(run: Workflow) -> list[tuple[str, str]]:
    return [(run.workflow_id, ""), *((task.task_id, "  ") for task in run.tasks)]


def _line(trail: _Trail, indent: str, width: int) -> Text:
    line = Text(f"{indent}{trail.name}".ljust(width + 2))
    return line.append_text(Text(" > ").join(map(coloured, trail.states)))


def _states(task: Task) -> list[tuple[int, str]]:
    """All that it has been in, and since when; a task of the server's own may skip some."""
    passed = [(task.scheduled_time, TaskStatus.SCHEDULED.value)]
    if task.start_time:
        passed.append((task.start_time, TaskStatus.IN_PROGRESS.value))
    if task.status.is_terminal:
        passed.append((task.end_time, task.status.value))
    return passed
