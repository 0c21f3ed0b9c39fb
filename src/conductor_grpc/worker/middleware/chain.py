"""The middleware of one worker around one task, and who is to blame for what goes wrong."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.middleware.forms import async_form, name_of, plain_form
from conductor_grpc.worker.result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from conductor_grpc.worker.attempt import Attempt
    from conductor_grpc.worker.context import TaskContext
    from conductor_grpc.worker.interface import WorkerInterface
    from conductor_grpc.worker.middleware.forms import AsyncCallNext, CallNext, Middleware


def run_through(
    middleware: Sequence[Middleware], worker: WorkerInterface, context: TaskContext, attempt: Attempt
) -> TaskResult:
    """The result of a plain worker and of what is around it; `middleware` has its outermost first.

    Raises:
        BaseException: What the worker raises, or a middleware, which `attempt` is told then.
    """

    def innermost(context: TaskContext) -> TaskResult:
        return attempt.finished(worker.execute(context.task))

    call: CallNext = innermost
    for each in reversed(middleware):
        form = plain_form(each)
        assert form is not None  # it was checked when the poller was made
        call = _Step(name_of(each), form, call, context, attempt).run
    return call(context)


async def run_through_async(
    middleware: Sequence[Middleware], worker: WorkerInterface, context: TaskContext, attempt: Attempt
) -> TaskResult:
    """As `run_through`, for an async worker."""

    async def innermost(context: TaskContext) -> TaskResult:
        return attempt.finished(await awaitable(worker.execute(context.task)))

    call: AsyncCallNext = innermost
    for each in reversed(middleware):
        form = async_form(each)
        assert form is not None
        call = _Step(name_of(each), form, call, context, attempt).run_async
    return await call(context)


def awaitable(returned: object) -> Awaitable[object]:
    """What an async worker's `execute` returned.

    Raises:
        WorkerDefinitionError: It is no awaitable.
    """
    if not inspect.isawaitable(returned):
        raise WorkerDefinitionError(f"execute returned {returned!r:.80}, expected an awaitable: make it async")
    return returned


class _Step:
    """One middleware, once. The exceptions of what is inside pass through it unchanged, for those outside to catch;
    one that begins here is its own."""

    __slots__ = ("_attempt", "_context", "_form", "_inside", "_name", "_passed", "_state")

    def __init__(
        self, name: str, form: Callable[..., Any], inside: Callable[..., Any], context: TaskContext, attempt: Attempt
    ) -> None:
        self._name = name
        self._form = form
        self._inside = inside
        self._context = context
        self._attempt = attempt
        self._passed: BaseException | None = None  # what came from inside, or says itself whose it is
        self._state = ""  # why `call_next` must not be called any more

    def run(self, context: TaskContext) -> TaskResult:
        try:
            return self._checked(self._form(context, self._next))
        except BaseException as error:
            self._judge(error)
            raise
        finally:
            self._end()

    async def run_async(self, context: TaskContext) -> TaskResult:
        try:
            returned = self._form(context, self._next_async)
            if not inspect.isawaitable(returned):
                return self._checked(returned)
            return self._checked(await returned)
        except BaseException as error:
            self._judge(error)
            raise
        finally:
            self._end()

    def _next(self, context: TaskContext) -> TaskResult:
        self._begin(context)
        try:
            result: TaskResult = self._inside(context)
        except BaseException as error:
            self._passed = error
            raise
        return result

    async def _next_async(self, context: TaskContext) -> TaskResult:
        self._begin(context)
        try:
            inside: Awaitable[TaskResult] = self._inside(context)
            return await inside
        except BaseException as error:
            self._passed = error
            raise

    def _begin(self, context: TaskContext) -> None:
        if self._state:
            raise self._misuse(
                f"called call_next {self._state}: a task runs once; raise an error to have the server try it again, as"
                " its definition says"
            )
        if context is not self._context:
            raise self._misuse(
                f"called call_next with {context!r:.80}, expected the context that it was given: to change what the"
                " worker sees, set context.task"
            )
        self._state = "twice"

    def _checked(self, returned: object) -> TaskResult:
        if isinstance(returned, TaskResult):
            return self._attempt.finished(returned)
        if inspect.iscoroutine(returned):
            returned.close()  # or Python would complain, much later, that it was never awaited
        call = "await call_next(context)" if inspect.iscoroutinefunction(self._inside) else "call_next(context)"
        raise self._misuse(f"returned {returned!r:.80}, expected a TaskResult: end it with `return {call}`")

    def _misuse(self, what: str) -> WorkerDefinitionError:
        self._passed = WorkerDefinitionError(f"middleware {self._name!r} {what}")
        return self._passed

    def _judge(self, error: BaseException) -> None:
        if error is not self._passed:
            self._attempt.blame(self._name, error)

    def _end(self) -> None:
        self._state = "after it had returned"
