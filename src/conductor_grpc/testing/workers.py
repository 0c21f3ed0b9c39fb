"""Workers that run for the time of one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from conductor_grpc.errors import PollerError
from conductor_grpc.poller import TaskPoller
from conductor_grpc.testing.connection import configuration_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conductor_grpc.testing.connection import Server
    from conductor_grpc.worker import WorkerInterface


class WorkerRunner:
    """Starts pollers on a server and stops them all. Called from one thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pollers: list[TaskPoller] = []

    def __call__(self, *workers: WorkerInterface | Sequence[WorkerInterface], **settings: Any) -> TaskPoller:
        """Runs the workers, or lists of workers, from now on. Returns their poller, to pause or to stop it.

        Args:
            workers: At least one.
            settings: Of the `Configuration`: `domain`, `big_integers`, ... `drain_timeout` is how many seconds a
                running task gets in the end, 5 by default.

        Raises:
            WorkerDefinitionError: One of them is no worker.
            ConfigurationError: A setting has no usable value.
        """
        poller = TaskPoller(
            [each for given in workers for each in _listed(given)], configuration_of(self._server, settings)
        )
        poller.start()
        self._pollers.append(poller)
        return poller

    def stop(self) -> list[str]:
        """Drains all pollers, the last one first; what went wrong with them, one line each. Blocks."""
        problems = []
        while self._pollers:
            poller = self._pollers.pop()
            failing = [
                f"polling {each.task_definition_name!r} failed: {each.last_error}"
                for each in poller.health().workers
                if each.last_error is not None
            ]
            problems += failing + list(_problems_at_the_end(poller))
        return problems


def _listed(given: WorkerInterface | Sequence[WorkerInterface]) -> Sequence[WorkerInterface]:
    # Only lists and tuples are taken apart: the poller has words for whatever else is no worker.
    return given if isinstance(given, (list, tuple)) else [cast("WorkerInterface", given)]


def _problems_at_the_end(poller: TaskPoller) -> Iterator[str]:
    report = poller.stop()
    try:
        poller.join()
    except PollerError as error:
        yield f"{type(error).__name__}: {error}"
    if report.cancelled:
        yield (
            f"{report.cancelled} task(s) still ran {poller.configuration.drain_timeout:g} s after the test: a worker"
            " that blocks, or give it more time with run_worker(..., drain_timeout=SECONDS)"
        )
    if report.unsent:
        yield f"{report.unsent} result(s) never reached the server"
    if refused := poller.health().refused:
        yield f"the server refused {refused} result(s); the log says why"
