"""What goes around workers: plain callables, the first of a list outermost."""

from conductor_grpc.worker.middleware.chain import run_through, run_through_async
from conductor_grpc.worker.middleware.forms import (
    AsyncCallNext,
    AsyncMiddleware,
    CallNext,
    Middleware,
    PlainMiddleware,
    check_middleware,
    name_of,
)
from conductor_grpc.worker.middleware.rate_limit import RateLimit, rate_limit
from conductor_grpc.worker.middleware.timing import timing

__all__ = [
    "AsyncCallNext",
    "AsyncMiddleware",
    "CallNext",
    "Middleware",
    "PlainMiddleware",
    "RateLimit",
    "check_middleware",
    "name_of",
    "rate_limit",
    "run_through",
    "run_through_async",
    "timing",
]
