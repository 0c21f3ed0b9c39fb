"""What is examined, and the connections by which it is looked at."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from conductor_grpc.clients import TaskClient
from conductor_grpc.clients.search import SearchResult
from conductor_grpc.errors import ErrorKind, ServerError
from conductor_grpc.registration import declared_by
from conductor_grpc.registration.stored import task_by_rest, task_over_grpc
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.rest import open_rest_client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor_grpc.clients.results import TaskSummary
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient
    from conductor_grpc.worker import WorkerInterface

CALL_SHARE: Final = 0.6
"""The part of a check's time that one call may take; the rest is for finding out why it failed."""


class Setup:
    """The configuration and the workers under examination. Opens connections when they are first used.

    A check that is late runs on beside the next one, so nothing here depends on one thread.
    """

    def __init__(
        self,
        configuration: Configuration,
        workers: Sequence[WorkerInterface] | None = None,
        metrics_settings: MetricsSettings | None = None,
        *,
        seconds: float,
    ) -> None:
        """`workers`: None if there is no saying which; `seconds`: the time that a check has."""
        self.seconds = seconds
        self.configuration = configuration.with_changes(
            call_timeout=min(configuration.call_timeout, CALL_SHARE * seconds)
        )
        self.workers = tuple(workers or ())
        self.any_workers = workers is None
        """Whether the queues of all workers are of interest."""
        self.metrics_settings = metrics_settings
        self.rest_answers = False
        """Whether a call over REST has succeeded."""
        self.clock_ahead = 0.0
        """Seconds by which the server's clock is ahead of ours, as far as is known."""
        self._definitions: dict[str, dict[str, object] | None] = {}

    @property
    def task_types(self) -> tuple[str, ...]:
        """Those of the workers, each once."""
        return tuple(dict.fromkeys(worker.task_definition_name for worker in self.workers))

    def domain_of(self, worker: WorkerInterface) -> str | None:
        """The domain that a poller would poll for this worker."""
        return worker.domain or self.configuration.domain

    @functools.cached_property
    def channel(self) -> Channel:
        return open_channel(self.configuration)

    @functools.cached_property
    def tasks(self) -> TaskClient:
        return TaskClient(self.configuration, channel=self.channel)

    @functools.cached_property
    def _rest(self) -> RestClient | None:
        return open_rest_client(self.configuration)

    @property
    def rest(self) -> RestClient | None:
        """The REST client; None if there is no address, or nothing answers there as the server would."""
        return self._rest if self.rest_answers else None

    @property
    def unproven_rest(self) -> RestClient | None:
        """The REST client, whether or not it has ever had an answer."""
        return self._rest

    def definition(self, task_type: str) -> dict[str, object] | None:
        """The task definition on the server; None if there is none. Blocks; raises ServerError."""
        if task_type not in self._definitions:
            self._definitions[task_type] = self.definition_over_grpc(task_type) or self.definition_over_rest(task_type)
        return self._definitions[task_type]

    def definition_over_grpc(self, task_type: str) -> dict[str, object] | None:
        """The same over gRPC alone; None also for one that gRPC cannot carry, since it holds an integer."""
        return task_over_grpc(self.channel, task_type)

    def definition_over_rest(self, task_type: str) -> dict[str, object] | None:
        """The same over REST; None also without REST."""
        return None if self.rest is None else task_by_rest(self.rest, task_type)

    def apply_command(self, task_type: str) -> str:
        """The command that brings a changed definition of this type onto the server."""
        saying = [each for each in self.workers if each.task_definition_name == task_type and each.definition]
        if not saying:
            return "conductor-grpc apply FILE --overwrite"
        (declared,) = declared_by(saying[:1])
        return f"conductor-grpc apply --from {declared.module or 'MODULE'} --overwrite"

    def search(self, query: str, size: int) -> SearchResult[TaskSummary]:
        """Tasks in the server's index; none where it has no index. Blocks; raises ServerError."""
        try:
            return self.tasks.search(query, size=size)
        except ServerError as error:
            if error.kind not in (ErrorKind.UNKNOWN, ErrorKind.INVALID):
                raise
            return SearchResult(0, ())

    def close(self) -> None:
        """Calls in flight, of a check that is late, fail."""
        opened = vars(self)
        for name in ("tasks", "channel", "_rest"):
            part = opened.get(name)
            if part is not None:
                part.close()
