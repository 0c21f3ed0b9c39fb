"""`conductor-grpc status`: where a run stands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.output import compact_json, print_json, print_table
from conductor_grpc.cli.workflow_document import workflow_document
from conductor_grpc.clients import TaskClient, WorkflowClient

if TYPE_CHECKING:
    from conductor_grpc.clients import Workflow
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.worker import TaskLog


@click.command("status")
@click.argument("workflow_id", metavar="ID")
@click.option("--tasks", is_flag=True, help="Its tasks, too.")
@click.option("--logs", is_flag=True, help="Its tasks and their logs: their progress, and the traceback of a failure.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@connection_options
def status_command(workflow_id: str, tasks: bool, logs: bool, as_json: bool, configuration: Configuration) -> None:
    """Show status, input and output of the run with this ID."""
    if not workflow_id:
        raise click.BadParameter("expected the id of a workflow", param_hint="ID")
    with WorkflowClient(configuration) as client:
        workflow = client.get(workflow_id, include_tasks=tasks or logs)
    lines = _logs_of(workflow, configuration) if logs else None
    if as_json:
        print_json(workflow_document(workflow, tasks=tasks or logs, logs=lines))
        return
    _show(workflow)
    if tasks or logs:
        _show_tasks(workflow)
    if lines is not None:
        _show_logs(workflow, lines)


def _logs_of(workflow: Workflow, configuration: Configuration) -> dict[str, list[TaskLog]]:
    with TaskClient(configuration) as client:
        return {task.task_id: client.logs(task.task_id) for task in workflow.tasks}


def _show(workflow: Workflow) -> None:
    rows = [
        ("workflow", f"{workflow.name} version {workflow.version}"),
        ("id", workflow.workflow_id),
        ("status", workflow.status.value),
        ("correlation id", workflow.correlation_id),
        ("reason", workflow.reason_for_incompletion),
        ("input", compact_json(workflow.input)),
        ("output", compact_json(workflow.output)),
    ]
    print_table(("Run", ""), [row for row in rows if row[1]])


def _show_tasks(workflow: Workflow) -> None:
    rows = [
        (
            task.reference_task_name,
            task.task_type,
            task.status.value,
            str(task.retry_count),
            compact_json(task.input_data),
            compact_json(task.output_data),
            task.reason_for_incompletion,
        )
        for task in workflow.tasks
    ]
    print_table(("Task", "Type", "Status", "Retry", "Input", "Output", "Reason"), rows)


def _show_logs(workflow: Workflow, lines: dict[str, list[TaskLog]]) -> None:
    rows = [
        (task.reference_task_name, _time(line.created_time), line.log)
        for task in workflow.tasks
        for line in lines[task.task_id]
    ]
    if rows:
        print_table(("Task", "Time", "Log"), rows)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(sep=" ", timespec="milliseconds")
