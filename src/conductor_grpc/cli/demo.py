"""`conductor-grpc demo`: a real server, the example workflows, the example workers, all in one command."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from conductor_grpc.cli.demo_view import DemoView
from conductor_grpc.cli.examples import examples_folder
from conductor_grpc.cli.output import compact_json, print_table
from conductor_grpc.cli.server import launch_bars
from conductor_grpc.cli.watch import watch
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.clients import MetadataClient, Workflow, WorkflowClient, WorkflowStatus
from conductor_grpc.configuration import Configuration
from conductor_grpc.definitions import load_definitions
from conductor_grpc.errors import ConductorError
from conductor_grpc.poller.task_poller import TaskPoller
from conductor_grpc.server import RealServer, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conductor_grpc.definitions import Definitions
    from conductor_grpc.worker import WorkerInterface

_INTERRUPTED = 130  # what a shell calls "ended by Ctrl-C"


@click.command("demo")
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with main.py (the workers) and definitions/.  [default: the package's own examples]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for the workflows, once the server is there.",
)
def demo_command(examples: Path | None, timeout: float) -> None:
    """Run the example workflows on a real server of their own, and show it.

    Starts Conductor in a temporary folder on free ports (the first run downloads it, 458 MB), registers the example
    definitions, starts each example workflow once, runs the example workers until both have COMPLETED, and stops
    the server.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # for the server to be stopped in order
    screen = Console(stderr=True)
    folder = examples or examples_folder()
    # Before the server, whose start takes a while: what is wrong here is told at once.
    definitions = load_definitions(folder / "definitions")
    workers = find_workers(str(folder / "main.py"))
    try:
        with _server(screen) as configuration:
            ended = _run(definitions, workers, configuration, timeout, screen)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    _show(ended)
    failed = [f"{run.name} is {run.status.value}" for run in ended if run.status is not WorkflowStatus.COMPLETED]
    if failed:
        raise ConductorError(f"the demo failed: {', '.join(failed)}")


@contextlib.contextmanager
def _server(screen: Console) -> Iterator[Configuration]:
    if not screen.is_terminal:
        screen.print("Starting Conductor")  # the bars are for terminals
    with launch_bars(screen) as bars:
        server = RealServer(None, *free_ports(2), progress=bars)
        server.start()
    try:
        screen.print(f"Conductor runs: gRPC {server.target}, REST {server.base_url}", highlight=False)
        # A poller that stops waits for its poll in flight, and here somebody is watching.
        yield Configuration(server.base_url, target=server.target, poll_wait_ms=1000)
    finally:
        with screen.status("Stopping Conductor"):
            server.stop()


def _run(
    definitions: Definitions,
    workers: list[WorkerInterface],
    configuration: Configuration,
    timeout: float,
    screen: Console,
) -> list[Workflow]:
    """Everything on the running server; the ended workflows."""
    with MetadataClient(configuration) as metadata, WorkflowClient(configuration) as client:
        metadata.register(definitions)
        # Started before there is a worker: one sees them wait in the queue first.
        started = [client.start(each.name, version=each.version) for each in definitions.workflows]
        view = DemoView(screen)
        with view, TaskPoller(workers, configuration):
            for runs in watch(client, started, timeout):
                view.show(runs)
    return runs


def _show(ended: list[Workflow]) -> None:
    rows = [
        (
            run.name,
            run.status.value,
            compact_json(run.input),
            compact_json(run.output),
            _milliseconds(run, "scheduled_time", "start_time"),
            _milliseconds(run, "start_time", "end_time"),
        )
        for run in ended
    ]
    print_table(("Workflow", "Status", "Input", "Output", "Queued", "Ran"), rows)


def _milliseconds(run: Workflow, since: str, until: str) -> str:
    """Between two moments of its tasks, by the server's clock, all tasks together."""
    spans = [getattr(task, until) - getattr(task, since) for task in run.tasks]
    return f"{sum(span for span in spans if span > 0)} ms"
