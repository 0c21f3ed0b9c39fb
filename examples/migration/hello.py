"""The first worker: a function under a decorator, run by a handler until SIGTERM or Ctrl-C."""

from __future__ import annotations

from conductor_grpc import TaskHandler, worker_task


@worker_task("greet_by_name")
def greet_by_name(name: str) -> str:
    """Output: `{"result": "Hello Ada"}`."""
    return f"Hello {name}"


def main() -> None:
    with TaskHandler([greet_by_name]) as handler:
        handler.start_processes()
        handler.join_processes()


if __name__ == "__main__":
    main()
