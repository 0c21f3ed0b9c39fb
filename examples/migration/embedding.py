"""Workers inside a program that does something else: a web application, a notebook, a test."""

from __future__ import annotations

from conductor_grpc import Configuration, TaskPoller, worker_task


@worker_task("resize", concurrency=4)
def resize(image: str, width: int = 640) -> dict[str, object]:
    return {"image": image, "width": width}


class Application:
    """Polls from its start to its stop; `healthy` is for the platform that asks."""

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._poller = TaskPoller([resize], configuration)

    def start(self) -> None:
        self._poller.start()

    @property
    def healthy(self) -> bool:
        return self._poller.health().healthy

    def stop(self) -> str:
        return str(self._poller.stop(timeout=30))
