"""`conductor-grpc demo`: a server, the example workflows, the example workers, all in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from conductor_grpc.cli.demo_result import show_result
from conductor_grpc.cli.demo_server import embedded_server, real_server
from conductor_grpc.cli.demo_view import DemoView
from conductor_grpc.cli.examples import examples_folder
from conductor_grpc.cli.signals import INTERRUPTED, terminate_as_interrupt
from conductor_grpc.cli.watch import watch
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.clients import MetadataClient, Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.definitions import load_definitions
from conductor_grpc.errors import ConductorError
from conductor_grpc.poller.task_poller import TaskPoller

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.definitions import Definitions
    from conductor_grpc.worker import WorkerInterface


@click.command("demo")
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with main.py (the workers) and definitions/.  [default: the package's own examples]",
)
@click.option("--real-server", "real", is_flag=True, help="On a real server; the first run downloads it, 458 MB.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for the workflows, once the server is there.",
)
def demo_command(examples: Path | None, real: bool, timeout: float) -> None:
    """Run the example workflows on a server of their own, and show it.

    Starts a server on a free port, in this process or with --real-server a real Conductor, registers the example
    definitions, starts each example workflow once, runs the example workers until both have COMPLETED, and stops the
    server. Shows each task's state as it changes; then inputs, outputs, and how long each step waited and ran.
    """
    terminate_as_interrupt()
    screen = Console(stderr=True)
    folder = examples or examples_folder()
    # Before the server, whose start may take a while: what is wrong here is told at once.
    definitions = load_definitions(folder / "definitions")
    workers = find_workers(str(folder / "main.py"))
    server = real_server(screen) if real else embedded_server(screen)
    try:
        with server as configuration:
            ended = _run(definitions, workers, configuration, timeout, screen)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    show_result(ended)
    failed = [f"{run.name} is {run.status.value}" for run in ended if run.status is not WorkflowStatus.COMPLETED]
    if failed:
        raise ConductorError(f"the demo failed: {', '.join(failed)}")


def _run(
    definitions: Definitions,
    workers: list[WorkerInterface],
    configuration: Configuration,
    timeout: float,
    screen: Console,
) -> list[Workflow]:
    """Everything on the running server; the ended workflows."""
    with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as client, DemoView(screen) as view:
        metadata.register(definitions)
        started = [client.start(each.name, version=each.version) for each in definitions.workflows]
        # Before there is a worker: one sees the tasks wait in their queues first.
        view.show([client.get(workflow_id) for workflow_id in started])
        with TaskPoller(workers, configuration):
            for runs in watch(client, started, timeout):
                view.show(runs)
    return runs
