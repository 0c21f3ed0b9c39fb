"""Runs both example workers until SIGTERM or Ctrl-C: `python examples/main.py`.

`conductor-grpc run examples/main.py` does the same, with options.
"""

from __future__ import annotations

import logging

from conductor_grpc import TaskPoller
from workers.cpp_task_example import SimpleCppWorker
from workers.python_task_example import SimplePythonWorker

workers = [SimpleCppWorker("cpp_task_example"), SimplePythonWorker("python_task_example")]


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    report = TaskPoller(workers).run()
    print(report)
    return report.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
