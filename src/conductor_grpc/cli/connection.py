"""The options that say where the server is, the same for every command that talks to one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from conductor_grpc.cli.security import security_options
from conductor_grpc.configuration import BASE_URL_VARIABLE, TARGET_VARIABLE, Configuration

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def connection_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds the options below; the command is called with a `configuration` made of them."""

    @click.option(
        "--target",
        metavar="HOST:PORT",
        help=f"gRPC address of the server.  [env: {TARGET_VARIABLE}; default: localhost:8090]",
    )
    @click.option(
        "--base-url",
        metavar="URL",
        help=f"Its REST address, for what gRPC cannot carry.  [env: {BASE_URL_VARIABLE}; "
        "default: http://localhost:8080/api for a server on this machine, else none]",
    )
    @click.option(
        "--big-integers",
        type=click.Choice(["error", "string"]),
        default="error",
        show_default=True,
        help="What to do with an integer beyond 2**53, which gRPC cannot carry: refuse it, or send it as text.",
    )
    @security_options
    @click.option("--debug", is_flag=True, help="Log in detail on stderr, tracebacks of errors included.")
    @functools.wraps(command)
    def with_configuration(
        *args: Any,
        target: str | None,
        base_url: str | None,
        big_integers: Literal["error", "string"],
        debug: bool,
        security: dict[str, Any],
        **kwargs: Any,
    ) -> Result:
        configuration = Configuration(base_url, debug, target=target, big_integers=big_integers, **security)
        configuration.configure_logging()
        return command(*args, configuration=configuration, **kwargs)

    return with_configuration
