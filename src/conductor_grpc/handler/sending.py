"""What a handler's processes get to know, pickled before any is started: what cannot travel is found at once."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.configuration import default_worker_id
from conductor_grpc.errors import ConfigurationError, WorkerDefinitionError
from conductor_grpc.handler.child import ChildSettings
from conductor_grpc.poller.spawned import log_levels
from conductor_grpc.worker.pickles import pickled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.worker.interface import WorkerInterface

OPTIONS: Final = ("concurrency", "domain", "lease", "cancellation_grace")
"""What a program may change at a worker after its definition, as `conductor-grpc run --concurrency` does."""


def check_sendable(
    workers: Sequence[WorkerInterface],
    configuration: Configuration,
    middleware: Sequence[object],
    resources: Mapping[str, object] | None,
) -> None:
    """
    Raises:
        WorkerDefinitionError: A worker, a middleware or a resource cannot be pickled.
        ConfigurationError: The configuration cannot.
    """
    for worker in workers:
        pickled(worker)
    for number, each in enumerate(middleware):
        _check(each, f"middleware {number}, {each!r:.80},")
    for name, factory in (resources or {}).items():
        _check(factory, f"resource {name!r}, {factory!r:.80},")
    try:
        pickle.dumps(configuration)
    except Exception as error:
        raise ConfigurationError(
            f"the configuration cannot be sent to another process: {type(error).__name__}: {error}. A storage of your"
            " own for external payloads must be picklable: keep no locks and no connections in it, make them at its"
            " first use"
        ) from error


def child_settings(
    worker: WorkerInterface,
    configuration: Configuration,
    journal: Path,
    metrics_settings: MetricsSettings | None,
    middleware: Sequence[object],
    resources: Mapping[str, object] | None,
) -> ChildSettings:
    """For one process; see `check_sendable` for what it raises."""
    changes: dict[str, Any] = {"journal": journal}
    if configuration.worker_id == default_worker_id():
        changes["worker_id"] = None  # its own default, with its own process id
    arguments: dict[str, object] = {
        "configuration": _Changed(configuration, changes),
        "metrics_settings": metrics_settings,
    }
    # Only what there is, so that a process does not import what these need.
    if middleware:
        arguments["middleware"] = tuple(middleware)
    if resources:
        arguments["resources"] = dict(resources)
    return ChildSettings(
        worker=pickled(worker),
        options={name: getattr(worker, name) for name in OPTIONS},
        poller=pickle.dumps(arguments),
        log_levels=log_levels(),
        handler=os.getpid(),
    )


class _Changed:
    """Is unpickled as the configuration with the changes, made there: the default worker id is that of the process."""

    def __init__(self, configuration: Configuration, changes: dict[str, Any]) -> None:
        self._configuration = configuration
        self._changes = changes

    def __reduce__(self) -> tuple[Any, ...]:
        return _changed, (self._configuration, self._changes)


def _changed(configuration: Configuration, changes: dict[str, Any]) -> Configuration:
    return configuration.with_changes(**changes)


def _check(value: object, what: str) -> None:
    try:
        pickle.dumps(value)
    except Exception as error:
        raise WorkerDefinitionError(
            f"{what} cannot be sent to another process: {type(error).__name__}: {error}. Define it at the top level of"
            " a module, under the name that it has there"
        ) from error
