"""What shows one poller to the outside, put together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from conductor_grpc.observe import probes
from conductor_grpc.observe.exposition import text_of
from conductor_grpc.observe.http_endpoint import HttpEndpoint
from conductor_grpc.observe.metrics_file import LAST_TURN, MetricsFile
from conductor_grpc.observe.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.observe.probes import Verdict
    from conductor_grpc.observe.settings import MetricsSettings
    from conductor_grpc.observe.values import Values
    from conductor_grpc.poller.health import PollerHealth
    from conductor_grpc.poller.measures import Measures

logger = logging.getLogger(__name__)

STOP_TIMEOUT: Final = LAST_TURN + 1.0
"""Seconds that the parts get to end; a disk that hangs must not keep a process from ending."""


class Observer:
    """The metrics file and the HTTP endpoint of one poller, as far as its settings want them.

    A part of it that dies is logged as critical, and the poller goes on: work matters more than its picture.
    """

    def __init__(self, settings: MetricsSettings, health: Callable[[], PollerHealth], measures: Measures) -> None:
        self.settings = settings
        self._health = health
        self._measures = measures
        self._file: MetricsFile | None = None
        self._endpoint: HttpEndpoint | None = None

    def start(self) -> None:
        """Begin to write and to answer.

        Raises:
            ConfigurationError: Nothing can listen at the settings' address.
        """
        settings = self.settings
        if settings.http_port is not None:
            self._endpoint = HttpEndpoint(
                settings.http_host,
                settings.http_port,
                lambda: text_of(self.read),
                {"/livez": self.live, "/readyz": self.ready},
                _on_death,
            )
            self._endpoint.start()
            logger.info("metrics and health are at http://%s:%d/metrics, /livez and /readyz", *self._endpoint.address)
        if settings.file is not None:
            self._file = MetricsFile(settings.file, settings.update_interval, self.read, _on_death)
            self._file.start()
            logger.info("metrics go to %s every %g s", settings.file, settings.update_interval)

    def stop(self) -> None:
        """Write the file a last time, and answer no more. Blocks for a moment."""
        for part in (self._file, self._endpoint):
            if part is not None:
                part.stop()
        for part in (self._file, self._endpoint):
            if part is not None and not part.join(STOP_TIMEOUT):
                logger.warning("%s did not end within %g s and is left behind", part.name, STOP_TIMEOUT)
        if self._endpoint is not None:
            self._endpoint.close()

    def read(self) -> Values:
        """The values of this moment."""
        return read(self._health(), self._measures)

    def live(self) -> Verdict:
        return probes.live(self._health())

    def ready(self) -> Verdict:
        return probes.ready(self._health(), self.settings.poll_overdue_after, self.settings.outbox_stuck_after)


def _on_death(part: str, error: BaseException) -> None:
    del part, error  # logged by the part itself
