"""Options of workers from the environment, so that a deployment changes them without touching the code.

`CONDUCTOR_WORKER_RESIZE_CONCURRENCY=8` is for the type `resize`, `CONDUCTOR_WORKER_ALL_CONCURRENCY=8` for all workers
that have none of their own. See docs/executors.md.
"""

from __future__ import annotations

import logging
import math
import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from conductor_grpc.errors import ConfigurationError
from conductor_grpc.worker.interface import OPTIONS, WorkerInterface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

logger = logging.getLogger(__name__)

PREFIX: Final = "CONDUCTOR_WORKER_"
ALL: Final = "ALL"

PAUSED: Final = "paused"
"""The one option here that a worker does not have: whether its poller starts with it paused."""


class Setting(NamedTuple):
    """An option that can be set, by its own name or by that which conductor-python has for it."""

    option: str
    names: tuple[str, ...]
    """The first wins."""
    parse: Callable[[str], Any]
    """Raises ValueError."""
    expected: str


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def _flag(text: str) -> bool:
    values = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.lower() not in values:
        raise ValueError
    return values[text.lower()]


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


_FLAG: Final = "true or false"

SETTINGS: Final = (
    Setting("concurrency", ("CONCURRENCY", "THREAD_COUNT"), _count, "a whole number of at least 1"),
    Setting("domain", ("DOMAIN",), _name, "the name of a task domain"),
    Setting("lease", ("LEASE", "LEASE_EXTEND_ENABLED"), _flag, _FLAG),
    Setting("cancellation_grace", ("CANCELLATION_GRACE",), _seconds, "a number of seconds of at least 0"),
    Setting("register", ("REGISTER", "REGISTER_TASK_DEF"), _flag, _FLAG),
    Setting(PAUSED, ("PAUSED",), _flag, _FLAG),
)

_FOREIGN: Final = re.compile(
    # A setting of conductor-python for all of a program, and what Kubernetes tells of a service `conductor-worker-...`.
    rf"{PREFIX}(ISOLATION|(.*_)?SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class DeployedWorker(WorkerInterface):
    """Stands in for a worker, with options of the environment in place of its own. What runs is the worker itself,
    which stays as it was."""

    paused: bool
    """Whether its poller starts with it paused."""

    def __init__(self, worker: WorkerInterface, changed: Mapping[str, Any]) -> None:
        """`changed`: values of SETTINGS by option."""
        self.worker = worker
        self.resource_names = worker.resource_names
        self.paused = changed.get(PAUSED, False)
        options = {name: changed.get(name, getattr(worker, name)) for name in OPTIONS}
        super().__init__(worker.task_definition_name, **options)

    @property
    def execute(self) -> Any:
        """The worker's own method, for what kind of a function it is decides what runs it."""
        return self.worker.execute

    def __repr__(self) -> str:
        return repr(self.worker)

    def __reduce__(self) -> tuple[Any, ...]:
        # The worker pickles as it always does, perhaps by its name; its other options need not be able to.
        return DeployedWorker, (self.worker, {each.option: getattr(self, each.option) for each in SETTINGS})


def deployed(workers: Sequence[WorkerInterface]) -> list[WorkerInterface]:
    """The workers, which were checked, with what this process's environment sets for them.

    Raises:
        ConfigurationError: As `apply_environment`.
    """
    # Those that stand in already have been through this, here or in the process that sent them.
    if all(isinstance(worker, DeployedWorker) for worker in workers) or not _variables(os.environ):
        return list(workers)
    return list(apply_environment(workers, os.environ))


def apply_environment(workers: Sequence[WorkerInterface], environment: Mapping[str, str]) -> list[DeployedWorker]:
    """A stand-in for each worker, with what `environment` sets for it. Variables that set nothing here are named in a
    warning.

    Raises:
        ConfigurationError: A variable has no usable value, or may be meant for two different types.
    """
    variables = _variables(environment)
    owners = _owners(workers)
    values: dict[str, Any] = {}
    for scope, of in owners.items():
        for setting in SETTINGS:
            for key in (f"{PREFIX}{scope}_{name}" for name in setting.names):
                if key in variables:
                    values[key] = _parsed(setting, *variables[key])
                    _check_owner(variables[key][0], of)
    unused = [name for key, (name, _) in variables.items() if key not in values and not _FOREIGN.fullmatch(key)]
    if workers:
        _warn(unused, owners)
    return [_with_values(worker, values, variables) for worker in workers]


def normalized(name: str) -> str:
    """What counts of a variable's or a task type's name: `resize-image` is `RESIZE_IMAGE`."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


def _variables(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name and value of each variable that may be meant for workers, by its normalized name. Empty ones are unset."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in environment.items():
        key = normalized(name)
        if not value or not key.startswith(PREFIX):
            continue
        other, before = found.setdefault(key, (name, value))
        if before != value:
            raise ConfigurationError(
                f"{name} is {value!r} and {other} is {before!r}, which set the same: unset one of them"
            )
    return found


def _owners(workers: Sequence[WorkerInterface]) -> dict[str, list[str]]:
    """Whom a variable is for, in words, by the middle of its normalized name: more than one if that cannot be told."""
    owners = {ALL: ["all workers"]}
    for task_type in dict.fromkeys(worker.task_definition_name for worker in workers):
        owners.setdefault(normalized(task_type), []).append(f"the task type {task_type!r}")
    return owners


def _check_owner(name: str, owners: Collection[str]) -> None:
    if len(owners) > 1:
        raise ConfigurationError(
            f"{name} may be meant for {' or '.join(owners)}: unset it, and set the option in the code"
        )


def _parsed(setting: Setting, name: str, value: str) -> Any:
    try:
        return setting.parse(value.strip())
    except ValueError:
        raise ConfigurationError(f"{name} is {value!r}, expected {setting.expected}") from None


def _with_values(
    worker: WorkerInterface, values: Mapping[str, Any], variables: Mapping[str, tuple[str, str]]
) -> DeployedWorker:
    if isinstance(worker, DeployedWorker):
        return worker
    changed, told = {}, []
    scopes = (normalized(worker.task_definition_name), ALL)
    for setting in SETTINGS:
        keys = (f"{PREFIX}{scope}_{name}" for scope in scopes for name in setting.names)
        key = next((key for key in keys if key in values), None)
        if key is not None:
            changed[setting.option] = values[key]
            told.append(f"{setting.option} {values[key]!r} by {variables[key][0]}")
    if told:
        logger.info("worker %r has %s", worker.task_definition_name, ", ".join(told))
    return DeployedWorker(worker, changed)


def _warn(names: Sequence[str], scopes: Collection[str]) -> None:
    """Of variables that set nothing: a slip of the pen must not go unnoticed."""
    if not names:
        return
    known = [f"{PREFIX}{scope}_{name}" for scope in scopes for setting in SETTINGS for name in setting.names]
    import difflib  # rarely needed

    for name in names:
        near = difflib.get_close_matches(normalized(name), known, 1, 0.85)
        logger.warning(
            "%s sets nothing: it is no option of a worker that runs here. %s",
            name,
            f"Is it {near[0]} that is meant?"
            if near
            else f"Expected {PREFIX}<TASK TYPE>_ or {PREFIX}{ALL}_, and one of "
            + ", ".join(setting.names[0] for setting in SETTINGS),
        )
