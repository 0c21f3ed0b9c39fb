"""The command without a server: usage, one line for each error, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conductor_grpc import Configuration, cli, worker_task
from conductor_grpc.cli import examples
from conductor_grpc.cli.journal_folder import default_folders
from conductor_grpc.cli.root import root
from conductor_grpc.configuration import BASE_URL_VARIABLE, TARGET_VARIABLE
from conductor_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from click.testing import Result

    from conductor_grpc import WorkerInterface

NOBODY = ["--target", "localhost:1", "--base-url", "http://localhost:1/api"]


@pytest.fixture(autouse=True)
def _no_addresses_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TARGET_VARIABLE, raising=False)
    monkeypatch.delenv(BASE_URL_VARIABLE, raising=False)


def run(*arguments: str, **kwargs: str) -> Result:
    return CliRunner().invoke(root, arguments, prog_name="conductor-grpc", **kwargs)


def only_line(result: Result, code: int = 1) -> str:
    """The one line on stderr, where there must be nothing on stdout."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return str(line)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "conductor_grpc", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == f"conductor-grpc, version {version('conductor-grpc-client')}"
    assert said.stderr == ""


def test_help_names_the_commands_in_the_order_of_use() -> None:
    shown = run("--help").stdout
    places = [shown.index(f"\n  {name} ") for name in ("server", "apply", "start", "status", "run", "demo")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("absent", "said"),
    [(("not_here",), "not_here, which is"), (("not_here", "nor_here"), "not_here and nor_here, which are")],
)
def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], absent: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(cli, "_LIBRARIES", ("click", *absent))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert str(stopped.value) == (
        f"conductor-grpc needs {said} not installed: in the checkout of conductor-grpc-client, pip install '.[cli]'"
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments", [("start", "some_workflow"), ("status", "some_id"), ("start", "some_workflow", "--wait")]
)
def test_no_server(arguments: tuple[str, ...]) -> None:
    line = only_line(run(*arguments, *NOBODY))
    assert line.startswith("Error: ")
    assert "localhost:1" in line
    assert "`conductor-grpc server` starts one on this machine" in line


def test_a_bad_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "base_url 'ftp://localhost'" in only_line(run("status", "some_id", "--base-url", "ftp://localhost"))
    monkeypatch.setenv(TARGET_VARIABLE, "http://localhost:8090")
    assert "http://localhost:8090" in only_line(run("status", "some_id"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("start",), "Missing argument 'WORKFLOW'"),
        (("start", ""), "expected the name of a workflow"),
        (("status", ""), "expected the id of a workflow"),
        (("apply",), "nothing to apply: name FILES, or"),
        (("start", "w", "--input", "{a: 1}"), "not JSON: Expecting property name"),
        (("start", "w", "--input", "[1]"), 'expected a JSON object such as {"a": 1}, got [1]'),
        (("start", "w", "--input", "@nowhere.json"), "cannot read 'nowhere.json': No such file or directory"),
        (("start", "w", "--version", "0"), "0 is not in the range x>=1"),
        (("start", "w", "--wait", "--timeout", "0"), "0.0 is not in the range x>0"),
        (("nonsense",), "No such command 'nonsense'"),
        (("demo", "--examples", "nowhere"), "'nowhere' does not exist"),
        (("server", "--strict"), "--strict goes with --embedded"),
        (("server", "--embedded", "--port", "8080"), "--port is for a real server"),
        (("server", "--embedded", "--heap", "1g"), "--heap is for a real server"),
        (
            ("server", "--property", "a=b", "--java-option", "x", "--embedded"),
            "Leave out --embedded, or --property, --jav",
        ),
        (("server", "--property", "a"), "'a' is not NAME=VALUE"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_an_input_that_the_wire_cannot_carry_is_named() -> None:
    line = only_line(run("start", "w", "--input", json.dumps({"order": {"id": 2**53 + 1}}), *NOBODY))
    assert "order.id" in line
    assert str(2**53 + 1) in line


def test_an_input_that_the_wire_cannot_carry_goes_as_text_if_asked_to() -> None:
    order = json.dumps({"order": {"id": 2**53 + 1}})
    assert "localhost:1" in only_line(run("start", "w", "--input", order, "--big-integers", "string", *NOBODY))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.json": "{"}, "a.json:1:2: not JSON"),
        ({"a.json": '{"name": "t", "retryCuont": 3}'}, "retryCuont"),
        ({"a.json": '{"name": "t"}', "b.json": '{"name": "t"}'}, "b.json: $: task 't' is defined twice"),
    ],
)
def test_apply_sends_nothing_if_one_file_is_bad(tmp_path: Path, files: dict[str, str], said: str) -> None:
    paths = [tmp_path / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_text(content)
    # Nobody listens at that address: to have been read before anything is sent, it must be the complaint.
    assert said in only_line(run("apply", *map(str, paths), *NOBODY))


WORKERS = """
from conductor_grpc import worker_task

@worker_task("cli_usage_a")
def a(): pass

@worker_task("cli_usage_b")
def b(): pass
"""


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("0", "'0': expected a whole number of at least 1, or TYPE=N"),
        ("cli_usage_a=", "'cli_usage_a=': expected a whole number"),
        ("cli_usage_c=2", "no worker runs 'cli_usage_c', only cli_usage_a (x1), cli_usage_b (x1)"),
    ],
)
def test_run_with_a_wrong_concurrency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, said: str) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / f"{tmp_path.name}_workers.py"  # a name of its own, since Python keeps what it has imported
    file.write_text(WORKERS)
    result = run("run", str(file), "--concurrency", setting, *NOBODY)
    assert result.exit_code == 2
    assert said in result.stderr


