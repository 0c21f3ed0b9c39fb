"""Plain functions as workers."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from conductor_grpc.errors import PayloadEncodeError, WorkerDefinitionError
from conductor_grpc.payload.plain import to_plain
from conductor_grpc.worker.binding import plan_binding
from conductor_grpc.worker.interface import WorkerInterface
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class FunctionWorker(WorkerInterface, Generic[P, R]):
    """A function that is a worker; what `worker_task` returns. Calling it calls the function.

    Pickles by reference, as functions do: under its module and name, where it must be found again.
    """

    def __init__(
        self,
        function: Callable[P, R],
        task_definition_name: str,
        *,
        concurrency: int,
        domain: str | None,
        lease: bool,
    ) -> None:
        super().__init__(task_definition_name, concurrency=concurrency, domain=domain, lease=lease)
        self._plan = plan_binding(function)
        self._function = function
        # The same, for arguments that the plan checks and a type checker cannot.
        self._call: Callable[..., object] = function
        functools.update_wrapper(self, function)
        self.__qualname__ = function.__qualname__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<worker {self.task_definition_name!r}: {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def execute(self, task: Task) -> TaskResult:
        """Calls the function with the task's inputs and makes a result of what it returns.

        Raises:
            InputError: An input does not fit the function's signature; the function was not called.
            PayloadEncodeError: The returned value has no JSON form.
            BaseException: Whatever the function raises.
        """
        arguments, keywords = self._plan.bind(task)
        value = self._call(*arguments, **keywords)
        if isinstance(value, TaskResult):
            return value
        result = self.get_task_result_from_task(task)
        result.output_data = _output(value)
        result.status = TaskResultStatus.COMPLETED
        return result


def _output(value: object) -> dict[str, object]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if inspect.iscoroutine(value):
        value.close()  # or Python would complain, much later, that it was never awaited
        raise WorkerDefinitionError(
            "the function returned a coroutine, and workers run in threads: return what it computes"
        )
    if isinstance(value, (str, int, float, list, tuple)):
        return {"result": value}
    try:
        plain = to_plain(value)
    except PayloadEncodeError as error:
        raise PayloadEncodeError(str(error), "output.result") from error
    return plain if isinstance(plain, dict) else {"result": plain}


def worker_task(
    task_definition_name: str, *, concurrency: int = 1, domain: str | None = None, lease: bool = True
) -> Callable[[Callable[P, R]], FunctionWorker[P, R]]:
    """Makes a worker of a plain function: `@worker_task("name")`.

    The task's inputs are bound to the parameters by name and checked against their annotations; a parameter
    annotated `Task` gets the task. A dict or dataclass that the function returns is the output, None an empty
    one, any other value becomes the output `{"result": value}`; a `TaskResult` is taken as it is.

    One decoration makes one worker, and the function stays as it was. To serve two task types with one
    function, make two workers, each under its own name: `a = worker_task("a")(f)`, `b = worker_task("b")(f)`.
    Stacking the decorator is refused: nothing but the outer worker would have a name.

    Args:
        task_definition_name: The type of the tasks, as the server knows it.
        concurrency: How many tasks run at a time in one process, each in its own thread. 1 unless asked for
            more, because only the author of the function knows whether it may run twice at once.
        domain: The task domain to poll; None for tasks without one.
        lease: Whether a task that takes longer than its response timeout is kept by extending its lease. False for
            a function that may hang: the server gives its task to another worker then.

    Raises:
        WorkerDefinitionError: At decoration: the name is no name, the function is async or a generator or a
            method, or its signature cannot be filled from named JSON inputs.
    """
    # Checked here, not in FunctionWorker, for the traceback to end at the line with the "@".
    if callable(task_definition_name):
        raise WorkerDefinitionError(
            'worker_task needs the name of the task definition: write @worker_task("name"), not @worker_task'
        )
    if not isinstance(task_definition_name, str) or not task_definition_name.strip():
        raise WorkerDefinitionError(
            f"worker_task got {task_definition_name!r}, expected the name of the task definition, a non-empty string:"
            ' @worker_task("name")'
        )

    def decorate(function: Callable[P, R]) -> FunctionWorker[P, R]:
        _check_function(function)
        return FunctionWorker(function, task_definition_name, concurrency=concurrency, domain=domain, lease=lease)

    return decorate


def _check_function(function: object) -> None:
    if isinstance(function, FunctionWorker):
        raise WorkerDefinitionError(
            f"{function!r} is a worker already: for another task type make a second one under its own name,"
            f" other = worker_task('other')({function.__qualname__}.__wrapped__)"
        )
    if not inspect.isfunction(function):
        raise WorkerDefinitionError(
            f"worker_task decorates plain functions, not {type(function).__name__} {function!r}: wrap it in"
            " a def, or subclass WorkerInterface"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise WorkerDefinitionError(
            f"{function.__qualname__} is async, and workers run in threads: make it a plain def (call"
            " asyncio.run inside where a library needs it)"
        )
    if inspect.isgeneratorfunction(function):
        raise WorkerDefinitionError(
            f"{function.__qualname__} is a generator, which would run only when somebody iterates it: return a list"
        )
    if next(iter(inspect.signature(function).parameters), "") in ("self", "cls"):
        raise WorkerDefinitionError(
            f"{function.__qualname__} is a method, and nobody would pass its first parameter: decorate a"
            " function, or subclass WorkerInterface"
        )
