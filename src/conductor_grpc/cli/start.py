"""`conductor-grpc start`: a run of a workflow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.output import print_json
from conductor_grpc.cli.watch import task_states, watch
from conductor_grpc.cli.workflow_document import workflow_document
from conductor_grpc.clients import Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.errors import NotFoundError

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration


def _json_object(_context: click.Context, option: click.Parameter, value: str | None) -> dict[str, object]:
    """From a JSON object as text, `@file`, or `@-` for stdin."""
    if value is None:
        return {}
    text = _file_text(value[1:], option) if value.startswith("@") else value
    try:
        document = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param=option) from None
    if not isinstance(document, dict):
        raise click.BadParameter(f'expected a JSON object such as {{"a": 1}}, got {text:.60}', param=option)
    return document


def _file_text(name: str, option: click.Parameter) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise click.BadParameter(f"cannot read {name!r}: {reason}", param=option) from None


@click.command("start")
@click.argument("workflow")
@click.option(
    "--input",
    "input_data",
    metavar="JSON|@FILE",
    callback=_json_object,
    help="Its input, a JSON object; @- reads stdin.",
)
@click.option("--version", type=click.IntRange(1), help="Version of the definition.  [default: the latest]")
@click.option("--correlation-id", default="", help="Your own id for it, to find it by.")
@click.option("--wait", is_flag=True, help="Wait until it has ended and print status and output.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait with --wait.",
)
@connection_options
def start_command(
    workflow: str,
    input_data: dict[str, object],
    version: int | None,
    correlation_id: str,
    wait: bool,
    timeout: float,
    configuration: Configuration,
) -> None:
    """Start a run of WORKFLOW and print its id.

    With --wait, stdout gets one JSON object instead: id, status, input and output. The exit code is then 0 only
    if the run COMPLETED. Numbers travel as floating point, so an integer is exact up to 2**53.
    """
    if not workflow:
        raise click.BadParameter("expected the name of a workflow", param_hint="WORKFLOW")
    with WorkflowClient(configuration) as client:
        workflow_id = _start(client, workflow, input_data, version, correlation_id)
        if not wait:
            click.echo(workflow_id)
            return
        ended = _wait(client, workflow_id, timeout)
    print_json(workflow_document(ended))
    if ended.status is not WorkflowStatus.COMPLETED:
        sys.exit(1)


def _start(
    client: WorkflowClient, workflow: str, input_data: dict[str, object], version: int | None, correlation_id: str
) -> str:
    try:
        return client.start(workflow, input_data, version=version, correlation_id=correlation_id)
    except NotFoundError:
        if version is None:
            raise
        # The server's words name the workflow alone, which may well be there in another version.
        raise click.ClickException(
            f"there is no workflow {workflow!r} in version {version} at {client.configuration.target}: leave out"
            " --version for the latest, or apply that version first"
        ) from None


def _wait(client: WorkflowClient, workflow_id: str, timeout: float) -> Workflow:
    screen = Console(stderr=True)
    click.echo(f"started {workflow_id}", err=True)
    with screen.status("waiting") as line:
        for (seen,) in watch(client, [workflow_id], timeout, outlook="it goes on running on the server"):
            line.update(escape(f"{seen.status.value}: {task_states(seen)}"))
    return seen
