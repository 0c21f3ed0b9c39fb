"""What is worth a retry, and what is not."""

from __future__ import annotations

from conductor_grpc import NonRetryableError, current_task, worker_task


@worker_task("charge_card")
def charge_card(amount: float) -> dict[str, object]:
    if amount <= 0:
        raise NonRetryableError(f"cannot charge {amount:g}")  # FAILED_WITH_TERMINAL_ERROR
    if current_task().attempt < 2:
        raise ConnectionError("the bank does not answer")  # FAILED: the server hands it out again
    return {"charged": amount, "key": current_task().idempotency_key}
