"""What a worker is, what it sees and what it hands back."""

from __future__ import annotations

from conductor_grpc.worker.context import Cancellation, TaskContext, current_task
from conductor_grpc.worker.decorator import FunctionWorker, worker_task
from conductor_grpc.worker.in_progress import TaskInProgress
from conductor_grpc.worker.interface import WorkerInterface, check_worker
from conductor_grpc.worker.log_filter import TaskLogFilter
from conductor_grpc.worker.middleware import AsyncCallNext, CallNext, Middleware, rate_limit, timing
from conductor_grpc.worker.resources import Resource
from conductor_grpc.worker.result import TaskLog, TaskResult
from conductor_grpc.worker.runner import run_to_wire, run_worker
from conductor_grpc.worker.status import TaskResultStatus, TaskStatus
from conductor_grpc.worker.task import Task

__all__ = [
    "AsyncCallNext",
    "CallNext",
    "Cancellation",
    "FunctionWorker",
    "Middleware",
    "Resource",
    "Task",
    "TaskContext",
    "TaskInProgress",
    "TaskLog",
    "TaskLogFilter",
    "TaskResult",
    "TaskResultStatus",
    "TaskStatus",
    "WorkerInterface",
    "check_worker",
    "current_task",
    "rate_limit",
    "run_to_wire",
    "run_worker",
    "timing",
    "worker_task",
]
