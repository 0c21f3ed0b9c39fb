"""`conductor-grpc schema`: what the workers of a module take and return."""

from __future__ import annotations

import json

import click

from conductor_grpc.cli.worker_search import find_workers
from conductor_grpc.worker.inputs.hints import naming
from conductor_grpc.worker.inputs.schema import input_schema, output_schema


@click.command("schema", short_help="Print the JSON Schema of what workers take and return.")
@click.argument("module", metavar="MODULE[:NAME]")
def schema_command(module: str) -> None:
    """Print the JSON Schema of what the workers of MODULE take and return.

    {TYPE: {"input": ..., "output": ...}}, draft 2020-12, from the functions' annotations. MODULE and NAME are those
    of `run`; no server is asked.
    """
    schemas: dict[str, dict[str, object]] = {}
    for worker in find_workers(module):
        name = worker.task_definition_name
        with naming(f"worker {name!r}"):
            made: dict[str, object] = {"input": input_schema(worker), "output": output_schema(worker)}
        if schemas.setdefault(name, made) != made:
            raise click.ClickException(
                f"two workers of {name!r} take or return different types: name one of them, MODULE:NAME"
            )
    click.echo(json.dumps(schemas, indent=2, ensure_ascii=False))
