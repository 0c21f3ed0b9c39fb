"""`python -m benchmarks.codec`: a task in and its result out, by our codec and by protobuf's own means.

The protobuf side does what a client without a codec does: parse the message, turn its `Value` maps into Python
values with `json_format`, and back for the result.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from google.protobuf import json_format, struct_pb2
from rich.console import Console
from rich.table import Table

from benchmarks import report
from conductor_grpc import Task, TaskResult, TaskResultStatus
from conductor_grpc.payload import encode_map, reference
from conductor_grpc.pb.model import task_pb2, taskresult_pb2
from conductor_grpc.pb.services import task_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_SECONDS = 0.05
_ROUNDS = 7

_ITEM = {"sku": "A-1234", "quantity": 3, "price": 19.5, "gift": False, "tags": ["new", "sale"], "note": None}
PAYLOADS: dict[str, dict[str, Any]] = {
    "2 values": {"number": 1.5, "text": "hello"},
    "an order of 10 items": {"customer": {"id": 4711, "name": "Zoë"}, "items": [_ITEM] * 10, "total": 585},
    "1,000 items": {"items": [_ITEM] * 1000},
}


@dataclass(frozen=True)
class Timing:
    """One operation on one payload. Microseconds, the median of several rounds."""

    operation: str
    payload: str
    ours: float
    protobuf: float


def task_bytes(payload: dict[str, Any]) -> bytes:
    """A task as the server sends it, definition and all, with this input."""
    task = task_pb2.Task(
        task_type="order",
        status=task_pb2.Task.IN_PROGRESS,
        reference_task_name="order_ref",
        task_def_name="order",
        task_id="5c3a4b7e-1f0d-4c55-9f5b-7a0f5d0c2f11",
        workflow_instance_id="0b2f8a52-0c9e-4d61-8a57-3f7c1e5b9d20",
        workflow_type="orders",
        worker_id="worker-1",
        seq=1,
        poll_count=1,
        scheduled_time=1_790_000_000_000,
        start_time=1_790_000_000_010,
        update_time=1_790_000_000_010,
        response_timeout_seconds=3600,
    )
    definition = task.workflow_task
    definition.name = definition.task_definition.name = "order"
    definition.task_reference_name = "order_ref"
    definition.type = "SIMPLE"
    definition.task_definition.description = "Takes an order, checks the stock and reserves it. " * 10
    return task.SerializeToString() + encode_map(payload, task_pb2.Task.INPUT_DATA_FIELD_NUMBER)


def decode_with_protobuf(data: bytes) -> tuple[task_pb2.Task, dict[str, Any]]:
    """The task, and its input as Python values."""
    task = task_pb2.Task.FromString(data)
    return task, {key: json_format.MessageToDict(value) for key, value in task.input_data.items()}


def encode_with_protobuf(output: dict[str, Any]) -> bytes:
    """A serialised UpdateTaskRequest with this output."""
    result = taskresult_pb2.TaskResult(
        workflow_instance_id="0b2f8a52-0c9e-4d61-8a57-3f7c1e5b9d20",
        task_id="5c3a4b7e-1f0d-4c55-9f5b-7a0f5d0c2f11",
        worker_id="worker-1",
        status=taskresult_pb2.TaskResult.COMPLETED,
    )
    for key, value in output.items():
        result.output_data[key].CopyFrom(json_format.ParseDict(value, struct_pb2.Value()))
    return task_service_pb2.UpdateTaskRequest(result=result).SerializeToString()


def encode_with_ours(output: dict[str, Any]) -> bytes:
    """The same by our codec."""
    return TaskResult(
        workflow_instance_id="0b2f8a52-0c9e-4d61-8a57-3f7c1e5b9d20",
        task_id="5c3a4b7e-1f0d-4c55-9f5b-7a0f5d0c2f11",
        worker_id="worker-1",
        status=TaskResultStatus.COMPLETED,
        output_data=output,
    ).to_wire()


def measure(name: str, payload: dict[str, Any]) -> list[Timing]:
    """Both operations on one payload, after a check that both ways agree."""
    data = task_bytes(payload)
    if not Task.from_wire(data).input_data == decode_with_protobuf(data)[1] == payload:
        raise AssertionError(f"the two decoders disagree on {name}")
    if reference_output(encode_with_ours(payload)) != reference_output(encode_with_protobuf(payload)):
        raise AssertionError(f"the two encoders disagree on {name}")
    return [
        Timing("decode a task", name, *_compare(partial(Task.from_wire, data), partial(decode_with_protobuf, data))),
        Timing(
            "encode a result",
            name,
            *_compare(partial(encode_with_ours, payload), partial(encode_with_protobuf, payload)),
        ),
    ]


def reference_output(request: bytes) -> object:
    """The output in a serialised UpdateTaskRequest, by the codec written in Python."""
    result = task_service_pb2.UpdateTaskRequest.FromString(request).result
    return reference.decode_map(result.SerializeToString(), taskresult_pb2.TaskResult.OUTPUT_DATA_FIELD_NUMBER)


def _compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    # In turns, for both to meet the same noise.
    rounds = [(_microseconds(ours), _microseconds(theirs)) for _ in range(_ROUNDS)]
    return statistics.median(pair[0] for pair in rounds), statistics.median(pair[1] for pair in rounds)


def _microseconds(operation: Callable[[], object]) -> float:
    """CPU time, so that other programs do not count."""
    count, begin = 0, time.thread_time()
    while (used := time.thread_time() - begin) < _LEAST_SECONDS:
        for _ in range(20):
            operation()
        count += 20
    return used / count * 1e6


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(json_file: Path | None) -> None:
    """Compare our codec with protobuf and json_format."""
    console = Console()
    with console.status("measuring"):
        timings = [timing for name, payload in PAYLOADS.items() for timing in measure(name, payload)]
    table = Table(title="Payloads, CPU microseconds")
    for heading in ("operation", "payload", "ours", "protobuf", "factor"):
        table.add_column(heading, justify="left" if heading in ("operation", "payload") else "right")
    for timing in timings:
        factor = f"{timing.protobuf / timing.ours:.1f}"
        table.add_row(timing.operation, timing.payload, f"{timing.ours:,.1f}", f"{timing.protobuf:,.1f}", factor)
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in report.machine().items()))
    if json_file is not None:
        figures = [vars(timing) for timing in timings]
        json_file.write_text(json.dumps({"machine": report.machine(), "timings": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.codec")
