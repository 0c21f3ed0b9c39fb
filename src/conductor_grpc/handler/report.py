"""What a handler tells at its end."""

from __future__ import annotations

from dataclasses import dataclass

from conductor_grpc.poller.drain import DrainReport


@dataclass(frozen=True)
class ProcessReport:
    """What became of one process."""

    name: str
    """The task type and a number, as in `greet-0`."""
    drain: DrainReport | None
    """What its poller told when it had stopped; None if it ended without a word."""
    ending: str
    """How the last process of this name has ended, in words."""
    restarts: int
    """How many of this name have ended before, though nobody had stopped them."""
    left: int = 0
    """Tasks and results that its journal still holds: the next handler with this journal takes care of them."""

    @property
    def clean(self) -> bool:
        """It has stopped in order, and nothing is left."""
        return self.drain is not None and self.drain.exit_code == 0 and self.left == 0

    def __str__(self) -> str:
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        restarts = f", started again {times}" if self.restarts else ""
        left = f", {self.left} tasks and results are left in its journal" if self.left else ""
        told = f"it {self.ending}" if self.drain is None else str(self.drain)
        return f"{self.name}: {told}{left}{restarts}"


@dataclass(frozen=True)
class HandlerReport:
    """What became of the tasks that the processes held when they began to stop."""

    processes: tuple[ProcessReport, ...] = ()

    @property
    def drain(self) -> DrainReport:
        """The sum over all processes; what is left of one that ended without a word counts as unsent."""
        told = [each.drain or DrainReport(unsent=each.left) for each in self.processes]
        return DrainReport(
            sum(each.done for each in told),
            sum(each.handed_back for each in told),
            sum(each.cancelled for each in told),
            sum(each.unsent for each in told),
            tuple(error for each in told for error in each.close_errors),
        )

    @property
    def restarts(self) -> int:
        """How often a process was started again."""
        return sum(each.restarts for each in self.processes)

    @property
    def exit_code(self) -> int:
        """For the program: 0, or 1 if a process did not stop in order or something is left."""
        return 0 if all(each.clean for each in self.processes) else 1

    def __str__(self) -> str:
        notable = [str(each) for each in self.processes if each.restarts or not each.clean]
        count = len(self.processes)
        return "\n".join([f"{self.drain} ({count} process{'' if count == 1 else 'es'})", *notable])
