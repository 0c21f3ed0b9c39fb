"""What a handler is made of: found, counted, refused, before any process is started."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING, Any

import handler_workers
import pytest

from conductor_grpc import (
    Configuration,
    ConfigurationError,
    PollerError,
    TaskHandler,
    TaskPoller,
    WorkerDefinitionError,
    worker_task,
)
from conductor_grpc.worker import discovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOWHERE = Configuration("", target="localhost:1")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with workers in it and below, importable."""
    package = tmp_path / "handler_shop"
    (package / "deep" / "deeper").mkdir(parents=True)
    for name in ("", "deep", "deep/deeper"):
        (package / name / "__init__.py").touch()
    source = "from conductor_grpc import worker_task\n@worker_task('{0}')\ndef {0}(): pass\n"
    (package / "orders.py").write_text(source.format("order"))
    (package / "deep" / "bills.py").write_text(source.format("bill") + "from handler_shop.orders import order\n")
    (package / "deep" / "deeper" / "notes.py").write_text(source.format("note"))
    (package / "__main__.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "handler_shop"]:
        del sys.modules[name]


def types_of(handler: TaskHandler) -> list[str]:
    return [worker.task_definition_name for worker in handler._workers]


@pytest.mark.feature("conductor-python: discovery of workers")
@pytest.mark.usefixtures("shop")
def test_a_package_is_walked_to_its_end() -> None:
    assert sorted(types_of(TaskHandler(modules=["handler_shop"]))) == ["bill", "note", "order"]
    assert types_of(TaskHandler(modules=["handler_shop.deep.deeper"])) == ["note"]


@pytest.mark.usefixtures("shop")
def test_a_worker_that_is_found_twice_runs_once() -> None:
    handler = TaskHandler([handler_workers.pid], modules=["handler_shop.orders", "handler_shop.deep", "handler_shop"])
    assert sorted(types_of(handler)) == ["bill", "note", "order", "pid"]


@pytest.mark.usefixtures("shop")
def test_a_module_below_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "handler_shop" / "deep" / "bad.py").write_text("1 / 0\n")
    with pytest.raises(WorkerDefinitionError, match=r"importing handler_shop\.deep\.bad fails: ZeroDivisionError"):
        TaskHandler(modules=["handler_shop"])


def give_entry_points(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    known = EntryPoints(points)
    monkeypatch.setattr(discovery.importlib.metadata, "entry_points", lambda group: known.select(group=group))


@pytest.mark.feature("conductor-python: discovery of workers")
@pytest.mark.usefixtures("shop")
def test_entry_points_name_modules_and_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    give_entry_points(
        monkeypatch,
        EntryPoint("b", "handler_shop.deep.bills:bill", discovery.ENTRY_POINTS),
        EntryPoint("a", "handler_shop.deep.deeper", discovery.ENTRY_POINTS),
        EntryPoint("other", "handler_shop.orders", "another.group"),
    )
    assert types_of(TaskHandler(entry_points=discovery.ENTRY_POINTS)) == ["note", "bill"]


def test_an_entry_point_without_workers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give_entry_points(monkeypatch, EntryPoint("mine", "surely_not_there", discovery.ENTRY_POINTS))
    with pytest.raises(WorkerDefinitionError, match=r"entry point 'mine' of .*no module named 'surely_not_there'"):
        TaskHandler(entry_points=discovery.ENTRY_POINTS)
    with pytest.raises(WorkerDefinitionError, match=r"entry points of the group 'no\.such'.*pyproject\.toml"):
        TaskHandler(entry_points="no.such")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "there are no workers: give a list"),
        ({"workers": []}, "there are no workers"),
        ({"workers": handler_workers.pid}, "expected a list"),
        ({"workers": "shop.workers"}, r"workers is 'shop\.workers', expected a list: workers=\[my_worker\]"),
        ({"workers": NOWHERE}, r"workers is Configuration\(.*, expected a list"),
        ({"modules": "one"}, "modules is 'one', expected a list"),
        ({"modules": [7]}, "modules has 7, expected names of modules"),
        ({"workers": [7]}, "7 is not a worker"),
        ({"middleware": 7}, "has the middleware 7, expected a list"),
        ({"resources": 7}, "resources is 7, expected a dict"),
        ({"resources": ["pool"]}, r"resources is \['pool'\], expected a dict"),
        ({"workers": [handler_workers.Unpicklable()]}, r"'unpicklable' cannot be sent to another process.*lock"),
        ({"workers": [worker_task("local")(lambda: None)]}, r"'local' cannot be sent to another process"),
        ({"middleware": [lambda context, call: call(context)]}, r"middleware 0, <function .*cannot be sent to another"),
        ({"resources": {"pool": lambda: None}}, r"resource 'pool', <function .*cannot be sent to another process"),
    ],
)
def test_what_cannot_run_is_refused_at_construction(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkerDefinitionError, match=said):
        TaskHandler(**{"workers": [handler_workers.pid], "configuration": NOWHERE, **arguments}) if arguments else (
            TaskHandler()
        )


