"""`conductor-grpc run`: workers in this process, until they are asked to stop."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.configuration import JOURNAL_VARIABLE
from conductor_grpc.errors import JournalError
from conductor_grpc.poller.journal import adopt
from conductor_grpc.poller.task_poller import TaskPoller

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.poller.drain import DrainReport
    from conductor_grpc.worker import WorkerInterface


@click.command("run")
@click.argument("module", metavar="MODULE[:NAME]")
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
@click.option("--no-journal", is_flag=True, help="Keep no journal.")
@connection_options
def run_command(
    module: str,
    concurrencies: tuple[str, ...],
    domain: str | None,
    worker_id: str | None,
    drain_timeout: float,
    journal: Path | None,
    no_journal: bool,
    configuration: Configuration,
) -> None:
    """Run the workers of MODULE until SIGTERM or Ctrl-C, then drain.

    MODULE is a dotted name, or a .py file; modules of the current folder are found. Without NAME all its workers
    run: instances of WorkerInterface, functions under @worker_task, lists of them. NAME is one of them, or a list,
    or a function that returns the one or the other.

    After a second signal running tasks have two seconds to end, after a third none; then they are handed back. The
    exit code is 1 if a result could not be sent.

    Should the process be killed, the next one with the same journal sends the results that the server has not got
    and hands back the tasks that were running.
    """
    if journal is not None and no_journal:
        raise click.UsageError("--journal and --no-journal exclude each other")
    workers = find_workers(module)
    _set_concurrency(workers, concurrencies)
    changes = {"domain": domain, "worker_id": worker_id, "drain_timeout": drain_timeout}
    configuration = configuration.with_changes(**{key: value for key, value in changes.items() if value is not None})
    if not configuration.debug:
        _log_on_stderr()
    click.echo(f"polling {configuration.target} for {_names(workers)}; Ctrl-C or SIGTERM stops", err=True)
    if no_journal:
        report = TaskPoller(workers, configuration.with_changes(journal="")).run()
    elif journal is not None or configuration.journal is not None:
        report = TaskPoller(workers, configuration.with_changes(journal=journal or configuration.journal)).run()
    else:
        report = _run_with_default_journal(workers, configuration)
    click.echo(report)
    if report.unsent:
        sys.exit(1)


def _run_with_default_journal(workers: list[WorkerInterface], configuration: Configuration) -> DrainReport:
    for folder in default_folders(configuration, workers):
        # Refused before anything is polled. Another process with the same workers is nothing unusual.
        with contextlib.suppress(JournalError):
            adopt(folder)
            return TaskPoller(workers, configuration.with_changes(journal=folder)).run()
    raise AssertionError("unreachable")


def _set_concurrency(workers: list[WorkerInterface], settings: tuple[str, ...]) -> None:
    """Those for one type win over the one for all, in whatever order they are given."""
    for setting in sorted(settings, key=lambda text: "=" in text):
        task_type, separator, number = setting.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise click.BadParameter(
                f"{setting!r}: expected a whole number of at least 1, or TYPE=N", param_hint="--concurrency"
            )
        chosen = [each for each in workers if not separator or each.task_definition_name == task_type]
        if not chosen:
            raise click.BadParameter(
                f"{setting!r}: no worker runs {task_type!r}, only {_names(workers)}", param_hint="--concurrency"
            )
        for worker in chosen:
            worker.concurrency = int(number)


def _names(workers: list[WorkerInterface]) -> str:
    return ", ".join(f"{worker.task_definition_name} (x{worker.concurrency})" for worker in workers)


def _log_on_stderr() -> None:
    """Polls that fail, results that are refused: a worker process that says nothing cannot be run."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("conductor_grpc").setLevel(logging.INFO)
