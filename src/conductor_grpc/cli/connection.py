"""The options that say where the server is, the same for every command that talks to one."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import click

from conductor_grpc.configuration import BASE_URL_VARIABLE, TARGET_VARIABLE, Configuration

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def connection_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Adds `--target`, `--base-url` and `--debug`; the command is called with a `configuration` made of them."""

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
    @click.option("--debug", is_flag=True, help="Log what happens, in detail, on stderr.")
    @functools.wraps(command)
    def with_configuration(*args: Any, target: str | None, base_url: str | None, debug: bool, **kwargs: Any) -> Result:
        configuration = Configuration(base_url, debug, target=target)
        configuration.configure_logging()
        return command(*args, configuration=configuration, **kwargs)

    return with_configuration