def test_run_with_a_worker_that_needs_a_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    code = "from conductor_grpc import Resource, worker_task\n@worker_task('t')\ndef a(pool: Resource[str]): pass\n"
    (tmp_path / "needing_workers.py").write_text(code)
    line = only_line(run("run", str(tmp_path / "needing_workers.py"), *NOBODY))
    assert line.startswith("Error: worker 't' needs the resource 'pool', and `run` opens none: write a main")


def test_run_with_a_module_that_is_not_there() -> None:
    assert "no module named 'surely_not_there'" in only_line(run("run", "surely_not_there", *NOBODY))


def test_run_with_and_without_a_journal() -> None:
    result = run("run", "surely_not_there", "--journal", "here", "--no-journal", *NOBODY)
    assert result.exit_code == 2
    assert "--journal and --no-journal exclude each other" in result.stderr


def test_the_default_journal_is_the_same_for_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(*workers: WorkerInterface, **settings: str) -> Path:
        return next(default_folders(Configuration(target="unix:///run/c.sock", **settings), workers))

    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    one, other = worker_task("one")(lambda: None), worker_task("other")(lambda: None)
    folder = named(one, other)
    assert folder.parent.parent == Path("/state/conductor-grpc/journal")
    assert folder.parent.name.startswith("unix_run_c.sock-")
    assert named(other, one) == folder
    in_domain = worker_task("one", domain="d")(lambda: None)
    assert len({folder, named(one), named(one, other, domain="d"), named(in_domain)}) == 4
    monkeypatch.setenv("XDG_STATE_HOME", "relative, which the specification ignores")
    monkeypatch.setenv("HOME", "/home/me")
    assert named(one).is_relative_to("/home/me/.local/state/conductor-grpc")


def test_examples_are_found_beside_the_sources() -> None:
    assert (examples.examples_folder() / "definitions").is_dir()


@pytest.mark.parametrize(
    ("definition", "said"), [("", "no definition found"), ('{"name": "t"}', "there is no file"), ("{", "not JSON")]
)
def test_bad_examples_are_told_before_the_server_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, definition: str, said: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the server was started")

    for name in ("embedded_server", "real_server"):
        monkeypatch.setattr(f"conductor_grpc.cli.demo.{name}", never)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "definitions").mkdir()
    if definition:
        (tmp_path / "definitions" / "t.json").write_text(definition)
    assert said in only_line(run("demo", "--examples", str(tmp_path)))


def test_examples_that_are_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("conductor_grpc.__file__", str(tmp_path / "src" / "conductor_grpc" / "__init__.py"))
    with pytest.raises(ConfigurationError, match=r"pass the folder, --examples DIR"):
        examples.examples_folder()
