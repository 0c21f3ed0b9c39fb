"""A definition beside its worker: made on the server where it has none, never overwritten."""

from __future__ import annotations

from conductor_grpc import TaskDefinition, worker_task


@worker_task(
    "reserve",
    register=True,
    definition=TaskDefinition(
        description="Reserves a seat",
        owner_email="example@example.com",
        retry_count=5,
        retry_logic="EXPONENTIAL_BACKOFF",
        retry_delay_seconds=2,
        response_timeout_seconds=30,
    ),
)
def reserve(seat: str) -> dict[str, str]:
    return {"reserved": seat}
