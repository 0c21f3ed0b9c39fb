"""What a worker is to the poller."""

from __future__ import annotations

import abc
import inspect
import math
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.executor import check_executor
from conductor_grpc.worker.middleware import check_middleware
from conductor_grpc.worker.result import TaskResult
from conductor_grpc.worker.slots.supplier import check_slots

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from conductor_grpc.worker.definition import TaskDefinition
    from conductor_grpc.worker.executor import Executor
    from conductor_grpc.worker.in_progress import TaskInProgress
    from conductor_grpc.worker.middleware import Middleware
    from conductor_grpc.worker.slots.supplier import SlotSupplier
    from conductor_grpc.worker.task import Task

    Returned = TaskResult | TaskInProgress
    """What a worker hands back."""

OPTIONS: Final = (
    "concurrency",
    "domain",
    "lease",
    "executor",
    "cancellation_grace",
    "slots",
    "middleware",
    "definition",
    "register",
)
"""The keyword arguments of a worker, each an attribute of the same name."""


class WorkerInterface(abc.ABC):
    """Runs the tasks of one type. Subclass it and implement `execute`.

    What is declared below may be set as class attributes of the subclass or given to the constructor, which wins.
    With a concurrency above 1, `execute` of the same instance is called from several threads at once; an `async def
    execute` from one event loop; with `executor="process"` there is a copy of the instance in each process.
    """

    concurrency: int = 1
    """How many tasks of this type run at a time in one process. 1 unless asked for more, because only the
    author of `execute` knows whether it may run twice at once."""

    domain: str | None = None
    """The task domain to poll; None for tasks without one."""

    lease: bool = True
    """Whether a task that takes longer than its response timeout is kept by extending its lease. False: the server
    gives it to another worker then, as for a worker that might hang."""

    executor: Executor | None = None
    """What runs `execute`, see docs/executors.md: "thread", "async" (one event loop), "process" (a process for each
    slot: for what is busy with Python code, or may crash) or "native" (threads, for code that lets go of the
    interpreter's lock). None: "async" for an `async def execute`, else "thread"."""

    cancellation_grace: float = 10.0
    """With `executor="process"`: seconds that a cancelled task gets to end by itself before its process is killed."""

    slots: SlotSupplier | None = None
    """How many tasks may run at this moment, see docs/executors.md; None: `concurrency` many. That is the most there
    can be in any case."""

    middleware: Sequence[Middleware] = ()
    """What goes around each task of this worker, the first is outermost; the poller's own goes around it. See
    docs/middleware.md."""

    resource_names: Sequence[str] = ()
    """The poller's resources that it asks for with `current_task().resources[name]`: a poller that has not all of them
    is not made. Those of a function are known by its parameters, `pool: Resource[Pool]`."""

    definition: TaskDefinition | None = None
    """What the server is to know about this task type, see docs/registration.md."""

    register: bool = False
    """Whether a poller makes the task definition on the server where it is not there yet: `definition`, or one of
    defaults. One that is there is never changed."""

    def __init__(
        self,
        task_definition_name: str,
        *,
        concurrency: int | None = None,
        domain: str | None = None,
        lease: bool | None = None,
        executor: Executor | None = None,
        cancellation_grace: float | None = None,
        slots: SlotSupplier | None = None,
        middleware: Sequence[Middleware] | None = None,
        definition: TaskDefinition | None = None,
        register: bool | None = None,
    ) -> None:
        """
        Args:
            task_definition_name: The type of the tasks, as the server knows it.
            concurrency: At least 1; None for the class attribute, as for all that follow.
            domain: See above, as for all that follow.
            lease: -
            executor: -
            cancellation_grace: At least 0.
            slots: -
            middleware: -
            definition: -
            register: -

        Raises:
            WorkerDefinitionError: An argument, or the class attribute in its place, has no usable value.
        """
        self.task_definition_name = task_definition_name
        given = {
            "concurrency": concurrency,
            "domain": domain,
            "lease": lease,
            "executor": executor,
            "cancellation_grace": cancellation_grace,
            "slots": slots,
            "middleware": middleware,
            "definition": definition,
            "register": register,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        check_worker(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.isasyncgenfunction(cls.execute) or inspect.isgeneratorfunction(cls.execute):
            raise WorkerDefinitionError(
                f"{cls.__qualname__}.execute is a generator, which would run only when somebody iterates it: return a"
                " TaskResult"
            )

    @abc.abstractmethod
    def execute(self, task: Task) -> Returned | Coroutine[Any, Any, Returned]:
        """Runs one task and returns its result, normally made by `get_task_result_from_task`, or a TaskInProgress. May
        be `async def`.

        Whatever it raises becomes a FAILED result, which the server retries as the task definition says;
        `NonRetryableError` a FAILED_WITH_TERMINAL_ERROR one.
        """

    def get_task_result_from_task(self, task: Task) -> TaskResult:
        """An empty result for `task`, with its ids; the status is still to be set."""
        return TaskResult(
            workflow_instance_id=task.workflow_instance_id, task_id=task.task_id, worker_id=task.worker_id
        )


def check_worker(worker: object) -> WorkerInterface:
    """`worker` itself, if the poller can run it.

    Raises:
        WorkerDefinitionError: It is no worker, or one of its attributes has no usable value. Subclasses can
            set attributes as they like, or forget `super().__init__`, so this is asked again when polling
            begins.
    """
    if not isinstance(worker, WorkerInterface):
        raise WorkerDefinitionError(f"{worker!r} is not a worker: {_remedy(worker)}")
    owner = type(worker).__qualname__
    name = getattr(worker, "task_definition_name", None)
    if not isinstance(name, str) or not name.strip():
        raise WorkerDefinitionError(
            f"{owner} has the task definition name {name!r}, expected a non-empty string: call"
            " super().__init__(task_definition_name) first"
        )
    concurrency: object = worker.concurrency
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise WorkerDefinitionError(
            f"worker {name!r} has concurrency {concurrency!r}, expected a whole number of at least 1"
        )
    domain: object = worker.domain
    if domain is not None and (not isinstance(domain, str) or not domain.strip()):
        raise WorkerDefinitionError(f"worker {name!r} has domain {domain!r}, expected a non-empty string, or None")
    for option in ("lease", "register"):
        flag: object = getattr(worker, option)
        if not isinstance(flag, bool):
            raise WorkerDefinitionError(f"worker {name!r} has {option} {flag!r}, expected True or False")
    grace: object = worker.cancellation_grace
    if not isinstance(grace, (int, float)) or isinstance(grace, bool) or not 0 <= grace < math.inf:
        raise WorkerDefinitionError(
            f"worker {name!r} has cancellation_grace {grace!r}, expected a number of seconds of at least 0"
        )
    check_executor(worker)
    check_slots(worker)
    check_middleware(worker.middleware, worker)
    _check_definition(worker)
    return worker


def _check_definition(worker: WorkerInterface) -> None:
    if worker.definition is None:
        return
    from conductor_grpc.worker.definition import TaskDefinition  # loads protobuf, which the process of a slot can spare

    if not isinstance(worker.definition, TaskDefinition):
        raise WorkerDefinitionError(
            f"worker {worker.task_definition_name!r} has definition {worker.definition!r:.80}, expected a"
            " TaskDefinition(...), or None"
        )


def _remedy(worker: object) -> str:
    if isinstance(worker, type) and issubclass(worker, WorkerInterface):
        return f"give an instance, {worker.__name__}('task_definition_name')"
    if callable(worker):
        return "decorate the function with @worker_task('task_definition_name')"
    return "expected an instance of WorkerInterface or a function decorated with @worker_task"
