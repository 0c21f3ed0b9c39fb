"""What a worker is, what it sees and what it hands back."""

from __future__ import annotations

from conductor_grpc.worker.context import Cancellation, TaskContext, current_task
from conductor_grpc.worker.decorator import FunctionWorker, worker_task
from conductor_grpc.worker.interface import WorkerInterface, check_worker
from conductor_grpc.worker.result import TaskLog, TaskResult
from conductor_grpc.worker.runner import run_to_wire, run_worker
from conductor_grpc.worker.status import TaskResultStatus, TaskStatus
from conductor_grpc.worker.task import Task

__all__ = [
    "Cancellation",
    "FunctionWorker",
    "Task",
    "TaskContext",
    "TaskLog",
    "TaskResult",
    "TaskResultStatus",
    "TaskStatus",
    "WorkerInterface",
    "check_worker",
    "current_task",
    "run_to_wire",
    "run_worker",
    "worker_task",
]
