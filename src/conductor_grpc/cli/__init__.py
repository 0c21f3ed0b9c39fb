"""The command `conductor-grpc` (extra `cli`)."""

from __future__ import annotations

import importlib.util
import sys

_LIBRARIES = ("click", "rich")


def main() -> None:
    """Runs the command with the arguments of this process and ends the process with its exit code."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        sys.exit(
            f"conductor-grpc needs {' and '.join(missing)}, which {are} not installed: in the checkout of"
            " conductor-grpc-client, pip install '.[cli]'"
        )
    # Imported only now, for the line above to be all that a user without the extra sees.
    from conductor_grpc.cli.root import root

    root(prog_name="conductor-grpc")
