"""A run as text: what an assertion that fails has to say."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from conductor_grpc.clients import WorkflowStatus
from conductor_grpc.worker import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conductor_grpc.clients import Workflow
    from conductor_grpc.worker import Task, TaskLog

_HEADINGS: Final = ("TASK", "TYPE", "TRY", "STATE", "INPUT", "OUTPUT")

_CELL: Final = 36
"""Characters of a payload in the table. A longer one stands below its row, whole."""


def report(run: Workflow, logs: Mapping[str, Sequence[TaskLog]]) -> str:
    """The run and each attempt at each of its tasks, in the order in which they were scheduled.

    Args:
        run: With its tasks.
        logs: By task id.
    """
    lines = [
        f"input:  {_json(run.input)}",
        f"output: {_json(run.output)}",
        *_labelled("reason:", run.reason_for_incompletion),
        f"id:     {run.workflow_id}",
        "",
    ]
    if not run.tasks:
        return "\n".join([*lines, "no task was scheduled"])
    rows = [_HEADINGS, *(_row(task) for task in run.tasks)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_HEADINGS))]
    heading, *told = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.append(heading)
    for task, line in zip(run.tasks, told, strict=True):
        lines += [line, *(f"    {detail}" for detail in _details(task, logs.get(task.task_id, ())))]
    hints = [hint for task in run.tasks if (hint := _hint(run, task))]
    return "\n".join([*lines, "", *hints] if hints else lines)


def _row(task: Task) -> tuple[str, ...]:
    payloads = (_cell(task.input_data), _cell(task.output_data))
    return (task.reference_task_name, task.task_type, str(task.retry_count), task.status.value, *payloads)


def _cell(payload: object) -> str:
    text = _json(payload)
    return text if len(text) <= _CELL else "(below)"


def _details(task: Task, logs: Sequence[TaskLog]) -> Iterator[str]:
    for label, payload in (("input:", task.input_data), ("output:", task.output_data)):
        if _cell(payload) != (text := _json(payload)):
            yield f"{label} {text}"
    yield from _labelled("reason:", task.reason_for_incompletion)
    for entry in logs:
        yield from _labelled(f"log {_time(entry.created_time)}", entry.log)


def _labelled(label: str, text: str) -> Iterator[str]:
    """Nothing for no text; of several lines the others are indented."""
    for index, line in enumerate(text.splitlines()):
        yield f"{label} {line}" if index == 0 else f"    {line}"


def _hint(run: Workflow, task: Task) -> str:
    """Why an open task may be open."""
    if run.status.is_terminal or task.status is not TaskStatus.SCHEDULED:
        return ""
    name = task.reference_task_name
    if task.callback_after_seconds or task.start_delay_in_seconds:
        seconds = max(task.callback_after_seconds, task.start_delay_in_seconds)
        return f"{name} is not due for {seconds} s: conductor_server.clock.advance({seconds}) makes them pass at once."
    served_by_workers = task.task_type == task.task_def_name
    if run.status is WorkflowStatus.PAUSED or task.poll_count or not served_by_workers:
        return ""
    domain = f" of the domain {task.domain!r}" if task.domain else ""
    return f"{name} has not been polled: does run_worker run a worker for {task.task_type!r}{domain}?"


def _json(payload: object) -> str:
    return json.dumps(payload, ensure_ascii=False, sort_keys=True)  # the wire has no order


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc).astimezone()
    return moment.strftime("%H:%M:%S.%f")[:-3]
