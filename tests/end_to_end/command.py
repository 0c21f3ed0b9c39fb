"""The command `conductor-grpc` as a process, as a user has it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import ServerAddress


def environment(server: ServerAddress) -> dict[str, str]:
    return {**os.environ, "CONDUCTOR_GRPC_TARGET": server.target, "CONDUCTOR_SERVER_URL": server.base_url}


def conductor_grpc(
    server: ServerAddress, *arguments: str, folder: Path | None = None, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, with `text` on stdin."""
    return subprocess.run(
        [sys.executable, "-m", "conductor_grpc", *arguments],
        check=False,
        capture_output=True,
        cwd=folder,
        env=environment(server),
        input=text,
        text=True,
        timeout=60,
    )


@contextlib.contextmanager
def running(server: ServerAddress, arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these arguments, while the block lasts; `end` says how it ended."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment(server), "XDG_STATE_HOME": str(folder / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # harmless if it has ended


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Asks the process to stop, by SIGTERM; its exit code and what it has printed."""
    process.send_signal(signal.SIGTERM)
    printed, complaints = process.communicate(timeout=60)
    return process.returncode, printed, complaints
