"""What a worker is to the poller."""

from __future__ import annotations

import abc
import inspect
from typing import TYPE_CHECKING, Any

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.result import TaskResult

if TYPE_CHECKING:
    from conductor_grpc.worker.task import Task


class WorkerInterface(abc.ABC):
    """Runs the tasks of one type. Subclass it and implement `execute`.

    `concurrency`, `domain` and `lease` may be set as class attributes of the subclass or given to the constructor,
    which wins. With a concurrency above 1, `execute` of the same instance is called from several threads at
    once.
    """

    concurrency: int = 1
    """How many tasks of this type run at a time in one process. 1 unless asked for more, because only the
    author of `execute` knows whether it may run twice at once."""

    domain: str | None = None
    """The task domain to poll; None for tasks without one."""

    lease: bool = True
    """Whether a task that takes longer than its response timeout is kept by extending its lease. False: the server
    gives it to another worker then, as for a worker that might hang."""

    def __init__(
        self,
        task_definition_name: str,
        *,
        concurrency: int | None = None,
        domain: str | None = None,
        lease: bool | None = None,
    ) -> None:
        """
        Args:
            task_definition_name: The type of the tasks, as the server knows it.
            concurrency: At least 1; None for the class attribute.
            domain: None for the class attribute.
            lease: None for the class attribute.

        Raises:
            WorkerDefinitionError: An argument, or the class attribute in its place, has no usable value.
        """
        self.task_definition_name = task_definition_name
        if concurrency is not None:
            self.concurrency = concurrency
        if domain is not None:
            self.domain = domain
        if lease is not None:
            self.lease = lease
        check_worker(self)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.iscoroutinefunction(cls.execute) or inspect.isasyncgenfunction(cls.execute):
            raise WorkerDefinitionError(
                f"{cls.__qualname__}.execute is async, and workers run in threads: make it a plain def (call"
                " asyncio.run inside where a library needs it)"
            )

    @abc.abstractmethod
    def execute(self, task: Task) -> TaskResult:
        """Runs one task and returns its result, normally made by `get_task_result_from_task`.

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
    lease: object = worker.lease
    if not isinstance(lease, bool):
        raise WorkerDefinitionError(f"worker {name!r} has lease {lease!r}, expected True or False")
    return worker


def _remedy(worker: object) -> str:
    if isinstance(worker, type) and issubclass(worker, WorkerInterface):
        return f"give an instance, {worker.__name__}('task_definition_name')"
    if callable(worker):
        return "decorate the function with @worker_task('task_definition_name')"
    return "expected an instance of WorkerInterface or a function decorated with @worker_task"
