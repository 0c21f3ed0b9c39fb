"""Which workers a handler runs, and in how many processes each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from conductor_grpc.errors import ConfigurationError, WorkerDefinitionError
from conductor_grpc.worker.discovery import each_once, find_entry_points, find_workers
from conductor_grpc.worker.interface import WorkerInterface, check_worker

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_all(
    workers: Sequence[WorkerInterface] | None, modules: Sequence[str], entry_points: str | None
) -> list[WorkerInterface]:
    """All that are named in one way or another, each once.

    Raises:
        WorkerDefinitionError: There is none, or one cannot be run.
    """
    _check_list("workers", workers or (), "my_worker")
    _check_list("modules", modules, "'my_workers'")
    found = [check_worker(worker) for worker in workers or ()]
    for module in modules:
        if not isinstance(module, str):
            raise WorkerDefinitionError(f"modules has {module!r:.80}, expected names of modules or paths, each a str")
        found += find_workers(module)
    if entry_points is not None:
        found += find_entry_points(entry_points)
    if not found:
        raise WorkerDefinitionError(
            "there are no workers: give a list of at least one, modules=['my_workers'], or"
            " entry_points='conductor_grpc.workers'"
        )
    return each_once(found)


def numbers_of(processes: object, workers: Sequence[WorkerInterface]) -> list[int]:
    """How many processes each of the workers gets.

    Raises:
        ConfigurationError: That is no number, or for a type that no worker has.
    """
    if not isinstance(processes, Mapping):
        return [_number(processes, "processes")] * len(workers)
    types = [worker.task_definition_name for worker in workers]
    unknown = [name for name in processes if name not in types]
    if unknown:
        known = ", ".join(sorted({repr(each) for each in types}))
        raise ConfigurationError(f"processes has {unknown[0]!r}, and no worker runs that, only {known}")
    return [_number(processes.get(name, 1), f"processes[{name!r}]") for name in types]


def names_of(staff: Sequence[WorkerInterface]) -> list[str]:
    """A name for each process, by the worker that it runs: `greet-0`, `greet-1`."""
    counts: Counter[str] = Counter()
    names = []
    for worker in staff:
        name = worker.task_definition_name
        names.append(f"{name}-{counts[name]}")
        counts[name] += 1
    return names


def _check_list(name: str, value: object, example: str) -> None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise WorkerDefinitionError(f"{name} is {value!r:.80}, expected a list: {name}=[{example}]")


def _number(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{what} is {value!r}, expected a whole number of processes, at least 1")
    return value
