"""The order of middleware, what it sees, and what becomes of its errors: with single calls, without a server."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import pytest

from conductor_grpc import (
    Cancellation,
    Configuration,
    NonRetryableError,
    Task,
    TaskCancelledError,
    TaskContext,
    TaskPoller,
    TaskResult,
    TaskResultStatus,
    WorkerDefinitionError,
    WorkerInterface,
    current_task,
    rate_limit,
    timing,
    worker_task,
)
from conductor_grpc.testing import call_worker
from conductor_grpc.worker import run_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.middleware import AsyncCallNext, AsyncMiddleware, CallNext, PlainMiddleware

COMPLETED = TaskResultStatus.COMPLETED
FAILED = TaskResultStatus.FAILED
TERMINAL = TaskResultStatus.FAILED_WITH_TERMINAL_ERROR
PLACE: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


@worker_task("double")
def double(value: int) -> int:
    return 2 * value


@worker_task("double")
async def double_async(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


@worker_task("broken")
def broken() -> None:
    raise LookupError("no such thing")


@worker_task("broken")
async def broken_async() -> None:
    await asyncio.sleep(0)
    raise LookupError("no such thing")


class Both:
    """Has both forms."""

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        return call_next(context)

    async def call_async(self, context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        return await call_next(context)


def noting(name: str, notes: list[str]) -> PlainMiddleware:
    def note(context: TaskContext, call_next: CallNext) -> TaskResult:
        notes.append(f"{name} before")
        try:
            return call_next(context)
        finally:
            notes.append(f"{name} after")

    return note


def noting_async(name: str, notes: list[str]) -> AsyncMiddleware:
    async def note(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        notes.append(f"{name} before")
        await asyncio.sleep(0)
        try:
            return await call_next(context)
        finally:
            notes.append(f"{name} after")

    return note


@pytest.mark.parametrize(("worker", "make"), [(double, noting), (double_async, noting_async)], ids=["plain", "async"])
@pytest.mark.feature("Middleware")
def test_the_first_is_outermost_and_the_workers_own_are_inside(worker: Any, make: Callable[..., Any]) -> None:
    notes: list[str] = []
    own = worker_task("double", middleware=[make("own", notes)])(worker.__wrapped__)
    result = call_worker(own, {"value": 4}, middleware=[make("first", notes), make("second", notes)])
    assert result.status is COMPLETED
    assert result.output_data == {"result": 8}
    assert notes == [
        "first before",
        "second before",
        "own before",
        "own after",
        "second after",
        "first after",
    ]


def test_a_result_is_finished_when_a_middleware_gets_it_and_may_be_replaced() -> None:
    seen: list[TaskResult] = []

    def replace(context: TaskContext, call_next: CallNext) -> TaskResult:
        result = call_next(context)
        seen.append(result)
        return dataclasses.replace(result, output_data={"result": "another"})

    result = call_worker(double, {"value": 4}, middleware=[replace], task_id="t1")
    assert result.output_data == {"result": "another"}
    assert (seen[0].status, seen[0].output_data, seen[0].task_id) == (COMPLETED, {"result": 8}, "t1")


def test_a_middleware_may_answer_in_the_workers_place() -> None:
    def cached(_: TaskContext, __: CallNext) -> TaskResult:
        return TaskResult(status=COMPLETED, output_data={"from": "the cache"})

    assert call_worker(broken, middleware=[cached]).output_data == {"from": "the cache"}


def test_a_middleware_changes_what_the_worker_sees() -> None:
    def more(context: TaskContext, call_next: CallNext) -> TaskResult:
        assert current_task() is context
        context.task = dataclasses.replace(context.task, input_data={"value": 50})
        return call_next(context)

    assert call_worker(double, {"value": 1}, middleware=[more]).output_data == {"result": 100}


def test_a_context_variable_that_a_middleware_sets_reaches_the_worker() -> None:
    def place(context: TaskContext, call_next: CallNext) -> TaskResult:
        token = PLACE.set("here")
        try:
            return call_next(context)
        finally:
            PLACE.reset(token)

    @worker_task("where")
    def where() -> str:
        return PLACE.get()

    assert call_worker(where, middleware=[place]).output_data == {"result": "here"}


def test_what_a_worker_raises_passes_through_all_and_is_the_reason() -> None:
    seen: list[BaseException] = []

    def look(context: TaskContext, call_next: CallNext) -> TaskResult:
        try:
            return call_next(context)
        except LookupError as error:
            seen.append(error)
            raise

    result = call_worker(broken, middleware=[look, look])
    assert (result.status, result.reason_for_incompletion) == (FAILED, "LookupError: no such thing")
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert "in broken" in result.logs[-1].log


def test_what_an_async_worker_raises_passes_through() -> None:
    async def look(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        return await call_next(context)

    result = call_worker(broken_async, middleware=[look])
    assert (result.status, result.reason_for_incompletion) == (FAILED, "LookupError: no such thing")


def test_a_middleware_may_catch_the_workers_error() -> None:
    def forgive(context: TaskContext, call_next: CallNext) -> TaskResult:
        try:
            return call_next(context)
        except LookupError:
            return TaskResult(status=COMPLETED, output_data={"found": False})

    assert call_worker(broken, middleware=[forgive]).output_data == {"found": False}


def test_a_middleware_that_translates_an_error_is_named_and_the_kind_counts() -> None:
    seen: list[BaseException] = []

    def translate(context: TaskContext, call_next: CallNext) -> TaskResult:
        try:
            return call_next(context)
        except LookupError as error:
            raise NonRetryableError("never") from error

    def look(context: TaskContext, call_next: CallNext) -> TaskResult:
        try:
            return call_next(context)
        except NonRetryableError as error:
            seen.append(error)
            raise

    result = call_worker(broken, middleware=[look, translate])
    assert result.status is TERMINAL
    assert result.reason_for_incompletion == "middleware 'translate' failed: NonRetryableError: never"
    assert "no such thing" in result.logs[-1].log
    assert len(seen) == 1


@pytest.mark.bug("pyzeebe: swallowed middleware errors")
def test_a_middleware_that_fails_fails_the_task_by_its_name() -> None:
    def audit(context: TaskContext, call_next: CallNext) -> TaskResult:
        call_next(context)
        raise ValueError("the audit log is full")

    result = call_worker(double, {"value": 1}, middleware=[audit])
    assert result.status is FAILED
    assert result.reason_for_incompletion == "middleware 'audit' failed: ValueError: the audit log is full"
    assert "in audit" in result.logs[-1].log


@pytest.mark.bug("pyzeebe: swallowed middleware errors")
def test_an_async_middleware_that_fails_fails_the_task_by_its_name() -> None:
    async def audit(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        await call_next(context)
        raise ValueError("full")

    result = call_worker(double_async, {"value": 1}, middleware=[functools.partial(audit)])
    assert (result.status, result.reason_for_incompletion) == (FAILED, "middleware 'audit' failed: ValueError: full")


def test_what_the_worker_has_logged_stays_when_a_middleware_fails() -> None:
    def audit(context: TaskContext, call_next: CallNext) -> TaskResult:
        call_next(context)
        context.add_log("third")
        raise ValueError("full")

    @worker_task("logs")
    def logs() -> TaskResult:
        current_task().add_log("first")
        result = TaskResult(status=COMPLETED)
        result.log("second")
        return result

    result = call_worker(logs, middleware=[audit])
    assert {each.log for each in result.logs[:-1]} == {"first", "second", "third"}


class ForgottenAsync(WorkerInterface):
    """Has a plain `execute` that returns a coroutine."""

    def execute(self, task: Task) -> TaskResult:
        async def work() -> str:
            return task.task_id

        return work()  # type: ignore[return-value]


def test_a_coroutine_that_nobody_awaits_is_told_as_without_middleware() -> None:
    result = call_worker(ForgottenAsync("forgotten"), middleware=[timing()])
    text = "WorkerDefinitionError: execute returned a coroutine, expected a TaskResult: make it `async def execute`"
    assert result.reason_for_incompletion == text


def forgetful(context: TaskContext, call_next: CallNext) -> TaskResult:
    call_next(context)
    return None  # type: ignore[return-value]


def twice(context: TaskContext, call_next: CallNext) -> TaskResult:
    call_next(context)
    return call_next(context)


def other_context(context: TaskContext, call_next: CallNext) -> TaskResult:
    return call_next(TaskContext(context.task))


def other_result(context: TaskContext, call_next: CallNext) -> TaskResult:
    return dataclasses.replace(call_next(context), task_id="another")


def no_status(_: TaskContext, __: CallNext) -> TaskResult:
    return TaskResult()


async def forgetful_async(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
    await call_next(context)
    return None  # type: ignore[return-value]


async def twice_async(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
    await call_next(context)
    return await call_next(context)


async def not_awaited(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
    return call_next(context)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("worker", "middleware", "text"),
    [
        (
            double,
            forgetful,
            "middleware 'forgetful' returned None, expected a TaskResult: end it with `return call_nex",
        ),
        (double, twice, "middleware 'twice' called call_next twice: a task runs once"),
        (double, other_context, "middleware 'other_context' called call_next with TaskContext("),
        (double, other_result, "middleware 'other_result' failed: WorkerDefinitionError: the worker returned the resu"),
        (double, no_status, "middleware 'no_status' failed: WorkerDefinitionError: the result has the status "),
        (double_async, forgetful_async, "middleware 'forgetful_async' returned None, expected a TaskResult: end it wi"),
        (double_async, twice_async, "middleware 'twice_async' called call_next twice"),
        (double_async, not_awaited, "end it with `return await call_next(context)`"),
    ],
)
def test_one_that_is_written_wrongly_is_a_terminal_failure_that_names_it(
    worker: Any, middleware: Any, text: str
) -> None:
    result = call_worker(worker, {"value": 1}, middleware=[timing(lambda *_: None), middleware])
    assert result.status is TERMINAL
    assert text in result.reason_for_incompletion
    assert result.reason_for_incompletion.count("middleware") == 1


def test_call_next_is_of_no_use_after_its_middleware_has_returned() -> None:
    kept: list[CallNext] = []

    def keep(_: TaskContext, call_next: CallNext) -> TaskResult:
        kept.append(call_next)
        return TaskResult(status=COMPLETED)

    def late(context: TaskContext, call_next: CallNext) -> TaskResult:
        call_next(context)
        return kept[0](context)

    result = call_worker(double, {"value": 1}, middleware=[late, keep])
    assert "middleware 'keep' called call_next after it had returned" in result.reason_for_incompletion


def test_a_cancellation_passes_untouched() -> None:
    seen: list[BaseException] = []

    def look(context: TaskContext, call_next: CallNext) -> TaskResult:
        try:
            return call_next(context)
        except TaskCancelledError as error:
            seen.append(error)
            raise

    @worker_task("stop")
    def stop() -> None:
        current_task().cancelled.raise_if_set()

    with pytest.raises(TaskCancelledError, match="of no use"):
        call_worker(stop, middleware=[look, look], cancelled="of no use")
    assert len(seen) == 2


def test_a_cancellation_of_an_async_worker_passes_untouched() -> None:
    seen: list[BaseException] = []
    cancellation = Cancellation()

    async def look(context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        try:
            return await call_next(context)
        except asyncio.CancelledError as error:
            seen.append(error)
            raise

    @worker_task("stop")
    async def stop() -> None:
        cancellation.set("of no use")
        await asyncio.sleep(60)

    with pytest.raises(TaskCancelledError, match="of no use"):
        call_worker(stop, middleware=[look], cancelled=cancellation)
    assert len(seen) == 1


def test_a_middleware_that_says_cancelled_where_nobody_cancelled_fails_by_its_name() -> None:
    def wrong(_: TaskContext, __: CallNext) -> TaskResult:
        raise TaskCancelledError

    result = call_worker(double, {"value": 1}, middleware=[wrong])
    assert result.reason_for_incompletion.startswith("middleware 'wrong' failed: TaskCancelledError")


def test_what_a_middleware_has_logged_is_sent() -> None:
    def tell(context: TaskContext, call_next: CallNext) -> TaskResult:
        context.add_log("before")
        return call_next(context)

    assert [each.log for each in call_worker(double, {"value": 1}, middleware=[tell]).logs] == ["before"]


def test_a_class_has_middleware_and_run_worker_runs_it() -> None:
    notes: list[str] = []

    class Worker(WorkerInterface):
        middleware = (noting("own", notes),)

        def execute(self, task: Task) -> TaskResult:
            result = self.get_task_result_from_task(task)
            result.status = COMPLETED
            return result

    class AsyncWorker(WorkerInterface):
        middleware = (noting_async("async", notes),)

        async def execute(self, task: Task) -> TaskResult:
            result = self.get_task_result_from_task(task)
            result.status = COMPLETED
            return result

    task = Task(task_id="t", workflow_instance_id="w")
    assert run_worker(Worker("a"), task, "me").status is COMPLETED
    assert run_worker(AsyncWorker("a"), task, "me").status is COMPLETED
    assert notes == ["own before", "own after", "async before", "async after"]


def test_a_worker_that_returns_nothing_is_not_blamed_on_the_middleware() -> None:
    class Worker(WorkerInterface):
        def execute(self, _: Task) -> TaskResult:
            return None  # type: ignore[return-value]

    result = call_worker(Worker("a"), middleware=[noting("it", [])])
    assert result.reason_for_incompletion.startswith("WorkerDefinitionError: execute returned None")


@worker_task("process", executor="process")
def in_process() -> None:
    """Nothing."""


def one_parameter(_: TaskContext) -> TaskResult:
    raise AssertionError


@pytest.mark.parametrize(
    ("worker", "middleware", "text"),
    [
        (double, twice, "expected a list: middleware=[twice]"),
        (double, [3], "worker 'double' has the middleware 3, expected a callable (context, call_next)"),
        (double, [one_parameter], "cannot be called as one_parameter(context, call_next)"),
        (
            double,
            [rate_limit],
            "be called as rate_limit(context, call_next): give it those two parameters. If it makes a",
        ),
        (double, [Both], "give an instance of it, Both(...)"),
        (double, [forgetful_async], "'forgetful_async' is async and worker 'double' runs as executor 'thread'"),
        (in_process, [forgetful_async], "runs as executor 'process', where there is no event loop"),
        (double_async, [twice], "middleware 'twice' is a plain function and worker 'double' is async: it would block"),
        (in_process, [lambda context, call_next: call_next(context)], "'<lambda>' cannot be sent to the processes of"),
        (in_process, [timing(lambda *_: None)], "middleware 'timing' cannot be sent to the processes of worker 'proce"),
    ],
)
def test_middleware_that_does_not_fit_is_refused_when_the_poller_is_made(
    worker: Any, middleware: Any, text: str
) -> None:
    with pytest.raises(WorkerDefinitionError) as raised:
        TaskPoller([worker], Configuration(""), middleware=middleware)
    assert text in str(raised.value)


@pytest.mark.feature("Middleware")
def test_one_with_both_forms_goes_around_workers_of_both_kinds() -> None:
    for worker in (double, double_async):
        assert call_worker(worker, {"value": 1}, middleware=[Both()]).output_data == {"result": 2}


def test_a_workers_own_middleware_is_refused_where_it_is_declared() -> None:
    with pytest.raises(WorkerDefinitionError, match="make it a plain def"):
        worker_task("a", middleware=[forgetful_async])(double.__wrapped__)  # type: ignore[attr-defined]
