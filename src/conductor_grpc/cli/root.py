"""The command and its subcommands; every error of the package becomes one line on stderr."""

from __future__ import annotations

import logging
from typing import Any

import click

from conductor_grpc.cli.apply import apply_command
from conductor_grpc.cli.demo import demo_command
from conductor_grpc.cli.doctor import doctor_command
from conductor_grpc.cli.run import run_command
from conductor_grpc.cli.schema import schema_command
from conductor_grpc.cli.server import server_command
from conductor_grpc.cli.start import start_command
from conductor_grpc.cli.status import status_command
from conductor_grpc.errors import ConductorError

logger = logging.getLogger(__name__)


class _Root(click.Group):
    """Keeps the subcommands in the order in which a newcomer needs them, and knows the package's errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConductorError as error:
            logger.debug("the command failed", exc_info=True)
            raise click.ClickException(" ".join(str(error).split())) from None


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="conductor-grpc-client", prog_name="conductor-grpc")
def root() -> None:
    """Conductor over gRPC: a server to develop with, definitions, workflows and workers.

    Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage.
    """


for _command in (
    server_command,
    apply_command,
    start_command,
    status_command,
    run_command,
    demo_command,
    doctor_command,
    schema_command,
):
    root.add_command(_command)
