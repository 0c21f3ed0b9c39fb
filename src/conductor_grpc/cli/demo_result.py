"""What the demo has to show in the end: what went in, what came out, how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor_grpc.cli.output import compact_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.clients import Workflow

_COLUMNS = ("Step", "Status", "Input", "Output", "Waited", "Ran")


def show_result(runs: Sequence[Workflow]) -> None:
    """One row for each workflow, one for each of its tasks below it."""
    print_table(_COLUMNS, [row for run in runs for row in _rows(run)], empty_columns=True)


def _rows(run: Workflow) -> Iterator[tuple[str, ...]]:
    begun = min((task.scheduled_time for task in run.tasks), default=0)
    payloads = (compact_json(run.input), compact_json(run.output))
    yield (run.name, run.status.value, *payloads, "", _milliseconds(begun, run.end_time))
    for task in run.tasks:
        payloads = (compact_json(task.input_data), compact_json(task.output_data))
        waited = _milliseconds(task.scheduled_time, task.start_time)
        ran = _milliseconds(task.start_time, task.end_time)
        yield (f"  {task.reference_task_name}", task.status.value, *payloads, waited, ran)


def _milliseconds(since: int, until: int) -> str:
    """Between two moments of the server's clock; "" if one of them has not come."""
    return f"{until - since} ms" if since and until else ""
