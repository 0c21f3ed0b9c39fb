"""The task definitions of the workers: are they there, and what happens to a task whose worker is gone?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conductor_grpc.doctor.finding import Finding, error, note, ok, warning
from conductor_grpc.doctor.integers import may_hold_integer
from conductor_grpc.errors import WorkerDefinitionError
from conductor_grpc.registration import Outcome, Registrar, declared_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conductor_grpc.doctor.setup import Setup
    from conductor_grpc.registration import Declared

AN_HOUR: Final = 3600
"""Seconds; the server's default for a response timeout."""


def check(setup: Setup) -> Iterator[Finding]:
    """One finding at least for each task type."""
    try:
        declarations = declared_by(setup.workers)
    except WorkerDefinitionError as failure:
        yield error(
            "definition.conflict",
            str(failure),
            "one definition for each task type",
            "correct the workers; what concerns their definitions was not looked at",
        )
        return
    for declared in declarations:
        wrong = list(_of_type(setup, declared))
        response = _seconds(setup.definition(declared.name) or {}, _RESPONSE)
        yield from wrong or [ok("definition", f"{declared.name}: response timeout {response} s")]
    yield from _leases(setup)


def _of_type(setup: Setup, declared: Declared) -> Iterator[Finding]:
    """What is wrong with one of them."""
    definition = setup.definition(declared.name)
    only = None if definition is None else _only_over(setup, declared.name)
    if definition is None:
        yield _missing(declared)
    elif only is not None:
        yield error(
            "definition.other-server",
            f"only over {only} there is a definition of task type {declared.name!r}",
            "gRPC and REST of one server",
            f"--target {setup.configuration.target} and --base-url {setup.configuration.base_url}: correct one",
        )
    else:
        yield from _difference(setup, declared)
        leased = all(each.lease for each in setup.workers if each.task_definition_name == declared.name)
        yield from _timeouts(declared.name, definition, setup.apply_command(declared.name), leased=leased)


def _missing(declared: Declared) -> Finding:
    found = f"the server has no definition of task type {declared.name!r}"
    if declared.register:
        return note("definition.registers", f"{found}; the worker makes it when it starts (register=True)")
    return error(
        "definition.missing",
        found,
        "one for each worker: retries and timeouts are in it",
        f"correct the name, or conductor-grpc apply --from {declared.module or 'MODULE'}",
    )


def _difference(setup: Setup, declared: Declared) -> Iterator[Finding]:
    if declared.definition is None:
        return
    if setup.rest is None and setup.definition_over_grpc(declared.name) is None:
        return  # to be told whether it is there, the server would be asked by a workflow
    with Registrar(setup.configuration, channel=setup.channel, rest=setup.rest) as registrar:
        outcome = registrar.register_declared(declared, dry_run=True)
    if outcome.outcome is Outcome.DIFFERS:
        yield warning(
            "definition.differs",
            f"{declared.name}: {'; '.join(outcome.lines())}",
            "the definition that the worker declares",
            setup.apply_command(declared.name),
        )


def _only_over(setup: Setup, task_type: str) -> str | None:
    """Over which of the two a definition is seen that the other does not show: they lead to different servers."""
    if setup.rest is None:
        return None
    over_grpc, by_rest = setup.definition_over_grpc(task_type), setup.definition_over_rest(task_type)
    if over_grpc is not None:
        return "gRPC" if by_rest is None else None
    # Over gRPC one with an integer looks like one that is not there.
    return "REST" if by_rest is not None and not may_hold_integer(by_rest.get("inputTemplate")) else None


_RESPONSE: Final = "responseTimeoutSeconds"
_TOTAL: Final = "timeoutSeconds"


def _seconds(definition: Mapping[str, object], name: str) -> int:
    value = definition.get(name)
    return int(value) if isinstance(value, (int, float)) else 0


def _timeouts(task_type: str, definition: Mapping[str, object], apply: str, *, leased: bool) -> Iterator[Finding]:
    response, total = _seconds(definition, _RESPONSE), _seconds(definition, _TOTAL)
    short = "about 60, since leases of tasks that take longer are extended" if leased else "what the longest task takes"
    remedy = f"set {_RESPONSE} to {short}; then {apply}"
    if response == 0:
        yield warning(
            "definition.response-timeout",
            f"{task_type}: {_RESPONSE} is 0: a task whose worker is gone waits for ever",
            f"less than {AN_HOUR}, and more than 0",
            remedy,
        )
    elif response >= AN_HOUR:
        yield warning(
            "definition.response-timeout",
            f"{task_type}: {_RESPONSE} is {response}: a task whose worker is gone waits for {_hours(response)}",
            f"less than {AN_HOUR}",
            remedy,
        )
    if 0 < total < response:
        yield warning(
            "definition.timeouts",
            f"{task_type}: {_RESPONSE} {response} is more than {_TOTAL} {total}, so it never counts",
            f"{_RESPONSE} below {_TOTAL}",
            f"lower the one or raise the other; then {apply}",
        )
    if definition.get("timeoutPolicy") == "RETRY" and _seconds(definition, "retryCount") == 0:
        yield warning(
            "definition.timeouts",
            f"{task_type}: timeoutPolicy is RETRY and retryCount 0, so a task whose worker is gone fails its workflow",
            "retryCount of 1 or more, or another policy",
            f"set retryCount; then {apply}",
        )


def _hours(seconds: int) -> str:
    hours = seconds / AN_HOUR
    return "an hour" if hours == 1 else f"{hours:.3g} hours"


def _leases(setup: Setup) -> Iterator[Finding]:
    for worker in setup.workers:
        definition = setup.definition(worker.task_definition_name)
        response = 0 if definition is None else _seconds(definition, _RESPONSE)
        if not worker.lease and response:
            yield note(
                "definition.lease-off",
                f"{worker.task_definition_name}: leases are not extended (lease=False), so a task that takes longer"
                f" than {response} s runs elsewhere as well",
                f"tasks that take less than {response} s",
                "leave lease=False out, or raise the response timeout",
            )
