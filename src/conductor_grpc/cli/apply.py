"""`conductor-grpc apply`: definitions from files and from workers onto the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.output import print_table
from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.definitions import Definitions, load_definitions
from conductor_grpc.errors import DefinitionError
from conductor_grpc.registration import Declared, Outcome, Registrar, Registration, declared_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conductor_grpc.configuration import Configuration


@click.command("apply", short_help="Create task and workflow definitions on the server.")
@click.argument("files", nargs=-1, metavar="[FILES]...")
@click.option(
    "--from",
    "modules",
    multiple=True,
    metavar="MODULE[:NAME]",
    help="Also the task definitions of the workers there, found as `run` finds them; repeatable.",
)
@click.option("--overwrite", is_flag=True, help="Replace definitions on the server that differ.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@connection_options
def apply_command(
    files: tuple[str, ...], modules: tuple[str, ...], overwrite: bool, dry_run: bool, configuration: Configuration
) -> None:
    """Create the task and workflow definitions in FILES: JSON files, or folders of them.

    All files are read and checked before anything is sent. What is on the server already, and equal, is left
    alone. What is there and differs, a workflow in the same version, is left alone too, unless --overwrite is given:
    the differences are shown, and the exit code is 1. Runs that have started keep their definition of the workflow.
    Below a folder, .venv and all others that begin with a dot, node_modules and virtual environments are skipped.

    With --from come the definitions that workers declare, TaskDefinition(...). One that declares none gets a
    definition of defaults where there is none, and never replaces one.
    """
    if not files and not modules:
        raise click.UsageError("nothing to apply: name FILES, or the module of workers with --from MODULE")
    definitions = load_definitions(*files) if files else Definitions()
    declared = declared_by(worker for module in modules for worker in find_workers(module))
    _refuse_two_of_one_name(definitions, declared)
    done: list[_Row] = []
    try:
        with Registrar(configuration) as registrar:
            done.extend(_registered(registrar, definitions, declared, overwrite=overwrite, dry_run=dry_run))
    finally:  # `done` holds what was done before an error, too
        _show(done, dry_run)
    left = sum(row.registration.outcome is Outcome.DIFFERS for row in done)
    if left:
        raise click.ClickException(
            f"{left} of {len(done)} differ{'s' if left == 1 else ''} from what is on the server, which was left as it"
            " is: --overwrite replaces it; a workflow may get a new version instead"
        )


@dataclass(frozen=True)
class _Row:
    kind: str
    name: str
    version: str
    registration: Registration


def _refuse_two_of_one_name(definitions: Definitions, declared: Iterable[Declared]) -> None:
    in_files = {task.name for task in definitions.tasks}
    for each in declared:
        if each.name in in_files and each.definition is not None:
            raise DefinitionError(
                f"task {each.name!r} is defined twice, in the files and by a worker: keep one of them"
            )


def _registered(
    registrar: Registrar, definitions: Definitions, declared: Iterable[Declared], *, overwrite: bool, dry_run: bool
) -> Iterator[_Row]:
    in_files = {task.name for task in definitions.tasks}
    for task in definitions.tasks:
        yield _Row("task", task.name, "", registrar.register_task(task, overwrite=overwrite, dry_run=dry_run))
    for each in declared:
        if each.name not in in_files:
            outcome = registrar.register_declared(each, overwrite=overwrite, dry_run=dry_run)
            yield _Row("task", each.name, "", outcome)
    for workflow in definitions.workflows:  # after the tasks, which they name
        outcome = registrar.register_workflow(workflow, overwrite=overwrite, dry_run=dry_run)
        yield _Row("workflow", workflow.name, str(workflow.version), outcome)


def _show(done: list[_Row], dry_run: bool) -> None:
    """The outcomes on stdout, for people and programs; what differs below, on stderr."""
    rows = [(row.kind, row.name, row.version, _word(row.registration.outcome, dry_run)) for row in done]
    if rows:
        print_table(("Kind", "Name", "Version", "Outcome"), rows)
    for row in done:
        for line in row.registration.lines():
            click.echo(f"{row.kind} {row.name}: {line}", err=True)


def _word(outcome: Outcome, dry_run: bool) -> str:
    sends = outcome in (Outcome.CREATED, Outcome.UPDATED)
    return f"would be {outcome.value}" if dry_run and sends else outcome.value
