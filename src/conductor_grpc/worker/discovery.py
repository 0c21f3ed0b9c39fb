"""From the name of a module, a file or an entry point to workers."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import logging
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.worker.interface import WorkerInterface, check_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import EntryPoint
    from types import ModuleType

logger = logging.getLogger(__name__)

_OURS: Final = {__name__.partition(".")[0], "importlib", "_frozen_importlib", "_frozen_importlib_external"}
"""Packages whose lines say nothing about what is wrong with a user's module."""


ENTRY_POINTS: Final = "conductor_grpc.workers"
"""The group of entry points in which a distribution names its workers."""


def find_workers(where: str, calling: Callable[[str], object] | None = None) -> list[WorkerInterface]:
    """Imports a module and returns its workers, each once, in the order in which it defines them.

    Args:
        where: A dotted module name or the path of a `.py` file, alone or with `:name`. The current folder, or the
            file's, is importable from then on. Alone it means all workers, and lists of them, at the top level of
            the module, and of a package those of all modules in it and below; a name means that worker, or list, or
            callable that returns the one or the other.
        calling: Told the name of such a callable before it is called; None: it is logged.

    Raises:
        WorkerDefinitionError: There is no such module or name, importing it fails, or it has no workers.
    """
    module_name, _, name = where.partition(":")
    module = _import(module_name)
    workers = _named(module, name, calling) if name else _all(module)
    if not workers:
        raise WorkerDefinitionError(f"{module_name} has no workers: {_remedy(module)}")
    return [check_worker(worker) for worker in workers]


def find_entry_points(group: str = ENTRY_POINTS) -> list[WorkerInterface]:
    """The workers that installed distributions name as entry points of this group, in the order of their names.

    Each names a module, or in a module a worker, a list of workers, or a callable that returns the one or the other.

    Raises:
        WorkerDefinitionError: There is none, or one has no workers.
    """
    points = sorted(importlib.metadata.entry_points(group=group), key=lambda point: (point.name, point.value))
    if not points:
        raise WorkerDefinitionError(
            f"no installed distribution has entry points of the group {group!r}: in its pyproject.toml, under"
            f" [project.entry-points.{group!r}], a line like orders = 'shop.workers'; then install it again"
        )
    return each_once(worker for point in points for worker in _workers_of(point))


def _workers_of(point: EntryPoint) -> list[WorkerInterface]:
    try:
        return find_workers(point.value.partition("[")[0].replace(" ", ""))
    except WorkerDefinitionError as error:
        raise WorkerDefinitionError(f"entry point {point.name!r} of the group {point.group!r}: {error}") from error


def each_once(workers: Iterable[WorkerInterface]) -> list[WorkerInterface]:
    """The same without those that came before."""
    return list({id(worker): worker for worker in workers}.values())


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or os.sep in name:
        return _import_file(Path(name))
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(name, error) from error
        raise WorkerDefinitionError(
            f"no module named {name!r} here or installed{_suggest(name, _modules_here(name))}; expected a dotted name"
            " or the path of a .py file"
        ) from error
    except (ValueError, TypeError) as error:  # what import_module says to "" and to ".relative"
        raise WorkerDefinitionError(
            f"{name!r} is no name of a module: expected a dotted name, or a .py file"
        ) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        # Stems, since ".py" alone makes any two short names alike.
        siblings = [each.stem for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise WorkerDefinitionError(f"there is no file {path}{_suggest(path.stem, siblings, path.suffix)}")
    _make_importable(path.parent)
    try:
        module = importlib.import_module(path.stem)
    except (Exception, SystemExit) as error:
        raise _broken(path.name, error) from error
    if module.__file__ is None or Path(module.__file__).resolve() != path:
        raise WorkerDefinitionError(
            f"{path.name} cannot be imported: Python has another module named {path.stem!r}. Rename the file"
        )
    return module


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _broken(name: str, error: BaseException) -> WorkerDefinitionError:
    """A module that exists but raises: where and why, for the traceback is one line here."""
    logger.debug("importing %s failed", name, exc_info=error)
    text, place = str(error), _place(error)
    if isinstance(error, SyntaxError):
        text, place = error.msg, f" ({error.filename}, line {error.lineno})"  # its str() has the place, too
    return WorkerDefinitionError(f"importing {name} fails: {type(error).__name__}: {text}{place}")


def _place(error: BaseException) -> str:
    """The last line of code that is not ours: ` (file, line 3)`; "" where there is none."""
    places = [
        f" ({frame.f_code.co_filename}, line {line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in _OURS
    ]
    return places[-1] if places else ""


def _all(module: ModuleType) -> list[Any]:
    found: list[WorkerInterface] = []
    for each in _with_those_below(module):
        for value in list(vars(each).values()):
            group = value if isinstance(value, (list, tuple)) else [value]
            if all(isinstance(worker, WorkerInterface) for worker in group):
                found += group
    return each_once(found)


def _with_those_below(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for below in pkgutil.iter_modules(getattr(module, "__path__", [])):
        # Not the package as a program, which importing would run.
        if below.name != "__main__":
            yield from _with_those_below(_import(f"{module.__name__}.{below.name}"))


def _named(module: ModuleType, name: str, calling: Callable[[str], object] | None) -> list[Any]:
    try:
        value = getattr(module, name)
    except AttributeError:
        names = [key for key in vars(module) if not key.startswith("_")]
        remedy = _suggest(name, names) or f"; {_inside(module)}"
        raise WorkerDefinitionError(f"{module.__name__} has no {name!r}{remedy}") from None
    if not isinstance(value, (WorkerInterface, type)) and callable(value):
        value = _made_by(value, f"{module.__name__}:{name}", calling)
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value]


def _made_by(function: Callable[[], object], name: str, calling: Callable[[str], object] | None) -> object:
    # It may be a main that polls by itself, and then nothing else would say why no worker of ours runs.
    if calling is None:
        logger.info("calling %s for its workers", name)
    else:
        calling(name)
    try:
        made = function()
    except Exception as error:
        logger.debug("%s() failed", name, exc_info=True)
        raise WorkerDefinitionError(f"{name}() fails: {type(error).__name__}: {error}{_place(error)}") from error
    if not isinstance(made, (WorkerInterface, list, tuple)):
        raise WorkerDefinitionError(f"{name}() returned {made!r}, expected a worker or a list of workers")
    return made


def _remedy(module: ModuleType) -> str:
    classes = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, WorkerInterface) and value.__module__ == module.__name__
    ]
    if classes:
        return f"it has the class {classes[0]}, so add at its top level: workers = [{classes[0]}('TASK_TYPE')]"
    return (
        "decorate a function with @worker_task('TASK_TYPE'), or make an instance of a WorkerInterface at its top level"
    )


def _inside(module: ModuleType) -> str:
    below = [f"{module.__name__}.{each.name}" for each in pkgutil.iter_modules(getattr(module, "__path__", []))]
    if below:
        return f"it is a package, so name a module of it: {', '.join(below)}"
    workers = [key for key, value in vars(module).items() if isinstance(value, WorkerInterface)]
    return f"its workers are {', '.join(workers) or 'none'}"


def _modules_here(name: str) -> list[str]:
    parent = name.rpartition(".")[0]
    folder = Path.cwd().joinpath(*parent.split(".")) if parent else Path.cwd()
    prefix = f"{parent}." if parent else ""
    return [each.name for each in pkgutil.iter_modules([str(folder)], prefix)]


def _suggest(name: str, known: Iterable[str], suffix: str = "") -> str:
    close = [each + suffix for each in difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""
