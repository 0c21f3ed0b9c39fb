"""`conductor-grpc run`: workers, in this process or in several, until they are asked to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.cli.metrics import metrics_options
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.configuration import JOURNAL_VARIABLE
from conductor_grpc.errors import JournalError
from conductor_grpc.handler import TaskHandler
from conductor_grpc.poller.journal import adopt
from conductor_grpc.poller.task_poller import TaskPoller
from conductor_grpc.worker.discovery import each_once
from conductor_grpc.worker.environment import ALL, PREFIX, apply_environment, normalized
from conductor_grpc.worker.log_filter import TaskLogFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.handler import HandlerReport
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.poller.drain import DrainReport
    from conductor_grpc.worker import WorkerInterface

DOMAIN_OF_ALL: Final = f"{PREFIX}{ALL}_DOMAIN"


@click.command("run", short_help="Run workers until SIGTERM or Ctrl-C, then drain.")
@click.argument("modules", metavar="MODULE[:NAME]...", nargs=-1, required=True)
@click.option(
    "--processes",
    multiple=True,
    metavar="N|TYPE=N",
    help="How many processes run each worker, or that of this type; repeatable. A process that dies is started again.  "
    "[default: all workers in this one]",
)
@click.option(
    "--concurrency",
    "concurrencies",
    multiple=True,
    metavar="N|TYPE=N",
    help="How many tasks of each type, or of this one, run at a time; repeatable.  [default: as the worker says]",
)
@click.option("--domain", help="Task domain of the workers that name none.")
@click.option("--worker-id", help="Name of this process on the server.  [default: host, pid and a random part]")
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds that running tasks get to finish when the process is asked to stop.",
)
@click.option(
    "--journal",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for what must survive when the process is killed; no two processes may share one.  "
    f"[env: {JOURNAL_VARIABLE}; default: one for this server and these task types, in $XDG_STATE_HOME or "
    "~/.local/state]",
)
@click.option("--no-journal", is_flag=True, help="Keep no journal, with --processes none beyond the end.")
@metrics_options
@connection_options
def run_command(
    modules: tuple[str, ...],
    processes: tuple[str, ...],
    concurrencies: tuple[str, ...],
    domain: str | None,
    worker_id: str | None,
    drain_timeout: float,
    journal: Path | None,
    no_journal: bool,
    metrics_settings: MetricsSettings | None,
    configuration: Configuration,
) -> None:
    """Run the workers of each MODULE until SIGTERM or Ctrl-C, then drain.

    MODULE is a dotted name, or a .py file; modules of the current folder are found. Without NAME all its workers
    run, of a package those of all modules in it and below: instances of WorkerInterface, functions under
    @worker_task, lists of them. NAME is one of them, or a list, or a function that returns the one or the other.

    After a second signal running tasks have two seconds to end, after a third none; then they are handed back. The
    exit code is 1 if a result could not be sent.

    Environment variables such as CONDUCTOR_WORKER_RESIZE_CONCURRENCY, for the type `resize`, or
    CONDUCTOR_WORKER_ALL_PAUSED change the options of workers; options of the command win over them.

    Should the process be killed, the next one with the same journal sends the results that the server has not got
    and hands back the tasks that were running.
    """
    if journal is not None and no_journal:
        raise click.UsageError("--journal and --no-journal exclude each other")
    workers = each_once(worker for module in modules for worker in find_workers(module))
    _check_needs_nothing(workers)
    workers = as_deployed(workers, domain, concurrencies)
    numbers = {} if not processes else dict.fromkeys(_types(workers), 1) | _by_type("--processes", processes, workers)
    changes = {"domain": domain, "worker_id": worker_id, "drain_timeout": drain_timeout}
    configuration = configuration.with_changes(**{key: value for key, value in changes.items() if value is not None})
    if not configuration.debug:
        _log_on_stderr(in_processes=bool(numbers))
    total = sum(numbers[each] for each in _types(workers)) if numbers else 0
    place = f" in {total} process{'es' if total > 1 else ''}" if numbers else ""
    click.echo(f"polling {configuration.target} for {_names(workers)}{place}; Ctrl-C or SIGTERM stops", err=True)

    def run(journal: Path | str) -> DrainReport | HandlerReport:
        configured = configuration.with_changes(journal=journal)
        if not numbers:
            return TaskPoller(workers, configured, metrics_settings=metrics_settings).run()
        with TaskHandler(workers, configured, metrics_settings, processes=numbers) as handler:
            handler.start_processes()
            return handler.join_processes()

    if no_journal:
        report = run("")
    elif journal is not None or configuration.journal is not None:
        report = run(journal or configuration.journal or "")
    else:
        report = _run_with_default_journal(run, workers, configuration)
    click.echo(report)
    sys.exit(report.exit_code)


def _run_with_default_journal(
    run: Callable[[Path], DrainReport | HandlerReport], workers: list[WorkerInterface], configuration: Configuration
) -> DrainReport | HandlerReport:
    for folder in default_folders(configuration, workers):
        # Refused before anything is polled. Another process with the same workers is nothing unusual.
        with contextlib.suppress(JournalError):
            adopt(folder)
            return run(folder)
    raise AssertionError("unreachable")


def as_deployed(
    workers: list[WorkerInterface], domain: str | None, concurrencies: tuple[str, ...]
) -> list[WorkerInterface]:
    """The workers with what the environment sets for them, and over that the options `--concurrency`, each `N` or
    `TYPE=N`. Given `--domain`, which is for workers that name none, no variable names one for all of them.

    Raises:
        click.BadParameter: An option has no usable value.
        ConfigurationError: A variable has none.
    """
    environment = {
        name: value for name, value in os.environ.items() if domain is None or normalized(name) != DOMAIN_OF_ALL
    }
    result: list[WorkerInterface] = list(apply_environment(workers, environment))
    numbers = _by_type("--concurrency", concurrencies, workers)
    for worker in result:
        worker.concurrency = numbers.get(worker.task_definition_name, worker.concurrency)
    return result


def _by_type(option: str, settings: tuple[str, ...], workers: list[WorkerInterface]) -> dict[str, int]:
    """The number for each task type that has one: those for one type win over the one for all, in whatever order."""
    numbers: dict[str, int] = {}
    for setting in sorted(settings, key=lambda text: "=" in text):
        task_type, separator, number = setting.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise click.BadParameter(
                f"{setting!r}: expected a whole number of at least 1, or TYPE=N", param_hint=option
            )
        if separator and task_type not in _types(workers):
            raise click.BadParameter(
                f"{setting!r}: no worker runs {task_type!r}, only {_names(workers)}", param_hint=option
            )
        numbers.update(dict.fromkeys([task_type] if separator else _types(workers), int(number)))
    return numbers


def _check_needs_nothing(workers: list[WorkerInterface]) -> None:
    for worker in workers:
        for name in worker.resource_names:
            raise click.ClickException(
                f"worker {worker.task_definition_name!r} needs the resource {name!r}, and `run` opens none: write a"
                f" main that does, TaskPoller(workers, resources={{{name!r}: ...}}).run()"
            )


def _types(workers: list[WorkerInterface]) -> list[str]:
    return [worker.task_definition_name for worker in workers]


def _names(workers: list[WorkerInterface]) -> str:
    return ", ".join(f"{worker.task_definition_name} (x{worker.concurrency})" for worker in workers)


def _log_on_stderr(*, in_processes: bool) -> None:
    """Polls that fail, results that are refused: a worker process that says nothing cannot be run."""
    handler = logging.StreamHandler()
    handler.addFilter(TaskLogFilter())
    process = " %(processName)s" if in_processes else ""
    form = f"%(asctime)s{process} %(levelname)s %(name)s: %(message)s%(in_task)s"
    logging.basicConfig(format=form, handlers=[handler])
    logging.getLogger("conductor_grpc").setLevel(logging.INFO)
