"""What a middleware is, and whether it fits a worker."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.context import TaskContext
from conductor_grpc.worker.executor import executor_of, is_async
from conductor_grpc.worker.result import TaskResult

if TYPE_CHECKING:
    from conductor_grpc.worker.interface import WorkerInterface

CallNext = Callable[[TaskContext], TaskResult]
"""Runs what is inside: the next middleware or, in the end, the worker. Returns its finished result, or raises what it
raises. To be called once at most, with the context that the middleware was given."""

AsyncCallNext = Callable[[TaskContext], Awaitable[TaskResult]]

PlainMiddleware = Callable[[TaskContext, CallNext], TaskResult]
AsyncMiddleware = Callable[[TaskContext, AsyncCallNext], Awaitable[TaskResult]]

Middleware = PlainMiddleware | AsyncMiddleware
"""A callable `(context, call_next)` that returns the task's result. A plain one fits workers that are plain functions,
an async one fits async workers; an object that has a coroutine method `call_async` beside its `__call__` fits both."""


def name_of(middleware: Middleware) -> str:
    """What the reason of a failure calls it."""
    plain: Any = middleware
    while isinstance(plain, functools.partial):
        plain = plain.func
    return str(getattr(plain, "__name__", None) or type(plain).__name__)


def plain_form(middleware: Middleware) -> PlainMiddleware | None:
    """What goes around a plain worker; None if it has no such form."""
    return None if _is_async(middleware) else middleware  # type: ignore[return-value]


def async_form(middleware: Middleware) -> AsyncMiddleware | None:
    """What goes around an async worker; None if it has no such form."""
    if _is_async(middleware):
        return middleware  # type: ignore[return-value]
    form: AsyncMiddleware | None = getattr(middleware, "call_async", None)
    return form


def check_middleware(middleware: Sequence[Middleware], worker: WorkerInterface) -> None:
    """
    Raises:
        WorkerDefinitionError: One is no middleware, or cannot go around this worker.
    """
    name = worker.task_definition_name
    if not isinstance(middleware, Sequence):
        raise WorkerDefinitionError(
            f"worker {name!r} has the middleware {middleware!r}, expected a list: middleware=[{_shown(middleware)}]"
        )
    for each in middleware:
        _check_callable(each, name)
        form: object = async_form(each) if is_async(worker) else plain_form(each)
        if form is None:
            raise WorkerDefinitionError(_misfit(each, worker))


def _check_callable(middleware: object, worker: str) -> None:
    if isinstance(middleware, type):
        raise WorkerDefinitionError(
            f"worker {worker!r} has the class {middleware.__name__} as a middleware: give an instance of it,"
            f" {middleware.__name__}(...)"
        )
    if not callable(middleware):
        raise WorkerDefinitionError(
            f"worker {worker!r} has the middleware {middleware!r}, expected a callable (context, call_next)"
        )
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError:
        raise WorkerDefinitionError(
            f"worker {worker!r} has the middleware {_shown(middleware)}, which cannot be called as"
            f" {_shown(middleware)}(context, call_next): give it those two parameters. If it makes a middleware, call"
            " it"
        ) from None
    except ValueError:  # made of C code that does not tell its parameters
        return


def _misfit(middleware: Middleware, worker: WorkerInterface) -> str:
    called = f"middleware {name_of(middleware)!r}"
    place = f"worker {worker.task_definition_name!r}"
    remedy = (
        "give the poller a middleware that has both forms (a class with a coroutine method call_async beside __call__),"
        " or each worker its own"
    )
    if is_async(worker):
        return (
            f"{called} is a plain function and {place} is async: it would block the event loop of all async workers"
            " while the task runs. Make it async def, with await call_next(context); for workers of both kinds"
            f" {remedy}"
        )
    return (
        f"{called} is async and {place} runs as executor {executor_of(worker)!r}, where there is no event loop: make it"
        f" a plain def; for workers of both kinds {remedy}"
    )


def _is_async(middleware: object) -> bool:
    if inspect.iscoroutinefunction(middleware):
        return True
    return inspect.iscoroutinefunction(getattr(middleware, "__call__", None))  # noqa: B004 - its kind is asked for


def _shown(middleware: object) -> str:
    return str(getattr(middleware, "__name__", repr(middleware)))
