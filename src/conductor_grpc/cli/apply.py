"""`conductor-grpc apply`: definitions from files onto the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from conductor_grpc.cli.connection import connection_options
from conductor_grpc.cli.output import print_table
from conductor_grpc.clients import MetadataClient
from conductor_grpc.clients.differences import differing_paths
from conductor_grpc.definitions import load_definitions, task_definition_to_json
from conductor_grpc.errors import NotFoundError, UnknownServerError

if TYPE_CHECKING:
    from conductor_grpc.configuration import Configuration
    from conductor_grpc.pb.model.taskdef_pb2 import TaskDef


@click.command("apply")
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@connection_options
def apply_command(files: tuple[str, ...], configuration: Configuration) -> None:
    """Create or update the task and workflow definitions in FILES: JSON files, or folders of them.

    All files are read and checked before anything is sent. What is on the server already, and equal, is left
    alone. A workflow of the same name and version that differs is replaced; runs that have started keep theirs.
    Below a folder, .venv and all others that begin with a dot, node_modules and virtual environments are skipped.
    """
    definitions = load_definitions(*files)
    with MetadataClient(configuration) as client:
        rows = [("task", task.name, "", _apply_task(client, task)) for task in definitions.tasks]
        for workflow in definitions.workflows:  # after the tasks, which they name
            outcome = client.register_workflow(workflow, overwrite=True)
            rows.append(("workflow", workflow.name, str(workflow.version), outcome.value))
    print_table(("Kind", "Name", "Version", "Outcome"), rows)


def _apply_task(client: MetadataClient, task: TaskDef) -> str:
    try:
        stored = client.get_task(task.name)
    except NotFoundError:
        outcome = "created"
    except UnknownServerError:
        # Without REST there is no telling a definition that is not there from one that gRPC cannot carry.
        outcome = "created or updated"
    else:
        if not differing_paths(stored, task_definition_to_json(task)):
            return "unchanged"
        outcome = "updated"
    client.register_task(task)
    return outcome
