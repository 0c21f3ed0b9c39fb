"""What workers say about the definitions of their tasks."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conductor_grpc.definitions import task_definition_to_proto
from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.decorator import FunctionWorker
from conductor_grpc.worker.definition import TaskDefinition
from conductor_grpc.worker.environment import DeployedWorker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.worker.interface import WorkerInterface


@dataclass(frozen=True)
class Declared:
    """The task definition that the workers of one type declare together."""

    name: str
    definition: TaskDefinition | None
    """None: they serve the task whatever its definition is, and none of theirs is to replace the server's."""
    input_keys: tuple[str, ...]
    """The parameters of the workers that are functions, for a definition that names no keys."""
    register: bool
    """Whether one of them asks to be registered when it starts."""
    module: str | None
    """Where `conductor-grpc apply --from` finds them; None where that cannot be told."""

    @property
    def keys_derived(self) -> bool:
        """Whether the input keys are the parameters' names, and not something that somebody has said."""
        return self.definition is None or self.definition.input_keys is None

    def to_proto(self) -> TaskDef:
        """The message to register."""
        document = (self.definition or TaskDefinition()).to_json(self.name, self.input_keys)
        return task_definition_to_proto(document, self.name)


def declared_by(workers: Iterable[WorkerInterface]) -> list[Declared]:
    """What the workers declare, one for each task type, in their order.

    Raises:
        WorkerDefinitionError: Two workers of one type have definitions that differ.
    """
    by_name: dict[str, list[WorkerInterface]] = {}
    for worker in workers:
        by_name.setdefault(worker.task_definition_name, []).append(worker)
    return [_together(name, group) for name, group in by_name.items()]


def _difference(one: TaskDefinition, other: TaskDefinition) -> str:
    """The settings that are not the same, as in `retry_count 1 and 2`."""
    pairs = [(field.name, getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)]
    return ", ".join(f"{name} {mine!r} and {theirs!r}" for name, mine, theirs in pairs if mine != theirs)


def _together(name: str, workers: list[WorkerInterface]) -> Declared:
    definitions = [worker.definition for worker in workers if worker.definition is not None]
    for other in definitions[1:]:
        if other != definitions[0]:
            raise WorkerDefinitionError(
                f"two workers of {name!r} have definitions that differ, and the server keeps one:"
                f" {_difference(definitions[0], other)}. Give it to one of them, or the same to both"
            )
    themselves = [worker.worker if isinstance(worker, DeployedWorker) else worker for worker in workers]
    functions = [worker for worker in themselves if isinstance(worker, FunctionWorker)]
    return Declared(
        name,
        definitions[0] if definitions else None,
        tuple(dict.fromkeys(key for worker in functions for key in worker.input_names)),
        register=any(worker.register for worker in workers),
        module=_place_of(functions[0]) if functions else None,
    )


def _place_of(worker: FunctionWorker[..., object]) -> str | None:
    """The module to be named to `--from`: of a script, whose name is that only for now, the file."""
    if worker.__module__ not in ("__main__", "__mp_main__"):
        return worker.__module__
    return getattr(sys.modules.get(worker.__module__), "__file__", None)
