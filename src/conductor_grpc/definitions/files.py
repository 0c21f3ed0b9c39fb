"""Definitions from files: what `conductor-grpc apply FILES...` reads."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.definitions.checks import check_defined_system_task, walk_tasks
from conductor_grpc.definitions.convert import task_definition_to_proto, workflow_definition_to_proto
from conductor_grpc.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conductor_grpc.pb.model import taskdef_pb2, workflowdef_pb2


@dataclass(frozen=True)
class Definitions:
    """What `load_definitions` found, in the order of the files' names."""

    tasks: tuple[taskdef_pb2.TaskDef, ...] = ()
    """Task definitions."""

    workflows: tuple[workflowdef_pb2.WorkflowDef, ...] = ()
    """Workflow definitions. Register them after the tasks."""


def load_definitions(*paths: str | os.PathLike[str]) -> Definitions:
    """Reads and checks the definitions in JSON files, and in all `*.json` files below folders.

    Below a folder, those that hold what others have made are skipped: whose name begins with a dot, `node_modules`,
    and virtual environments.
    A file holds one object or a list of them; an object with the key "tasks" is a workflow, any other a task.
    Two definitions of the same task, or of the same workflow and version, are an error, in whatever files they are.
    Blocks on the disk.

    Raises DefinitionError whose message and `path` begin with the file's name (for malformed JSON with line
    and column), also if a path does not exist or holds no definition.
    """
    tasks: dict[str, taskdef_pb2.TaskDef] = {}
    workflows: dict[tuple[str, int], workflowdef_pb2.WorkflowDef] = {}
    for place, definition in itertools.chain.from_iterable(_found_in(Path(path)) for path in paths):
        if "tasks" in definition:
            workflow = workflow_definition_to_proto(definition, place)
            if (workflow.name, workflow.version) in workflows:
                raise _error(place, f"workflow {workflow.name!r} version {workflow.version} is defined twice")
            workflows[workflow.name, workflow.version] = workflow
        else:
            task = task_definition_to_proto(definition, place)
            if task.name in tasks:
                raise _error(place, f"task {task.name!r} is defined twice")
            tasks[task.name] = task
    for workflow in workflows.values():
        for item, where in walk_tasks(workflow.tasks, f"workflow {workflow.name!r}: $.tasks"):
            if item.name in tasks:
                check_defined_system_task(item, tasks[item.name], where)
    return Definitions(tuple(tasks.values()), tuple(workflows.values()))


def _found_in(root: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The definitions of one path, each with its place."""
    files = sorted(_below(root)) if root.is_dir() else [root]
    found = [each for file in files for each in _objects(file)]
    if not found:
        raise _error(
            str(root),
            "no definition found: expected a JSON object, a list of them, or a folder of such files",
        )
    yield from found


def _below(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if not _is_foreign(here / name)]  # os.walk does not enter the rest
        yield from (file for file in map(here.joinpath, names) if file.suffix == ".json" and file.is_file())


def _is_foreign(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name == "node_modules" or (folder / "pyvenv.cfg").exists()


def _objects(file: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    content = _read(file)
    listed = isinstance(content, list)
    for index, item in enumerate(content if isinstance(content, list) else [content]):
        place = f"{file}: $[{index}]" if listed else f"{file}: $"
        if not isinstance(item, dict):
            raise _error(place, f"expected a definition (an object), got {item!r}")
        yield place, item


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise _error(f"{file}:{error.lineno}:{error.colno}", f"not JSON: {error.msg}") from error
    except _DuplicateKeyError as error:
        raise _error(str(file), f"the key {error.args[0]!r} is there twice in one object: only one can hold") from error
    except UnicodeDecodeError as error:
        raise _error(str(file), f"not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise _error(str(file), f"cannot be read: {error.strerror or error}") from error


class _DuplicateKeyError(Exception):
    """The key that an object holds twice, as its only argument."""


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for key, value in pairs:
        if key in content:
            raise _DuplicateKeyError(key)
        content[key] = value
    return content


def _error(place: str, message: str) -> DefinitionError:
    return DefinitionError(f"{place}: {message}", place)
