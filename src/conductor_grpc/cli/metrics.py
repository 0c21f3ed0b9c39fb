"""The options of `conductor-grpc run` that say where its metrics go."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from conductor_grpc.observe import MetricsSettings
from conductor_grpc.observe.settings import LEAST_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FILE: Final = "metrics.log"
DEFAULT_INTERVAL: Final = 0.1

_OPTIONS: Final = (
    click.option(
        "--metrics-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder of the metrics file, in Prometheus' text format.  [default: with --metrics-file this one]",
    ),
    click.option("--metrics-file", metavar="NAME", help=f"Its name.  [default: {DEFAULT_FILE}]"),
    click.option(
        "--metrics-interval",
        type=click.FloatRange(LEAST_INTERVAL),
        metavar="SECONDS",
        help=f"Seconds between two versions of it.  [default: {DEFAULT_INTERVAL:g}]",
    ),
    click.option(
        "--metrics-port",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help="Port, of this machine only, on which /metrics, /livez and /readyz are answered.",
    ),
)


def metrics_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets `metrics_settings`, None where there is to be neither file nor port."""

    @functools.wraps(command)
    def with_settings(
        *,
        metrics_dir: Path | None,
        metrics_file: str | None,
        metrics_interval: float | None,
        metrics_port: int | None,
        **others: Any,
    ) -> None:
        settings = _settings(metrics_dir, metrics_file, metrics_interval, metrics_port)
        command(metrics_settings=settings, **others)

    decorated: Callable[..., None] = with_settings
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _settings(
    directory: Path | None, file_name: str | None, interval: float | None, port: int | None
) -> MetricsSettings | None:
    """Raises ConfigurationError where prometheus_client is missing."""
    wants_file = directory is not None or file_name is not None
    if not wants_file and interval is not None:
        raise click.UsageError("--metrics-interval is that of a file: give --metrics-dir, --metrics-file or both")
    if not wants_file and port is None:
        return None
    return MetricsSettings(
        directory=(directory or Path.cwd()) if wants_file else None,
        file_name=file_name or DEFAULT_FILE,
        update_interval=DEFAULT_INTERVAL if interval is None else interval,
        http_port=port,
    )
