"""A program with a handler, for tests that send signals to it and its processes.

python handler_process.py TASK_TYPE TARGET FOLDER PROCESSES [HOW]

Its worker runs each task until the file `go` is in the folder. It prints the ids of its processes once they poll, and
in the end its report. HOW is `join` (default), `forget`, which ends without a stop, `wait`, which does not join,
`slow`, whose worker takes for ever to be loaded, or `unguarded`, which does all that also when the module is imported.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from handler_workers import Slow, Until

from conductor_grpc import Configuration, TaskHandler


def main(task_type: str, target: str, folder: str, processes: str, how: str = "join") -> int:
    configuration = Configuration("", target=target, poll_wait_ms=100, drain_timeout=60)
    worker = Slow(task_type, folder) if how == "slow" else Until(task_type, folder)
    handler = TaskHandler([worker], configuration, processes=int(processes))
    handler.start_processes()
    print(*(each.pid for each in handler.health().processes), flush=True)
    if how == "forget":
        return 0
    with handler:
        if how == "wait":
            signal.pause()
        report = handler.join_processes()
        print(report, flush=True)
        return report.exit_code


if __name__ == "__main__" or "unguarded" in sys.argv:
    sys.exit(main(*sys.argv[1:]))
