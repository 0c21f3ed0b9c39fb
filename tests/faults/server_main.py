"""The embedded server's process: python -m faults.server_main PORT READY_FILE [DATABASE]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from conductor_grpc.server.embedded import EmbeddedServer

KEPT = 50_000
"""Ended workflows that stay: rows read each of theirs when it has ended, some time after that."""


def main() -> None:
    port, ready, database = sys.argv[1:]
    with EmbeddedServer(int(port), strict=True, database=database or None, keep_finished=KEPT):
        Path(ready).touch()
        os.read(0, 1)  # until the parent is gone, or kills this


if __name__ == "__main__":
    main()
