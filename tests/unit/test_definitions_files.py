"""Reading definitions from files and folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from conductor_grpc.definitions import load_definitions
from conductor_grpc.errors import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

TASK = {"name": "t"}
WORKFLOW = {"name": "w", "tasks": [{"name": "t", "taskReferenceName": "r"}]}


def write(folder: Path, name: str, content: object) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_a_file_with_one_object(tmp_path: Path) -> None:
    assert [task.name for task in load_definitions(write(tmp_path, "a.json", TASK)).tasks] == ["t"]
    loaded = load_definitions(str(write(tmp_path, "b.json", WORKFLOW)))
    assert [workflow.name for workflow in loaded.workflows] == ["w"]
    assert loaded.tasks == ()


def test_a_folder_and_the_folders_in_it(tmp_path: Path) -> None:
    write(tmp_path, "b.json", [WORKFLOW, {"name": "t2"}])
    write(tmp_path, "a/deep.json", TASK)
    write(tmp_path, "notes.txt", "not JSON")
    loaded = load_definitions(tmp_path)
    assert [task.name for task in loaded.tasks] == ["t", "t2"]
    assert [workflow.name for workflow in loaded.workflows] == ["w"]


def test_folders_that_others_fill_are_skipped(tmp_path: Path) -> None:
    for name in (".venv/lib/a.json", ".git/b.json", "own/node_modules/c/package.json", "env/share/d.json"):
        write(tmp_path, name, "nothing for a definition")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    write(tmp_path, "own/t.json", TASK)
    write(tmp_path, ".hidden/deep/u.json", {"name": "u"})
    assert [task.name for task in load_definitions(tmp_path).tasks] == ["t"]
    assert [task.name for task in load_definitions(tmp_path / ".hidden").tasks] == ["u"]  # asked for by name


def test_versions_of_a_workflow(tmp_path: Path) -> None:
    file = write(tmp_path, "w.json", [WORKFLOW, {**WORKFLOW, "version": 2}])
    assert [workflow.version for workflow in load_definitions(file).workflows] == [1, 2]


def test_malformed_json_is_located(tmp_path: Path) -> None:
    file = write(tmp_path, "bad.json", '{\n  "name": "t",\n  "retryCount" 3\n}')
    with pytest.raises(DefinitionError, match=r"bad\.json:3:16: not JSON: Expecting ':'"):
        load_definitions(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([TASK, {"name": "x", "retries": 1}], r"all\.json: \$\[1\]\.retries: unknown key"),
        ({"name": "x", "inputTemplate": 3}, r"all\.json: \$\.inputTemplate: expected an object"),
        ([TASK, TASK], r"all\.json: \$\[1\]: task 't' is defined twice"),
        ([WORKFLOW, WORKFLOW], r"all\.json: \$\[1\]: workflow 'w' version 1 is defined twice"),
        ([TASK, "t"], r"all\.json: \$\[1\]: expected a definition"),
        ([], r"no definition found"),
        ('{"name": "t", "name": "u"}', r"the key 'name' is there twice"),
        (
            [{"name": "wait"}, {"name": "w", "tasks": [{"name": "wait", "taskReferenceName": "r", "type": "WAIT"}]}],
            r"workflow 'w': \$\.tasks\[0\]: a WAIT task .* does not complete",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: object, words: str) -> None:
    write(tmp_path, "all.json", content)
    with pytest.raises(DefinitionError, match=words):
        load_definitions(tmp_path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"missing\.json: cannot be read: No such file"):
        load_definitions(tmp_path / "missing.json")
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(DefinitionError, match="not UTF-8"):
        load_definitions(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no definition found"):
        load_definitions(tmp_path)


def test_several_paths_are_checked_together(tmp_path: Path) -> None:
    task = write(tmp_path, "task.json", {"name": "call"})
    other = write(tmp_path, "other/t.json", TASK)
    loaded = load_definitions(task, tmp_path / "other")
    assert [task.name for task in loaded.tasks] == ["call", "t"]
    with pytest.raises(DefinitionError, match=r"other/t\.json: \$: task 't' is defined twice"):
        load_definitions(other, tmp_path / "other")
    http = {"name": "call", "taskReferenceName": "r", "type": "HTTP"}
    workflow = write(tmp_path, "w.json", {"name": "w", "tasks": [http]})
    with pytest.raises(DefinitionError, match="would wait for ever"):
        load_definitions(task, workflow)
