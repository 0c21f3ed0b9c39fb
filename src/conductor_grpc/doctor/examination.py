"""The checks, one after the other, each with its own time; whatever happens in one, the others are made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator  # noqa: TC003 - of a NamedTuple's fields
from typing import TYPE_CHECKING, Final, NamedTuple

from conductor_grpc.doctor import (
    clock,
    connection,
    definitions,
    files,
    integers,
    journal,
    limits,
    machine,
    queues,
    rest,
    server,
    worker_ids,
)
from conductor_grpc.doctor.finding import Finding, Severity, note, told, warning
from conductor_grpc.doctor.setup import Setup
from conductor_grpc.errors import ConductorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.worker import WorkerInterface

logger = logging.getLogger(__name__)

SECONDS: Final = 10.0
"""The time that each check has."""


class Check(NamedTuple):
    """One of them."""

    name: str
    look: Callable[[Setup], Iterator[Finding]]
    needs_server: bool = False
    """Not made where nothing answers over gRPC."""


CHECKS: Final = (
    Check("machine", machine.check),
    Check("grpc", connection.check),
    Check("rest", rest.check),
    Check("version", server.check_version, needs_server=True),
    Check("contract", server.check_contract, needs_server=True),
    Check("clock", clock.check, needs_server=True),
    Check("definition", definitions.check, needs_server=True),
    Check("limit", limits.check, needs_server=True),
    Check("queue", queues.check, needs_server=True),
    Check("integers", integers.check, needs_server=True),
    Check("worker-id", worker_ids.check, needs_server=True),
    Check("journal", journal.check),
    Check("metrics", files.check_metrics),
    Check("storage", files.check_storage),
)
"""In order of dependence."""


def examine(
    configuration: Configuration,
    workers: Sequence[WorkerInterface] | None = None,
    metrics_settings: MetricsSettings | None = None,
    *,
    seconds: float = SECONDS,
    begins: Callable[[str], None] = lambda _name: None,
) -> list[Finding]:
    """Make all checks and return what they say. Blocks, each check for `seconds` at most; raises nothing for a fault.

    Args:
        configuration: That of the poller; its journal and storage are looked at too.
        workers: Those that it would run; their definitions, queues and tasks are looked at. None: all queues are.
        metrics_settings: Those that it would be given.
        seconds: The time that each check has.
        begins: Called with the name of each check before it is made.
    """
    setup = Setup(configuration, workers, metrics_settings, seconds=seconds)
    findings: list[Finding] = []
    skipped: list[str] = []
    try:
        for check in CHECKS:
            if check.needs_server and _fails(findings, "grpc"):
                skipped.append(check.name)
                continue
            begins(check.name)
            findings += _made(check, setup)
    finally:
        setup.close()
    if skipped:
        findings.append(note("skipped", f"not looked at without gRPC: {', '.join(skipped)}"))
    return findings


def _fails(findings: Sequence[Finding], name: str) -> bool:
    """Whether that check has found what makes those that need it pointless."""
    return any(
        each.code.partition(".")[0] == name
        and (each.severity is Severity.ERROR or each.code.endswith((".late", ".failed")))
        for each in findings
    )


def _made(check: Check, setup: Setup) -> list[Finding]:
    """What a check has found by the end of its time."""
    findings: list[Finding] = []
    thread = threading.Thread(target=_look, args=(check, setup, findings), name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(setup.seconds)
    if not thread.is_alive():
        return findings
    return [
        *findings,
        warning(
            f"{check.name}.late",
            f"this check was not done after {setup.seconds:g} s",
            "an answer in that time",
            "check the load of the server and the network between, or give it more time (--timeout)",
        ),
    ]


def _look(check: Check, setup: Setup, findings: list[Finding]) -> None:
    try:
        for finding in check.look(setup):
            findings.append(finding)  # noqa: PERF402 - what there is must count if the time is over, or this raises
    except ConductorError as failure:
        found, advice = told(failure)
        findings.append(_failed(check, found, advice))
    except Exception as failure:
        logger.debug("the check %s met an error that it does not know", check.name, exc_info=True)
        findings.append(_failed(check, f"{type(failure).__name__}: {failure}", ""))


def _failed(check: Check, found: str, advice: str) -> Finding:
    return warning(
        f"{check.name}.failed", found, "an answer to this check", advice or "run it with --debug for the traceback"
    )
