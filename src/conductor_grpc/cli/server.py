"""`conductor-grpc server`: a Conductor server in one command, a real one or the one in this package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource
from rich.console import Console

from conductor_grpc.cli.server_embedded import run_embedded
from conductor_grpc.cli.server_real import RealOptions, run_real
from conductor_grpc.cli.signals import INTERRUPTED, terminate_as_interrupt
from conductor_grpc.errors import LauncherError

_REAL_ONLY: Final = ("port", "heap", "properties", "java_options")
"""Parameters that an embedded server has no use for: no REST, no Java."""


def _properties(_context: click.Context, option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    parsed = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (name and separator):
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param=option)
        parsed[name] = value
    return parsed


@click.command("server")
@click.option("--embedded", is_flag=True, help="The server of this package: no Java, gRPC alone, up at once.")
@click.option("--strict", is_flag=True, help="With --embedded: with the real server's faults, too.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8090, show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="REST and UI.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps the database (and a real server's log); without it nothing is kept.",
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
@click.pass_context
def server_command(
    context: click.Context,
    embedded: bool,
    strict: bool,
    grpc_port: int,
    port: int,
    data: Path | None,
    heap: str,
    properties: dict[str, str],
    java_options: tuple[str, ...],
) -> None:
    """Run a Conductor server until Ctrl-C.

    A real one, with gRPC, REST and UI, is downloaded at the first run (458 MB). It listens on every interface
    without authentication. With --embedded it is the one of this package, for development: gRPC on this machine
    alone, SIMPLE tasks and the control flow, in memory or in an SQLite file.
    """
    _check_combination(context, embedded, strict)
    screen = Console(stderr=True)
    terminate_as_interrupt()
    try:
        if embedded:
            run_embedded(grpc_port, data, strict=strict, screen=screen)
        else:
            options = RealOptions(data, grpc_port, port, heap, properties, java_options)
            run_real(options, screen)
    except LauncherError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        # While starting, or a second time while stopping: start() and stop() have left nothing running.
        sys.exit(INTERRUPTED)


def _check_combination(context: click.Context, embedded: bool, strict: bool) -> None:
    if strict and not embedded:
        raise click.UsageError("--strict goes with --embedded: a real server has its faults anyway", context)
    if not embedded:
        return
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in _REAL_ONLY and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if given:
        does = "is" if len(given) == 1 else "are"
        raise click.UsageError(
            f"{', '.join(given)} {does} for a real server: an embedded one has neither REST nor Java. Leave out"
            f" --embedded, or {', '.join(given)}",
            context,
        )
