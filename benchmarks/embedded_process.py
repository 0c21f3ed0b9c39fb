"""An embedded server in a process of its own, so that its CPU time and its memory can be told from the client's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_PAGES_OF_MEMORY = 1  # the second number in statm: resident pages
_PAGE = 4096


class EmbeddedProcess:
    """Runs from `with` to its end, in memory. It ends by itself when this process does."""

    def __init__(self, *, strict: bool = False, database: Path | None = None) -> None:
        self._command = [sys.executable, "-m", __name__, "strict" if strict else "lenient", str(database or "")]
        self.pid = 0
        self.target = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid, self.target = self._process.pid, self._process.stdout.readline().strip()
        if not self.target:
            self._process.wait()
            raise RuntimeError(f"the embedded server ended with exit code {self._process.returncode}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def memory(self) -> float:
        """What it has in memory now, in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[_PAGES_OF_MEMORY])
        return pages * _PAGE / 1e6


def main(mode: str, database: str) -> None:
    """Serve until the standard input is closed."""
    with EmbeddedServer(strict=mode == "strict", database=database or None) as server:
        print(server.target, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
