"""The figures of all runs, for people and for machines."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks import rest_sdk_environment
from conductor_grpc.server.real.jar import VERSION as SERVER_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.run import Measurement

BARE = "bare grpcio"
"""The client that all others are compared with."""

METHOD = (
    "Every client runs the same work, workflows of one SIMPLE task that does nothing, started beforehand, in "
    "processes of its own against one server with a fresh SQLite database. CPU is user and system time of all its "
    "processes, read from outside; the interval goes from the end of the warm-up to the last result that the server "
    "took, by the server's own record. After each run every workflow was found COMPLETED. Medians of all rounds "
    "(lowest to highest); the order of the clients rotates from round to round. The server's CPU is the ceiling of "
    "all rates here, so CPU per task is what to compare."
)


@dataclass
class Row:
    """All runs of one client."""

    name: str
    runs: list[Measurement] = field(default_factory=list)
    void: list[str] = field(default_factory=list)
    """Why runs could not be counted."""


def machine() -> dict[str, object]:
    """What the figures were measured on, and with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "conductor-grpc-client": version("conductor-grpc-client"),
        "conductor-python": rest_sdk_environment.VERSION,
        "conductor-server": SERVER_VERSION,
    }


def table(rows: Sequence[Row]) -> Table:
    """One line for each client, the spread under each median; 80 columns wide."""
    result = Table(title="Cost of a task", show_lines=True)
    result.add_column("client", min_width=24)
    for heading in ("tasks/s", "client CPU\nms/task", "to bare", "server CPU\nms/task", "runs"):
        result.add_column(heading, justify="right")
    bare = next((median(row, lambda run: run.client_ms_per_task) for row in rows if row.name == BARE), None)
    for row in rows:
        cpu = median(row, lambda run: run.client_ms_per_task)
        result.add_row(
            row.name,
            spread(row, lambda run: run.tasks_per_second, ".0f"),
            spread(row, lambda run: run.client_ms_per_task, ".3f"),
            "-" if bare is None or cpu is None else f"{cpu / bare:.2f}",
            spread(row, lambda run: run.server_ms_per_task, ".2f"),
            f"{len(row.runs)}" + (f"\n{len(row.void)} VOID" if row.void else ""),
        )
    return result


def document(rows: Sequence[Row], settings: Mapping[str, object]) -> dict[str, object]:
    """The same as JSON, with every run."""
    return {
        "method": METHOD,
        "machine": machine(),
        "settings": dict(settings),
        "clients": [
            {
                "name": row.name,
                "tasks_per_second": median(row, lambda run: run.tasks_per_second),
                "client_cpu_ms_per_task": median(row, lambda run: run.client_ms_per_task),
                "server_cpu_ms_per_task": median(row, lambda run: run.server_ms_per_task),
                "runs": [asdict(run) for run in row.runs],
                "void": row.void,
            }
            for row in rows
        ],
    }


def median(row: Row, figure: Callable[[Measurement], float]) -> float | None:
    """Of all runs that count; None without any."""
    return statistics.median(map(figure, row.runs)) if row.runs else None


def spread(row: Row, figure: Callable[[Measurement], float], form: str) -> str:
    """The median, and under it the lowest and the highest, for a table."""
    values = sorted(map(figure, row.runs))
    if not values:
        return "-"
    return f"{statistics.median(values):{form}}\n{values[0]:{form}}-{values[-1]:{form}}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
