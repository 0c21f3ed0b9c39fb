"""The worker process of the fault rows: runs tasks, writes the ledger, ends when its parent does.

python -m faults.worker_main SETTINGS, a JSON object with the fields of `WorkerSettings`.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from conductor_grpc import Configuration, Task, TaskPoller, TaskResult, TaskResultStatus, WorkerInterface
from conductor_grpc.poller import outbox
from faults.ledger import LedgerWriter


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process is told."""

    target: str
    base_url: str
    task_types: list[str]
    ledger: str
    report: str
    """The file for how it ended."""
    journal: str = ""
    concurrency: int = 20
    seconds: float = 0.0
    """How long a task takes, on average."""
    output_bytes: int = 0
    poll_wait_ms: int = 5000
    drain_timeout: float = 30.0
    update_timeout: float = 0.0
    """Seconds until an update without an answer is in doubt; 0: as the package has it."""
    storage: str = ""
    """A folder for payloads that are too large for a message."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of output by the text in the task's input `size`, instead of `output_bytes`."""


class Recorder(WorkerInterface):
    """Writes to the ledger when a task begins and when it is done; its output says which execution it was."""

    def __init__(self, task_type: str, ledger: LedgerWriter, settings: WorkerSettings) -> None:
        super().__init__(task_type, concurrency=settings.concurrency)
        self._ledger = ledger
        self._settings = settings

    def execute(self, task: Task) -> TaskResult:
        token = self._ledger.begun(task)
        time.sleep(self._settings.seconds * random.uniform(0.5, 1.5))  # so that they do not all end together
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        size = self._settings.sizes.get(str(task.input_data.get("size")), self._settings.output_bytes)
        # Something of the input, so that an input that did not arrive shows.
        result.output_data = {"by": token, "seen": len(str(task.input_data.get("text", ""))), "pad": "x" * size}
        self._ledger.finished(token)
        return result


class JumpingClock:
    """The wall clock of this process, moved by signals: SIGUSR1 an hour ahead, SIGUSR2 an hour back.

    Stands in for `time` in the modules of the package only. gRPC asks Python for the time of day and the kernel for
    what it means, so one clock alone must not jump there.
    """

    def __init__(self) -> None:
        self._seconds = 0
        for name, module in list(sys.modules.items()):
            if name.startswith("conductor_grpc.") and getattr(module, "time", None) is time:
                module.time = self  # type: ignore[attr-defined]
        signal.signal(signal.SIGUSR1, lambda *_: self._jump(3600))
        signal.signal(signal.SIGUSR2, lambda *_: self._jump(-3600))

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)

    def time(self) -> float:
        return time.time() + self._seconds

    def time_ns(self) -> int:
        return time.time_ns() + self._seconds * 1_000_000_000

    def _jump(self, seconds: int) -> None:
        self._seconds += seconds
        # No logging here, whose locks the interrupted code may hold.
        os.write(2, f"the clock jumped by {seconds} s\n".encode())


def main() -> None:
    settings = WorkerSettings(**json.loads(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    faulthandler.register(signal.SIGQUIT)  # where its threads are, for whoever finds it hanging
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    JumpingClock()
    if settings.update_timeout:
        # What takes minutes otherwise takes seconds.
        outbox.UPDATE_TIMEOUT = settings.update_timeout  # type: ignore[misc]
    ledger = LedgerWriter(settings.ledger)
    workers = [Recorder(task_type, ledger, settings) for task_type in settings.task_types]
    poller = TaskPoller(workers, _configuration(settings))
    report = poller.run()
    document = {name: getattr(report, name) for name in ("done", "handed_back", "cancelled", "unsent")}
    document |= {"refused": poller.health().refused, "signals": poller._stop_request.signals}
    Path(settings.report).write_text(json.dumps(document))


def _configuration(settings: WorkerSettings) -> Configuration:
    configuration = Configuration(
        settings.base_url,
        target=settings.target,
        poll_wait_ms=settings.poll_wait_ms,
        drain_timeout=settings.drain_timeout,
        journal=settings.journal,
    )
    if settings.storage:
        from conductor_grpc.payload.external import FilesystemPayloadStorage

        configuration = configuration.with_changes(external_payload_storage=FilesystemPayloadStorage(settings.storage))
    return configuration


def _end_with_the_parent() -> None:
    """The parent holds the other end of stdin, and writes nothing."""
    os.read(0, 1)
    os._exit(70)


if __name__ == "__main__":
    main()