@pytest.mark.parametrize("workers", [7, handler_workers.pid, None, []])
def test_a_poller_refuses_what_is_no_list(workers: Any) -> None:
    with pytest.raises(WorkerDefinitionError, match=r"workers is .*, expected a list of at least one worker"):
        TaskPoller(workers, NOWHERE)


class LockedStorage:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def upload(self, *_: object) -> None: ...

    def download(self, *_: object) -> None: ...


@pytest.mark.parametrize("made", [TaskPoller, TaskHandler])
def test_settings_of_another_kind_are_named(made: Callable[..., object]) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration is 'here:8090', expected a Configuration\(\.\.\.\)"):
        made([handler_workers.pid], "here:8090")
    with pytest.raises(
        ConfigurationError, match=r"metrics_settings is \{'directory': '\.'\}, expected a MetricsSettings"
    ):
        made([handler_workers.pid], NOWHERE, metrics_settings={"directory": "."})


def test_a_configuration_that_cannot_travel_is_refused() -> None:
    configuration = NOWHERE.with_changes(external_payload_storage=LockedStorage())
    with pytest.raises(ConfigurationError, match=r"the configuration cannot be sent to another process.*lock"):
        TaskHandler([handler_workers.pid], configuration)


@pytest.mark.parametrize(
    ("processes", "said"),
    [
        (0, "processes is 0, expected a whole number"),
        (True, "processes is True"),
        ({"pid": 1.5}, r"processes\['pid'\] is 1\.5"),
        ({"pdi": 2}, r"processes has 'pdi', and no worker runs that, only 'pid'"),
    ],
)
def test_numbers_that_are_none(processes: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        TaskHandler([handler_workers.pid], NOWHERE, processes=processes)


def test_the_number_of_processes_by_task_type() -> None:
    handler = TaskHandler([handler_workers.pid, handler_workers.crash], NOWHERE, processes={"crash": 3})
    assert handler._numbers == [1, 3]


def test_a_stop_before_the_start_is_harmless_and_final() -> None:
    handler = TaskHandler([handler_workers.pid], NOWHERE)
    assert handler.health().reasons == ("the handler is not started",)
    assert handler.stop_processes().processes == ()
    assert handler.stop_processes().exit_code == 0
    assert handler.health().state == "stopped"
    with pytest.raises(PollerError, match="was stopped and cannot be started again"):
        handler.start_processes()


def test_a_join_before_the_start_says_what_is_missing() -> None:
    with pytest.raises(PollerError, match=r"call start_processes\(\) first"):
        TaskHandler([handler_workers.pid], NOWHERE).join_processes()


def test_entering_starts_nothing() -> None:
    with TaskHandler([handler_workers.pid], NOWHERE) as handler:
        assert handler.health().processes == ()


def test_a_main_module_that_starts_a_handler_when_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = TaskHandler([handler_workers.pid], NOWHERE)
    monkeypatch.setattr(multiprocessing.process.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(
        WorkerDefinitionError, match=r'has imported the program.s main module.*if __name__ == "__main__"'
    ):
        handler.start_processes()
