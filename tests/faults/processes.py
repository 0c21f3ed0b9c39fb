"""Processes that a row can kill, stop and start again; each is ended by its own pid, and none outlives this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waiting import wait_for

from conductor_grpc.server import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Protocol

    from typing_extensions import Self

    from faults.worker_main import WorkerSettings

    class Server(Protocol):
        """What rows ask of a server; RealServer is one."""

        @property
        def target(self) -> str: ...
        @property
        def base_url(self) -> str | None: ...
        @property
        def pid(self) -> int | None: ...
        def start(self) -> None: ...
        def kill(self) -> None: ...
        def stop(self) -> None: ...


POLLING: Final = "conductor_grpc.poller.task_poller: polling "
"""What a worker logs once it has begun."""

TESTS: Final = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """For a Python of this one's kind that finds this package."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDUCTOR_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


class Child:
    """A Python process, whose standard output and error go to a file."""

    def __init__(self, module: str, arguments: list[str], log: Path, within: Sequence[str] = ()) -> None:
        """`within` is the beginning of a command that becomes the one after it."""
        self.log_path = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*within, sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,  # its end is how the child learns of ours
                stdout=output,
                stderr=output,
                env=environment(),
                start_new_session=True,  # Ctrl-C is for us; we end it in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does, also a stopped one; returns when it is gone."""
        self._process.kill()
        self.wait(30)

    def wait(self, seconds: float) -> int:
        """Its exit code."""
        try:
            return self._process.wait(seconds)
        finally:
            if self._process.poll() is not None and self._process.stdin is not None:
                self._process.stdin.close()


class WorkerProcess(Child):
    """One poller in a process of its own."""

    def __init__(self, settings: WorkerSettings, log: Path, within: Sequence[str] = ()) -> None:
        super().__init__("faults.worker_main", [json.dumps(asdict(settings))], log, within)
        self.settings = settings

    @property
    def failed(self) -> bool:
        """It has ended by itself, with an error."""
        return (self._process.poll() or 0) > 0

    @property
    def report(self) -> dict[str, int]:
        """How its drain went, once it has ended."""
        path = Path(self.settings.report)
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def end(self) -> dict[str, int]:
        """Let it drain; its report. Killed if it does not end."""
        if self.running:
            # Before that a SIGTERM kills it: it is still importing, and handles no signals.
            wait_for(lambda: POLLING in self.log or not self.running, 60)
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGTERM)
            try:
                self.wait(60)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGQUIT)  # it writes down where it hangs
                time.sleep(1)
                self.kill()
        return self.report


class EmbeddedProcess:
    """The embedded server, strict, on an SQLite file or in memory, in a process of its own that can be killed."""

    def __init__(self, folder: Path, *, database: bool = True) -> None:
        self._folder = folder
        self._database = folder / "embedded.db" if database else None
        (self._port,) = free_ports(1)
        self._child: Child | None = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def base_url(self) -> None:
        return None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        ready = self._folder / "embedded.ready"
        ready.unlink(missing_ok=True)
        arguments = [str(self._port), str(ready), str(self._database or "")]
        child = self._child = Child("faults.server_main", arguments, self._folder / "embedded.log")
        wait_for(lambda: ready.exists() or not child.running, 60)
        if not child.running:
            raise RuntimeError(f"the embedded server did not start:\n{child.log}")

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        self.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
