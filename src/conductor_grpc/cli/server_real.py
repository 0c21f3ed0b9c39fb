"""A real server on the terminal: how its start goes, where it is, its end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from conductor_grpc.cli.server_table import show_server
from conductor_grpc.cli.signals import LOOK_EVERY
from conductor_grpc.server.real.jar import VERSION, Step
from conductor_grpc.server.real.launcher import RealServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console


@dataclass(frozen=True)
class RealOptions:
    """What may be said about a real server."""

    data: Path | None
    grpc_port: int
    rest_port: int
    heap: str = "1g"
    properties: Mapping[str, str] | None = None
    java_options: Sequence[str] = ()


def run_real(options: RealOptions, screen: Console) -> None:
    """Until the server ends by itself (LauncherError) or we are asked to stop it (returns)."""
    server = start_real(options, screen)
    try:
        try:
            show_server(f"Conductor {VERSION}", _whereabouts(server))
            code = None
            while code is None:
                code = server.wait(LOOK_EVERY)
        except KeyboardInterrupt:
            stop_real(server, screen)
            return
        raise server.death(code)
    finally:
        server.stop()


def start_real(options: RealOptions, screen: Console) -> RealServer:
    """A server that is ready. Blocks, at the first run for the download. Raises LauncherError."""
    with _launch_bars(screen) as bars:
        server = RealServer(
            options.data,
            options.grpc_port,
            options.rest_port,
            heap=options.heap,
            properties=options.properties,
            jvm_options=options.java_options,
            progress=bars,
        )
        server.start()
    return server


def stop_real(server: RealServer, screen: Console) -> None:
    with screen.status("Stopping Conductor"):
        server.stop()


def _whereabouts(server: RealServer) -> list[tuple[str, str]]:
    return [
        ("gRPC", server.target),
        ("REST", server.base_url),
        ("UI", server.ui_url),
        ("Data", str(server.folder)),
        ("Log", str(server.log_path)),
        ("Process", str(server.pid)),
    ]


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
def _launch_bars(screen: Console) -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield _Bars(progress)
