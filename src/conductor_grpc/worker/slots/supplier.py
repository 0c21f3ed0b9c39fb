"""How many tasks of a worker may run at a time, where that is more than its `concurrency`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from conductor_grpc.errors import ConfigurationError, WorkerDefinitionError

if TYPE_CHECKING:
    from conductor_grpc.worker.interface import WorkerInterface


class SlotUse(NamedTuple):
    """What a worker has at the moment its supplier is asked."""

    task_definition_name: str
    used: int
    """Slots that are taken: by tasks that run, that wait to run, or that the poll in flight was promised."""
    granted: int
    """What counted as the supplier's last answer for this worker; 1 before the first."""
    peak: int
    """The most that were taken at once in the last ten to twenty seconds, `used` included."""
    maximum: int
    """The worker's `concurrency`: there are never more."""


@runtime_checkable
class SlotSupplier(Protocol):
    """Says how many slots a worker may have. Any object with this method will do; workers may share one."""

    def slots(self, use: SlotUse) -> int:
        """How many slots this worker may have in all at this moment, those in use included.

        Asked before each poll and, while there is no slot for one, ten times a second. It holds up this worker's polls,
        so it must not block; it may be called from the threads of several workers at once. An answer below 1 counts as
        1, for a worker without any slot would never see a task; one above `use.maximum` counts as that. Fewer than are
        used stops nothing that runs: it keeps further tasks from being taken. What it raises is logged, and counts as
        1.
        """
        ...


@dataclass(frozen=True)
class FixedSlots:
    """Always `count`, within the worker's `concurrency`, which alone does the same.

    Raises ConfigurationError if that is no whole number of at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        check_count("FixedSlots: count", self.count)

    def slots(self, use: SlotUse) -> int:
        del use
        return self.count


def check_count(name: str, value: object) -> None:
    """
    Raises:
        ConfigurationError: `value`, which is shown as `name`, is no whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} {value!r}: expected a whole number >= 1")


def check_slots(worker: WorkerInterface) -> None:
    """
    Raises:
        WorkerDefinitionError: Its `slots` are no supplier.
    """
    supplier: object = worker.slots
    if supplier is not None and (isinstance(supplier, type) or not isinstance(supplier, SlotSupplier)):
        raise WorkerDefinitionError(
            f"worker {worker.task_definition_name!r} has slots {supplier!r}, expected an object with a method"
            " slots(use), such as ResourceBasedSlots(), or None; a number of slots is the worker's concurrency"
        )
