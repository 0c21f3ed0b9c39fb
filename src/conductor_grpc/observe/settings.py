"""Which metrics are wanted, and where."""

from __future__ import annotations

import importlib.util
import math
import os
from dataclasses import dataclass
from pathlib import Path

from conductor_grpc.errors import ConfigurationError

LEAST_INTERVAL = 0.01


def check_metrics_settings(settings: object) -> None:
    """
    Raises:
        ConfigurationError: They are neither a MetricsSettings nor None.
    """
    if settings is not None and not isinstance(settings, MetricsSettings):
        raise ConfigurationError(f"metrics_settings is {settings!r:.80}, expected a MetricsSettings(...), or None")


@dataclass(frozen=True)
class MetricsSettings:
    """Where the metrics of a poller go: into a file, to an HTTP endpoint, or both.

    Checked at construction, then immutable and picklable. Raises ConfigurationError where prometheus_client is not
    installed (extra `metrics`) or a setting cannot work.
    """

    directory: str | Path | None = None
    """The folder of the metrics file, made if need be. None: the home folder, or no file at all if there is an
    `http_port`. Pollers of several processes with the same folder and file name write one file together."""

    file_name: str = "metrics.log"
    """The name of the file in it, in Prometheus' text format."""

    update_interval: float = 0.1
    """Seconds between two versions of the file, at least 0.01. It is replaced as a whole, so a reader never sees a part
    of one."""

    http_port: int | None = None
    """The port on which `/metrics`, `/livez` and `/readyz` are answered, 1 to 65535; None: no endpoint."""

    http_host: str = "127.0.0.1"
    """The address to listen at. Anybody who reaches it can read it: by default only this machine can."""

    poll_overdue_after: float = 60.0
    """Seconds of polling without success after which `/readyz` says 503. While a worker is paused, or all of its
    slots are taken, it does not poll and the clock stands."""

    outbox_stuck_after: float = 60.0
    """Age in seconds of the oldest unacknowledged result after which `/readyz` says 503."""

    def __post_init__(self) -> None:
        if importlib.util.find_spec("prometheus_client") is None:
            raise ConfigurationError(
                "metrics need prometheus_client: pip install 'conductor-grpc-client[metrics]', or leave out"
                " metrics_settings"
            )
        self._set("directory", _folder(self.directory, self.http_port))
        if not isinstance(self.file_name, str) or self.file_name in ("", ".", "..") or "/" in self.file_name:
            raise ConfigurationError(
                f"file_name {self.file_name!r}: expected the name of a file without a folder, as in 'metrics.log';"
                " the folder is `directory`"
            )
        self._set("update_interval", _seconds("update_interval", self.update_interval, LEAST_INTERVAL))
        self._set("poll_overdue_after", _seconds("poll_overdue_after", self.poll_overdue_after, 0.0))
        self._set("outbox_stuck_after", _seconds("outbox_stuck_after", self.outbox_stuck_after, 0.0))
        port: object = self.http_port
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535):
            raise ConfigurationError(f"http_port {port!r}: expected a whole number from 1 to 65535, or None")
        if not isinstance(self.http_host, str) or not self.http_host:
            raise ConfigurationError(
                f"http_host {self.http_host!r}: expected an address of this machine, as in '127.0.0.1'"
            )

    @property
    def file(self) -> Path | None:
        """The metrics file; None if none is wanted."""
        return None if self.directory is None else Path(self.directory) / self.file_name

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _folder(directory: object, http_port: object) -> Path | None:
    if directory is None:
        return None if http_port is not None else _home()
    if not isinstance(directory, (str, Path)) or not str(directory) or "\0" in str(directory):
        raise ConfigurationError(f"directory {directory!r}: expected the path of a folder, or None")
    # Absolute from now on: a process may change its folder before it starts a poller.
    return Path(os.path.abspath(os.path.expanduser(directory)))  # noqa: PTH100, PTH111 - resolve() would follow links


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # as in a container, whose user is in no list
        raise ConfigurationError(f"directory None: there is no home folder ({error}), so name a folder") from error


def _seconds(name: str, value: object, least: float) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < least or value == 0:  # type: ignore[operator]
        raise ConfigurationError(
            f"{name} {value!r}: expected seconds, a finite number {f'of at least {least}' if least else '> 0'}"
        )
    return float(value)  # type: ignore[arg-type]
