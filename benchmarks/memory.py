"""The memory of an embedded server over many tasks."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table

from benchmarks.run import Contender, running, wait_until_done
from benchmarks.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.embedded_process import EmbeddedProcess
    from conductor_grpc import Configuration

SAMPLES: Final = 10

ALLOWED: Final = 1.10
"""The memory counts as flat if it ends at no more than so many times what it was half-way. Long before that the
server has as many ended workflows as it keeps; but every one of its threads comes to memory of its own in time. A leak
of 150 bytes for each of 200,000 tasks would show."""

_TASK_TYPE: Final = "benchmark_memory"


@dataclass(frozen=True)
class Sample:
    """The server after so many tasks."""

    tasks: int
    megabytes: float
    """Resident."""
    seconds: float
    """Since the beginning."""


def observe(
    server: EmbeddedProcess,
    client: Contender,
    configuration: Configuration,
    tasks: int,
    progress: Callable[[int], None],
) -> list[Sample]:
    """Have the client do `tasks` tasks while more are started, and look at the server's memory ten times on the way.

    `progress` gets 2 steps for each task: started and done. Raises VoidRunError if the client died or got stuck.
    """
    workload = Workload(configuration, _TASK_TYPE)
    workload.register()
    samples = []
    each = tasks // SAMPLES
    began = time.monotonic()
    with tempfile.TemporaryFile() as log, running(client, _TASK_TYPE, configuration, log) as process:
        for number in range(1, SAMPLES + 1):
            workload.start(each, progress)
            wait_until_done(process, workload, each, progress, log)
            samples.append(Sample(number * each, server.memory(), time.monotonic() - began))
    return samples


def is_flat(samples: Sequence[Sample]) -> bool:
    """Whether the server's memory has stopped to grow."""
    return samples[-1].megabytes <= ALLOWED * samples[SAMPLES // 2 - 1].megabytes


def verdict(samples: Sequence[Sample]) -> str:
    """One line."""
    half, last = samples[SAMPLES // 2 - 1], samples[-1]
    return (
        f"{'flat' if is_flat(samples) else 'NOT FLAT'}: {last.megabytes:.1f} MB after {last.tasks:,} tasks, "
        f"{last.megabytes / half.megabytes:.2f} times the {half.megabytes:.1f} MB after {half.tasks:,} "
        f"(allowed: {ALLOWED:.2f})"
    )


def table(samples: Sequence[Sample]) -> Table:
    """One line for each sample."""
    result = Table(title="Memory of the embedded server")
    for heading in ("tasks", "resident, MB", "tasks/s so far"):
        result.add_column(heading, justify="right")
    for sample in samples:
        result.add_row(f"{sample.tasks:,}", f"{sample.megabytes:.1f}", f"{sample.tasks / sample.seconds:.0f}")
    return result
