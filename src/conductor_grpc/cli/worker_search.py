"""From `MODULE[:name]` to workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from conductor_grpc.worker import discovery

if TYPE_CHECKING:
    from conductor_grpc.worker import WorkerInterface


def find_workers(where: str) -> list[WorkerInterface]:
    """As `discovery.find_workers`. That a function is called is told on stderr."""
    return discovery.find_workers(where, lambda name: click.echo(f"calling {name} for its workers", err=True))
