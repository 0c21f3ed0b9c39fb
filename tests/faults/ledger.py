"""What workers have begun and finished, on paper that outlives them."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from conductor_grpc import Task

_BEGUN: Final = "B"
_FINISHED: Final = "F"


@dataclass(slots=True)
class Execution:
    """One run of one task, whatever became of it."""

    token: str
    """Tells it from all others; it is in the task's output."""
    pid: int
    workflow_id: str
    task_id: str
    poll_count: int
    began: float
    """By the monotonic clock, which all processes of a machine share and nobody can set."""
    finished: float | None = None


class LedgerWriter:
    """In the worker's process. Thread-safe: each line is one append."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._numbers = itertools.count()
        self._pid = os.getpid()

    def begun(self, task: Task) -> str:
        """Note it; the execution's token."""
        token = f"{self._pid}.{next(self._numbers)}"
        self._write(_BEGUN, token, task.workflow_instance_id, task.task_id, str(task.poll_count))
        return token

    def finished(self, token: str) -> None:
        self._write(_FINISHED, token)

    def _write(self, kind: str, *fields: str) -> None:
        os.write(self._file, f"{kind} {time.monotonic():.3f} {' '.join(fields)}\n".encode())


@dataclass
class Ledger:
    """The ledger as read so far."""

    path: Path
    executions: dict[str, Execution] = field(default_factory=dict)
    by_workflow: dict[str, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    running: dict[str, Execution] = field(default_factory=dict)
    """Those without an end, also of processes that are gone; by token."""
    _read: int = 0
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def update(self) -> None:
        """Read what has been written since. Thread-safe."""
        with self._reading:
            self._update()

    def _update(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read += whole
        for line in data[:whole].decode().splitlines():
            kind, seconds, token, *rest = line.split(" ")
            if kind == _BEGUN:
                workflow_id, task_id, poll_count = rest
                pid = int(token.partition(".")[0])
                execution = Execution(token, pid, workflow_id, task_id, int(poll_count), float(seconds))
                self.executions[token] = self.running[token] = execution
                self.by_workflow[workflow_id].append(execution)
            elif kind == _FINISHED:
                self.running.pop(token).finished = float(seconds)
