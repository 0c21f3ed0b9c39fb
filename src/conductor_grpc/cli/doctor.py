"""`conductor-grpc doctor`: what is wrong with a set-up, and what to do about it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.doctor_report import Progress, print_report
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.cli.output import print_json
from conductor_grpc.cli.run import as_deployed
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.configuration import JOURNAL_VARIABLE
from conductor_grpc.doctor import Finding, Severity, examine
from conductor_grpc.doctor.examination import SECONDS
from conductor_grpc.errors import ConfigurationError, JournalError, WorkerDefinitionError
from conductor_grpc.observe import MetricsSettings
from conductor_grpc.poller.journal.folder import FolderLock
from conductor_grpc.worker.discovery import each_once

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.worker import WorkerInterface

EXIT_CODES: Final = {Severity.OK: 0, Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 1}
"""2 is click's, for wrong usage."""


@click.command("doctor", short_help="Look for what is wrong with server, connection or workers.")
@click.argument("modules", metavar="[MODULE[:NAME]]...", nargs=-1)
@click.option("--concurrency", "concurrencies", multiple=True, metavar="N|TYPE=N", help="As with `run`; repeatable.")
@click.option("--domain", help="Task domain of the workers that name none.")
@click.option("--worker-id", help="The worker id that a process is to have.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"The journal of a process.  [env: {JOURNAL_VARIABLE}; default: as `run` would choose it]",
)
@click.option("--no-journal", is_flag=True, help="There is to be no journal.")
@click.option("--metrics-dir", type=click.Path(path_type=Path), metavar="DIR", help="The folder of the metrics file.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), metavar="PORT", help="The port of the metrics.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=SECONDS,
    show_default=True,
    help="Seconds that each check may take.",
)
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@connection_options
def doctor_command(
    modules: tuple[str, ...],
    concurrencies: tuple[str, ...],
    domain: str | None,
    worker_id: str | None,
    journal: Path | None,
    no_journal: bool,
    metrics_dir: Path | None,
    metrics_port: int | None,
    timeout: float,
    as_json: bool,
    configuration: Configuration,
) -> None:
    """Look over the server, the way to it, and this machine; with MODULES, as `run` has them, their workers too.

    Nothing on the server is changed, and no task is polled. With the options that `run` gets, it looks at what that
    would meet.

    Exit codes: 0 nothing worse than a note, 1 an error, 3 a warning and no error, 2 wrong usage.
    """
    if journal is not None and no_journal:
        raise click.UsageError("--journal and --no-journal exclude each other")
    findings: list[Finding] = []
    workers = _workers(modules, findings)
    if findings:  # the workers of a module that cannot be used are not known: what is said of them is no wrong usage
        concurrencies = tuple(each for each in concurrencies if _concerns(each, workers or []))
    changed = _as_deployed(workers or [], domain, concurrencies, findings)
    workers = None if workers is None else changed
    metrics_settings = _metrics(metrics_dir, metrics_port, findings)
    changes = {"domain": domain, "worker_id": worker_id}
    configuration = configuration.with_changes(**{key: value for key, value in changes.items() if value is not None})
    folder = "" if no_journal else journal or configuration.journal or _free_folder(configuration, workers or [])
    configuration = configuration.with_changes(journal=folder)
    with Progress() as progress:
        findings += examine(configuration, workers, metrics_settings, seconds=timeout, begins=progress)
    worst = max(finding.severity for finding in findings)
    if as_json:
        print_json({"worst": worst.name.lower(), "findings": [finding.to_json() for finding in findings]})
    else:
        print_report(findings)
    sys.exit(EXIT_CODES[worst])


def _workers(modules: tuple[str, ...], findings: list[Finding]) -> list[WorkerInterface] | None:
    """Those of the modules, None if none is named. A module that cannot be used is a finding, and hides no other."""
    if not modules:
        return None
    return each_once(worker for module in modules for worker in _workers_of(module, findings))


def _as_deployed(
    workers: list[WorkerInterface], domain: str | None, concurrencies: tuple[str, ...], findings: list[Finding]
) -> list[WorkerInterface]:
    """As `run` would have them; as they are in the code, if a variable of the environment cannot be used."""
    try:
        return as_deployed(workers, domain, concurrencies)
    except ConfigurationError as failure:
        findings.append(
            Finding(
                Severity.ERROR,
                "workers.environment",
                str(failure),
                "variables that set options of workers",
                "set that right, for no poller would start; the workers were looked at as they are in the code",
            )
        )
        return workers


def _concerns(setting: str, workers: list[WorkerInterface]) -> bool:
    task_type, separator, _ = setting.rpartition("=")
    return not separator or task_type in {worker.task_definition_name for worker in workers}


def _workers_of(module: str, findings: list[Finding]) -> list[WorkerInterface]:
    try:
        return find_workers(module)
    except WorkerDefinitionError as failure:
        findings.append(
            Finding(
                Severity.ERROR,
                "workers.module",
                " ".join(str(failure).split()),
                "a module with workers",
                "set that right; what concerns its workers was not looked at",
            )
        )
        return []


def _metrics(folder: Path | None, port: int | None, findings: list[Finding]) -> MetricsSettings | None:
    if folder is None and port is None:
        return None
    try:
        return MetricsSettings(folder, http_port=port)
    except ConfigurationError as failure:
        findings.append(
            Finding(
                Severity.WARNING,
                "metrics.missing",
                str(failure),
                "prometheus_client, which writes the metrics",
                "pip install 'conductor-grpc-client[metrics]'",
            )
        )
        return None


def _free_folder(configuration: Configuration, workers: list[WorkerInterface]) -> Path:
    """The journal that `run` would take now."""
    for folder in default_folders(configuration, workers):
        if not folder.is_dir():
            return folder
        try:
            FolderLock(folder).close()
        except JournalError:
            continue
        except OSError:
            return folder  # the check says why
        return folder
    raise AssertionError("unreachable")
