"""What workers share and need for as long as their process lives: a database pool, a model, a session."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args, get_origin

from conductor_grpc.errors import ResourceError, WorkerDefinitionError
from conductor_grpc.worker.executor import executor_of, is_async

if TYPE_CHECKING:
    from conductor_grpc.worker.interface import WorkerInterface

logger = logging.getLogger(__name__)

T = TypeVar("T")

Manager = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]

ResourceFactory = (
    Callable[[], AbstractContextManager[Any]]
    | Callable[[], AbstractAsyncContextManager[Any]]
    | Callable[[], Iterator[Any]]
    | Callable[[], AsyncIterator[Any]]
)
"""Opens a resource: a function without parameters that returns a context manager (such as a class that is one), or a
generator function that yields the resource once. Either may be async."""


class _Marker:
    def __repr__(self) -> str:
        return "Resource"


_MARKER: Final = _Marker()

Resource = Annotated[T, _MARKER]
"""Annotates the parameter of a worker that takes the resource of its name: `pool: Resource[Pool]`. To a type checker it
is a Pool."""


def is_resource(annotation: object) -> bool:
    """Whether a parameter with this annotation takes a resource."""
    return get_origin(annotation) is Annotated and _MARKER in get_args(annotation)[1:]


class ResourceMap(dict[str, Any]):
    """The resources that are open, by name. Asking for one that is not there is an error that says what to do."""

    absent: Mapping[str, str] = {}
    """Why one that was given is not there."""

    def __missing__(self, name: str) -> Any:
        if name in self.absent:
            raise WorkerDefinitionError(f"there is no resource {name!r} here: {self.absent[name]}")
        raise WorkerDefinitionError(_unknown(f"there is no resource {name!r}", name, self))


def check_resources(resources: Mapping[str, ResourceFactory], workers: Sequence[WorkerInterface]) -> None:
    """
    Raises:
        WorkerDefinitionError: One cannot be opened, or a worker names one that it cannot have.
    """
    if not isinstance(resources, Mapping):
        raise WorkerDefinitionError(f"resources is {resources!r:.80}, expected a dict, {{'pool': open_pool}}")
    for name, factory in resources.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise WorkerDefinitionError(
                f"a resource is named {name!r}, expected the name that a worker's parameter can have"
            )
        if not callable(factory):
            raise WorkerDefinitionError(
                f"resource {name!r} is {factory!r:.80}, expected a function that opens it and returns a context"
                " manager, or a generator function that yields it: each process opens its own"
            )
    for worker in workers:
        if isinstance(worker.resource_names, str):
            raise WorkerDefinitionError(
                f"worker {worker.task_definition_name!r} has resource_names {worker.resource_names!r}, expected a list:"
                f" ({worker.resource_names!r},)"
            )
        for name in worker.resource_names:
            _check_named(name, worker, resources)


def _check_named(name: str, worker: WorkerInterface, resources: Mapping[str, ResourceFactory]) -> None:
    place = f"worker {worker.task_definition_name!r}"
    if name not in resources:
        raise WorkerDefinitionError(_unknown(f"{place} needs the resource {name!r}", name, resources))
    if _is_async(resources[name]) and not is_async(worker):
        raise WorkerDefinitionError(
            f"{place} runs as executor {executor_of(worker)!r} and needs the resource {name!r}, which is async and"
            " lives on the event loop of the async workers: make the worker async def, or open a resource of another"
            " name for it that is not async"
        )


def _unknown(problem: str, name: str, known: Mapping[str, Any]) -> str:
    names = ", ".join(map(repr, known)) or "none at all"
    return f"{problem}, and there is {names}: give it to the poller, resources={{{name!r}: ...}}"


def _is_async(factory: object) -> bool:
    """Whether what it makes is known to be async, before it is made."""
    if isinstance(factory, type):
        return hasattr(factory, "__aenter__")
    # asynccontextmanager leaves the function that it wraps to be found.
    return inspect.isasyncgenfunction(factory) or inspect.isasyncgenfunction(getattr(factory, "__wrapped__", None))


def manager_of(factory: ResourceFactory) -> Manager:
    """The context manager of a resource, not entered yet; an async one if it is both, since then the other form is
    mostly there to say so.

    Raises:
        BaseException: What the factory raises; TypeError if it makes no context manager.
    """
    if inspect.isgeneratorfunction(factory):
        return contextlib.contextmanager(factory)()
    if inspect.isasyncgenfunction(factory):
        return contextlib.asynccontextmanager(factory)()
    made: object = factory()
    if hasattr(type(made), "__aenter__") or hasattr(type(made), "__enter__"):
        return made  # type: ignore[return-value]
    if inspect.iscoroutine(made):
        made.close()  # or Python would complain, much later, that it was never awaited
    raise TypeError(
        f"it is made by a function that returned {made!r:.80}, expected a context manager: let the function yield the"
        " resource (def with yield, or async def with yield) and close it after that"
    )


class ResourceStack:
    """Opens resources in their order and closes them in the reverse one, all on the thread that calls."""

    def __init__(
        self, hold: Callable[[Callable[[], AbstractAsyncContextManager[Any]]], tuple[Any, Callable[[], None]]] | None
    ) -> None:
        """`hold` makes an async one and enters it where its event loop is, and returns the resource and what exits from
        it; None: there is no loop, and those are left out."""
        self.values = ResourceMap()
        self.busy_with = ""
        """The one that is being opened or closed."""
        self._hold = hold
        self._open: list[tuple[str, Callable[[], object]]] = []

    def open(self, factories: Mapping[str, ResourceFactory], of_no_use: Callable[[], bool] = lambda: False) -> None:
        """Blocks while they are opened, or until, between two of them, `of_no_use` is true.

        Raises:
            ResourceError: Not all are open; those that are remain so until `close`.
        """
        for name, factory in factories.items():
            if of_no_use():
                raise ResourceError(f"the poller was stopped before resource {name!r} was opened")
            self.busy_with = name
            try:
                self._open_one(name, factory)
            except BaseException as error:
                raise ResourceError(
                    f"resource {name!r} could not be opened: {type(error).__name__}: {error}"
                ) from error

    def close(self) -> list[str]:
        """Blocks while they are closed. What fails is logged and does not keep the others from being closed; returns
        it in words."""
        errors = []
        while self._open:
            name, leave = self._open.pop()
            self.busy_with = name
            try:
                leave()
            except BaseException as error:
                logger.exception("resource %r could not be closed", name)
                errors.append(f"resource {name!r} could not be closed: {type(error).__name__}: {error}")
        return errors

    def _open_one(self, name: str, factory: ResourceFactory) -> None:
        make: Callable[[], Any] = functools.partial(manager_of, factory)
        if not _is_async(factory):
            manager = make()
            if not hasattr(type(manager), "__aenter__"):
                self._keep(name, manager.__enter__(), lambda: manager.__exit__(None, None, None))
                return
            make = lambda: manager  # noqa: E731 - it is made already
        if self._hold is None:
            absent = "it is async, and the process of a slot has no event loop for it"
            self.values.absent = {**self.values.absent, name: absent}
            return
        self._keep(name, *self._hold(make))

    def _keep(self, name: str, value: object, leave: Callable[[], object]) -> None:
        self.values[name] = value
        self._open.append((name, leave))
