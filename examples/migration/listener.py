"""A listener is a middleware: it sees each task before and after its worker."""

from __future__ import annotations

import collections
import time

from conductor_grpc import CallNext, TaskContext, TaskResult, worker_task


class Audit:
    """Counts what becomes of tasks, and the seconds they take."""

    def __init__(self) -> None:
        self.ended: collections.Counter[str] = collections.Counter()
        self.seconds = 0.0

    def __call__(self, context: TaskContext, call_next: CallNext) -> TaskResult:
        began = time.monotonic()
        try:
            result = call_next(context)
        except Exception as error:
            self.ended[type(error).__name__] += 1
            raise
        finally:
            self.seconds += time.monotonic() - began
        self.ended[str(result.status)] += 1
        return result


audit = Audit()


@worker_task("audited", middleware=[audit])
def audited(number: int) -> float:
    return 1 / number
