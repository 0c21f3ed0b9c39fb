"""``conductor-grpc server``: a real Conductor server in one command."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.real.jar import VERSION, Step
from conductor_grpc.server.real.launcher import RealServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERRUPTED = 130  # what a shell calls "ended by Ctrl-C"


def _properties(_context: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator):
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param=option)
        parsed[name] = value
    return parsed


@click.command("server")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8090, show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="REST and UI.")
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    help="Folder that keeps database and log; without it they are temporary.",
)
@click.option("--heap", default="1g", show_default=True, help="The most memory for Java's heap.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    callback=_properties,
    help="Server property NAME=VALUE; repeatable.",
)
@click.option("--java-option", "java_options", multiple=True, help="Option for Java itself; repeatable.")
def server_command(
    grpc_port: int,
    port: int,
    data: str | None,
    heap: str,
    properties: dict[str, str],
    java_options: tuple[str, ...],
) -> None:
    """Run a real Conductor server with gRPC, REST and UI until Ctrl-C.

    The first run downloads it (458 MB). It listens on every interface without authentication.
    """
    screen = Console(stderr=True)
    # From here on SIGTERM is what Ctrl-C is: KeyboardInterrupt in this thread.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with launch_bars(screen) as bars:
            server = RealServer(
                data,
                grpc_port,
                port,
                heap=heap,
                properties=properties,
                jvm_options=java_options,
                progress=bars,
            )
            server.start()
        _run(server, screen)
    except LauncherError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        # While starting, or a second time while stopping: start() and stop() have left nothing running.
        sys.exit(_INTERRUPTED)


def _run(server: RealServer, screen: Console) -> None:
    """Until the server ends by itself (LauncherError) or we are asked to stop it (returns)."""
    try:
        try:
            _show(server)
            code = server.wait()
        except KeyboardInterrupt:
            with screen.status("Stopping Conductor"):
                server.stop()
            return
        raise server.death(code)
    finally:
        server.stop()


def _show(server: RealServer) -> None:
    rows = [
        ("gRPC", server.target),
        ("REST", server.base_url),
        ("UI", server.ui_url),
        ("Data", str(server.folder)),
        ("Log", str(server.log_path)),
        ("Process", str(server.pid)),
    ]
    # A path wider than the terminal would be cut, in the middle of what one wants to copy.
    console = Console(soft_wrap=True)
    if console.is_terminal:
        table = Table(title=f"Conductor {VERSION}", title_justify="left", show_header=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        for row in rows:
            click.echo("\t".join(row))
    click.echo("Ctrl-C stops it.")


class _Bars:
    """One line on the terminal for each step towards a running server."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[Step, TaskID] = {}

    def __call__(self, step: Step, done: int, total: int) -> None:
        if step not in self._tasks:
            for earlier in self._tasks.values():
                self._progress.stop_task(earlier)
            # Without a total the bar only pulses.
            self._tasks[step] = self._progress.add_task(step.value, total=total or None, amount="")
        amount = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        self._progress.update(self._tasks[step], completed=done, amount=amount)


@contextlib.contextmanager
def launch_bars(screen: Console) -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield _Bars(progress)
