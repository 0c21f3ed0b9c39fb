"""Puts definitions on the server and says what that came to."""

from __future__ import annotations

import contextlib
import enum
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from conductor_grpc.clients import MetadataClient
from conductor_grpc.clients.differences import Difference, differences
from conductor_grpc.definitions import task_definition_to_json, workflow_definition_to_json
from conductor_grpc.errors import InvalidRequestError, UnknownServerError
from conductor_grpc.registration.stored import StoredDefinitions, UnreadableDefinitionError
from conductor_grpc.transport.channel import open_channel
from conductor_grpc.transport.rest import open_rest_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef
    from conductor_grpc.pb.model.workflowdef_pb2 import WorkflowDef
    from conductor_grpc.registration.declared import Declared
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient


class Outcome(enum.Enum):
    """What became of a definition."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    """The server has it already, or has one and nothing else was asked for. Nothing was sent."""
    UPDATED = "updated"
    DIFFERS = "differs"
    """The server has another, which was left as it is."""


@dataclass(frozen=True)
class Registration:
    """One definition, and what became of it."""

    outcome: Outcome
    differences: tuple[Difference, ...] = ()
    """Of DIFFERS and UPDATED, where the server's is, or was, another."""
    unreadable: str = ""
    """Why there are none to be shown, if so."""

    def lines(self) -> list[str]:
        """The differences in words, a line each: `retryCount: 5 on the server, 2 here`."""
        return [self.unreadable] if self.unreadable else _lines(self.differences)


class Registrar:
    """Creates definitions that the server does not have; replaces one only if it is told to. A context manager.

    All methods are thread-safe and block. They raise ServerError, and InvalidRequestError for a definition that the
    server does not take.
    """

    def __init__(
        self, configuration: Configuration, *, channel: Channel | None = None, rest: RestClient | None = None
    ) -> None:
        """Connects to nothing yet. Without a `channel` it opens, and closes, one of its own, and so for REST."""
        self._resources = contextlib.ExitStack()
        if channel is None:
            channel = open_channel(configuration)
            self._resources.callback(channel.close)
            rest = open_rest_client(configuration)
            if rest is not None:
                self._resources.callback(rest.close)
        self._client = self._resources.enter_context(MetadataClient(configuration, channel=channel))
        self._stored = StoredDefinitions(configuration, channel, rest, self._client)

    def close(self) -> None:
        """Closes what it has opened."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def register_declared(self, declared: Declared, *, overwrite: bool = False, dry_run: bool = False) -> Registration:
        """`register_task` for what workers declare.

        Workers that declare nothing get a definition of defaults where there is none, and else what there is. And
        parameters that are called otherwise than the inputKeys on the server are no reason to call that different.
        """
        return self._register(
            declared.to_proto(),
            overwrite=overwrite,
            dry_run=dry_run,
            anything_will_do=declared.definition is None,
            any_keys_will_do=declared.keys_derived and not overwrite,
        )

    def register_task(self, task: TaskDef, *, overwrite: bool = False, dry_run: bool = False) -> Registration:
        """Creates the definition if there is none of its name; replaces one that differs if told to `overwrite`.

        With `dry_run` no definition is sent, and the outcome is what it would be. The server cannot create a definition
        only if there is none: of two processes that create different ones within the same milliseconds the later wins,
        and the other mostly gets an InvalidRequestError that shows the difference.
        """
        return self._register(task, overwrite=overwrite, dry_run=dry_run)

    def _register(
        self,
        task: TaskDef,
        *,
        overwrite: bool,
        dry_run: bool,
        anything_will_do: bool = False,
        any_keys_will_do: bool = False,
    ) -> Registration:
        wanted = task_definition_to_json(task)
        differing: list[Difference] = []
        unreadable = ""
        try:
            stored = self._stored.task(task.name)
        except UnreadableDefinitionError as error:
            stored, unreadable = {}, str(error)
        if stored is not None:
            differing = [
                each
                for each in ([] if unreadable else differences(stored, wanted))
                if not (any_keys_will_do and each.path.startswith("$.inputKeys"))
            ]
            if anything_will_do or not (differing or unreadable):
                return Registration(Outcome.UNCHANGED)
            if not overwrite:
                return Registration(Outcome.DIFFERS, tuple(differing), unreadable)
        if not dry_run:
            self._send(task, wanted)
        return Registration(Outcome.CREATED if stored is None else Outcome.UPDATED, tuple(differing), unreadable)

    def register_workflow(
        self, workflow: WorkflowDef, *, overwrite: bool = False, dry_run: bool = False
    ) -> Registration:
        """The same for this version of a workflow. Runs that have started keep the definition they started with."""
        differing: tuple[Difference, ...] = ()
        unreadable = ""
        try:
            stored = self._stored.workflow(workflow.name, workflow.version)
        except UnreadableDefinitionError as error:
            stored, unreadable = {}, str(error)
        if stored is None:
            if not dry_run:
                self._client.register_workflow(workflow)
            return Registration(Outcome.CREATED)
        if not unreadable:
            differing = tuple(differences(stored, workflow_definition_to_json(workflow)))
            if not differing:
                return Registration(Outcome.UNCHANGED)
        if not overwrite:
            return Registration(Outcome.DIFFERS, differing, unreadable)
        if not dry_run:
            self._client.update_workflows([workflow])
        return Registration(Outcome.UPDATED, differing, unreadable)

    def _send(self, task: TaskDef, wanted: dict[str, object]) -> None:
        """Creates or replaces, and looks whether that has come to pass."""
        try:
            self._client.register_task(task)
        except UnknownServerError as error:
            owner = "" if task.owner_email else "; perhaps it demands an owner: owner_email, ownerEmail in JSON"
            raise InvalidRequestError(
                f"the server refuses the definition of task {task.name!r} and does not say why over gRPC{owner}. Its"
                " log tells",
                code=error.code,
                method=error.method,
                details=error.details,
            ) from error
        # On the same connection: behind a balancer, another server may not know of it for a minute.
        stored = self._stored.task_over_grpc(task.name)
        lost = ["nothing of it is there"] if stored is None else _lines(differences(stored, wanted))
        if lost:
            raise InvalidRequestError(
                f"the server answered OK to the definition of task {task.name!r} but has another: {'; '.join(lost)}."
                " Either it is too old to know these settings, or somebody registered another in the same moment",
                code=grpc.StatusCode.OK,
                method="MetadataService/CreateTasks",
            )


def _lines(differing: Iterable[Difference]) -> list[str]:
    return [
        f"{each.path.removeprefix('$.')}: {_shown(each.stored)} on the server, {_shown(each.wanted)} here"
        for each in differing
    ]


def _shown(value: object) -> str:
    return "absent" if value in (None, "") else json.dumps(value, ensure_ascii=False)
