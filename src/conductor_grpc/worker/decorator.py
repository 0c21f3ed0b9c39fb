"""Functions as workers."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from conductor_grpc.errors import PayloadEncodeError, WorkerDefinitionError
from conductor_grpc.payload.plain import to_plain
from conductor_grpc.worker.in_progress import TaskInProgress
from conductor_grpc.worker.inputs.binding import plan_binding
from conductor_grpc.worker.interface import OPTIONS, WorkerInterface
from conductor_grpc.worker.native import NativePlan, is_native, plan_native
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.status import TaskResultStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from conductor_grpc.worker.definition import TaskDefinition
    from conductor_grpc.worker.executor import Executor
    from conductor_grpc.worker.interface import Returned
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.slots.supplier import SlotSupplier
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
        **options: Any,
    ) -> None:
        """`options` are those of WorkerInterface."""
        # Before anything is checked, for what is said about it names the function.
        functools.update_wrapper(self, function)
        self.__qualname__ = function.__qualname__
        self._plan = plan_native(function) if is_native(function) else plan_binding(function)
        self._function = function
        self.resource_names = () if isinstance(self._plan, NativePlan) else self._plan.resource_parameters
        # The same, for arguments that the plan checks and a type checker cannot.
        self._call: Callable[..., Any] = function
        super().__init__(task_definition_name, **options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<worker {self.task_definition_name!r}: {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return self.__qualname__

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs that the function's parameters take, in their order."""
        return tuple(entry.name for entry in self._plan.entries)

    def execute(self, task: Task) -> Returned | Coroutine[Any, Any, Returned]:
        """Calls the function with the task's inputs and makes a result of what it returns.

        Raises:
            InputError: An input does not fit the function's signature; the function was not called.
            PayloadEncodeError: The returned value has no JSON form.
            BaseException: Whatever the function raises.
        """
        arguments, keywords = self._plan.bind(task)
        return self._result(task, self._call(*arguments, **keywords))

    def _result(self, task: Task, value: object) -> Returned:
        if isinstance(value, (TaskResult, TaskInProgress)):
            return value
        result = self.get_task_result_from_task(task)
        result.output_data = _output(value)
        result.status = TaskResultStatus.COMPLETED
        return result


class AsyncFunctionWorker(FunctionWorker[P, R]):
    """The same for an `async def`. Calling it makes the function's coroutine."""

    async def execute(self, task: Task) -> Returned:
        arguments, keywords = self._plan.bind(task)
        return self._result(task, await self._call(*arguments, **keywords))


class NativeFunctionWorker(FunctionWorker[P, R]):
    """The same for a function of a pybind11 extension, which is found again by its module and name."""

    def execute(self, task: Task) -> Returned:
        arguments, keywords = self._plan.bind(task)
        try:
            value = self._call(*arguments, **keywords)
        except TypeError as error:
            assert isinstance(self._plan, NativePlan)
            mismatch = self._plan.mismatch(error, keywords)
            if mismatch is None:
                raise
            raise mismatch from error
        return self._result(task, value)

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {name: getattr(self, name) for name in OPTIONS}
        return _native_worker, (self.__module__, self._function.__name__, self.task_definition_name, settings)


def _native_worker(
    module: str, name: str, task_definition_name: str, settings: dict[str, Any]
) -> FunctionWorker[Any, Any]:
    importlib.import_module(module)
    return worker_task(task_definition_name, **settings)(getattr(sys.modules[module], name))


def _output(value: object) -> dict[str, object]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if inspect.iscoroutine(value):
        value.close()  # or Python would complain, much later, that it was never awaited
        raise WorkerDefinitionError(
            "the function returned a coroutine, which nobody awaits: make it async def and await what it calls"
        )
    if isinstance(value, (str, int, float, list, tuple)):
        return {"result": value}
    try:
        plain = to_plain(value)
    except PayloadEncodeError as error:
        raise PayloadEncodeError(str(error), "output.result") from error
    return plain if isinstance(plain, dict) else {"result": plain}


