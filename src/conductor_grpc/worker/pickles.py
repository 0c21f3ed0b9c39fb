"""What the process of a slot needs, as bytes that can be sent there, or an error that says why it cannot."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.middleware import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.resources import ResourceFactory


def pickled(worker: WorkerInterface) -> bytes:
    """
    Raises:
        WorkerDefinitionError: It cannot be pickled, so it cannot reach another process.
    """
    try:
        return pickle.dumps(worker)
    except Exception as error:
        raise WorkerDefinitionError(
            f"worker {worker.task_definition_name!r} cannot be sent to another process: {type(error).__name__}:"
            f" {error}. Define it at the top level of a module, under the name that it has there; a WorkerInterface"
            " must not keep locks, connections or open files: make them at the first task"
        ) from error


def pickled_middleware(middleware: Sequence[Middleware], worker: WorkerInterface) -> bytes:
    """
    Raises:
        WorkerDefinitionError: One cannot be pickled.
    """
    for each in middleware:
        _pickled_part(each, f"middleware {name_of(each)!r}", worker)
    return pickle.dumps(tuple(middleware)) if middleware else b""


def pickled_resources(resources: Mapping[str, ResourceFactory], worker: WorkerInterface) -> bytes:
    """
    Raises:
        WorkerDefinitionError: What opens one of them cannot be pickled.
    """
    for name, factory in resources.items():
        _pickled_part(factory, f"what opens the resource {name!r}", worker)
    return pickle.dumps(dict(resources)) if resources else b""


def _pickled_part(part: object, shown: str, worker: WorkerInterface) -> None:
    try:
        pickle.dumps(part)
    except Exception as error:
        raise WorkerDefinitionError(
            f"{shown} cannot be sent to the processes of worker {worker.task_definition_name!r}:"
            f" {type(error).__name__}: {error}. Define it at the top level of a module, under the name that it has"
            " there (no lambda, no function inside of another one)"
        ) from error
