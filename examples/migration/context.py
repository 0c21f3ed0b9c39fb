"""What a running task may ask: log lines, progress, and whether anybody still waits for it."""

from __future__ import annotations

from conductor_grpc import current_task, worker_task


@worker_task("import_pages")
def import_pages(pages: list[str]) -> dict[str, int]:
    context = current_task()
    for done, page in enumerate(pages, 1):
        context.cancelled.raise_if_set()
        context.add_log(f"{page} imported")
        context.progress({"done": done})
    return {"pages": len(pages)}