def worker_task(
    task_definition_name: str,
    *,
    concurrency: int = 1,
    domain: str | None = None,
    lease: bool = True,
    executor: Executor | None = None,
    cancellation_grace: float = WorkerInterface.cancellation_grace,
    slots: SlotSupplier | None = None,
    middleware: Sequence[Middleware] = (),
    definition: TaskDefinition | None = None,
    register: bool = False,
) -> Callable[[Callable[P, R]], FunctionWorker[P, R]]:
    """Makes a worker of a function: `@worker_task("name")`.

    The task's inputs are bound to the parameters by name and checked against their annotations; a parameter
    annotated `Task` gets the task. A dict or dataclass that the function returns is the output, None an empty
    one, any other value becomes the output `{"result": value}`; a `TaskResult` or `TaskInProgress` is taken as it is.

    A plain function runs in a thread, an `async def` on the event loop of all async workers. A function of a pybind11
    extension, `worker_task("add")(extension.add)`, gets the inputs by the names of its parameters, and the
    extension checks their types.

    One decoration makes one worker, and the function stays as it was. To serve two task types with one
    function, make two workers, each under its own name: `a = worker_task("a")(f)`, `b = worker_task("b")(f)`.
    Stacking the decorator is refused: nothing but the outer worker would have a name.

    Args:
        task_definition_name: The type of the tasks, as the server knows it.
        concurrency: How many tasks run at a time in one poller, each in a thread or process of its own; thousands are
            fine where the function is async. 1 unless asked for more, because only the author of the function
            knows whether it may run twice at once.
        domain: The task domain to poll; None for tasks without one.
        lease: Whether a task that takes longer than its response timeout is kept by extending its lease. False for
            a function that may hang: the server gives its task to another worker then.
        executor: "thread", "async", "process" or "native", see docs/executors.md; None: by the kind of the function.
        cancellation_grace: With "process": seconds that a cancelled task gets to end by itself before its process is
            killed.
        slots: How many tasks may run at this moment, up to `concurrency`, see docs/executors.md; None: that many.
        middleware: What goes around each task, the first is outermost, see docs/middleware.md.
        definition: What the server is to know about this task type, see docs/registration.md.
        register: Whether a poller makes that definition on the server where there is none yet.

    Raises:
        WorkerDefinitionError: At decoration: the name is no name, the function is a generator or a method, its
            signature cannot be filled from named JSON inputs, or the executor cannot run it.
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
        return _class_for(function)(
            function,
            task_definition_name,
            concurrency=concurrency,
            domain=domain,
            lease=lease,
            executor="native" if executor is None and is_native(function) else executor,
            cancellation_grace=cancellation_grace,
            slots=slots,
            middleware=middleware,
            definition=definition,
            register=register,
        )

    return decorate


def _class_for(function: object) -> type[FunctionWorker[Any, Any]]:
    if is_native(function):
        return NativeFunctionWorker
    return AsyncFunctionWorker if inspect.iscoroutinefunction(function) else FunctionWorker


def _check_function(function: object) -> None:
    if isinstance(function, FunctionWorker):
        raise WorkerDefinitionError(
            f"{function!r} is a worker already: for another task type make a second one under its own name,"
            f" other = worker_task('other')({function.__qualname__}.__wrapped__)"
        )
    if is_native(function):
        return
    if not inspect.isfunction(function):
        raise WorkerDefinitionError(
            f"worker_task decorates functions, not {type(function).__name__} {function!r}: wrap it in a def, or"
            " subclass WorkerInterface"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise WorkerDefinitionError(
            f"{function.__qualname__} is a generator, which would run only when somebody iterates it: return a list"
        )
    if next(iter(inspect.signature(function).parameters), "") in ("self", "cls"):
        raise WorkerDefinitionError(
            f"{function.__qualname__} is a method, and nobody would pass its first parameter: decorate a"
            " function, or subclass WorkerInterface"
        )
