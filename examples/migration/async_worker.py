"""An async worker: as many tasks at a time as you like, on one event loop."""

from __future__ import annotations

import asyncio

from conductor_grpc import worker_task


@worker_task("fetch", concurrency=500)
async def fetch(url: str, delay: float = 0.01) -> dict[str, object]:
    await asyncio.sleep(delay)  # in the place of a request
    return {"url": url, "status": 200}
