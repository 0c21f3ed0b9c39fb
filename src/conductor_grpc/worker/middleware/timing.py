"""How long tasks take, told to whom it concerns."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conductor_grpc.errors import WorkerDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.worker.context import TaskContext
    from conductor_grpc.worker.middleware.forms import AsyncCallNext, CallNext
    from conductor_grpc.worker.result import TaskResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Timing:
    report: Callable[[TaskContext, float], object] | None
    slow: float | None

    __name__ = "timing"

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        begun = time.perf_counter()
        try:
            return call_next(context)
        finally:
            self._tell(context, time.perf_counter() - begun)

    async def call_async(self, context: TaskContext, call_next: AsyncCallNext) -> TaskResult:
        begun = time.perf_counter()
        try:
            return await call_next(context)
        finally:
            self._tell(context, time.perf_counter() - begun)

    def _tell(self, context: TaskContext, seconds: float) -> None:
        if self.report is not None:
            try:
                self.report(context, seconds)
            except Exception:  # a result is worth more than how long it took
                logger.exception("the report of timing() failed; the task is not affected")
        task = context.task
        if self.slow is None:
            if self.report is None:
                logger.info("task %s (%s) took %.3f s", task.task_id, task.task_def_name, seconds)
        elif seconds >= self.slow:
            logger.warning(
                "task %s (%s) of workflow %s took %.3f s, which is more than %g s",
                task.task_id,
                task.task_def_name,
                task.workflow_instance_id,
                seconds,
                self.slow,
            )


def timing(report: Callable[[TaskContext, float], object] | None = None, *, slow: float | None = None) -> _Timing:
    """A middleware, for workers of all kinds, that measures what is inside of it.

    Args:
        report: Called with the context and the seconds after each task, whether it failed or not, on the thread that
            ran it. It must not block. What it raises is logged, and the task's result stands.
        slow: Tasks that take at least so many seconds are logged as warnings; None: none is.
            With neither, each task is logged at INFO.

    Raises:
        WorkerDefinitionError: An argument has no usable value.
    """
    if report is not None and not callable(report):
        raise WorkerDefinitionError(f"timing got the report {report!r}, expected a callable (context, seconds)")
    if slow is not None and not _is_seconds(slow):
        raise WorkerDefinitionError(f"timing got slow={slow!r}, expected a number of seconds of at least 0, or None")
    return _Timing(report, slow)


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
