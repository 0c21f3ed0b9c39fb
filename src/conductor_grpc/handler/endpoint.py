"""The HTTP endpoint of a handler: the metrics and the health of all its processes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from conductor_grpc.handler import health as handler_health
from conductor_grpc.observe.http_endpoint import HttpEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.handler.health import HandlerHealth
    from conductor_grpc.observe import MetricsSettings

logger = logging.getLogger(__name__)


class HandlerEndpoint:
    """Answers `/metrics` with the file that the processes write together, `/livez` and `/readyz`."""

    def __init__(self, settings: MetricsSettings, health: Callable[[], HandlerHealth]) -> None:
        """Listens from now on.

        Args:
            settings: With a directory and a port.
            health: That of this moment.

        Raises:
            ConfigurationError: Nothing can listen there.
        """
        assert settings.http_port is not None
        self._settings = settings
        self._http = HttpEndpoint(
            settings.http_host,
            settings.http_port,
            self._metrics,
            {
                "/livez": lambda: handler_health.live(health()),
                "/readyz": lambda: handler_health.ready(
                    health(), settings.poll_overdue_after, settings.outbox_stuck_after
                ),
            },
            _on_death,
        )

    def start(self) -> None:
        self._http.start()
        logger.info("metrics and health are at http://%s:%d/metrics, /livez and /readyz", *self._http.address)

    def stop(self) -> None:
        """Answer no more. Blocks for a moment."""
        self._http.stop()
        self._http.join(1.0)
        self._http.close()

    def _metrics(self) -> bytes:
        file = self._settings.file
        assert file is not None
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return b""  # no process has written it yet


def _on_death(part: str, error: BaseException) -> None:
    del part, error  # logged by the part itself; the work goes on
