"""Task definitions of workers that ask for it, made on the server while the poller polls already."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

from conductor_grpc.errors import ConductorError, ServerError
from conductor_grpc.poller import planner
from conductor_grpc.poller.part import BackgroundPart
from conductor_grpc.poller.rarely import Rarely
from conductor_grpc.registration import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conductor_grpc.poller.part import DeathHandler
    from conductor_grpc.registration import Declared, Registrar, Registration

logger = logging.getLogger(__name__)


class WorkerRegistration(BackgroundPart):
    """Registers what workers declare, each once, and ends.

    A server that cannot be reached is waited for as long as the poller lives. One that refuses is told of by an error
    in the log; the worker runs all the same, with the definition that the server has or makes up. A definition that is
    there is never changed: where it differs, a warning shows how, and what to do.
    """

    def __init__(self, declared: Iterable[Declared], registrar: Registrar, on_death: DeathHandler) -> None:
        super().__init__("conductor-registration", on_death)
        self._declared = [each for each in declared if each.register]
        self._registrar = registrar
        self._failures = Rarely()
        self._ended = threading.Event()

    def _run(self) -> None:
        left, rounds = self._declared, planner.Memory()
        while True:
            left = [each for each in left if not self.stopping and not self._registered(each)]
            if not left or self.stopping:
                return
            rounds = planner.after_failure(rounds)
            self._ended.wait(planner.pause(rounds, random.random()))

    def _wake(self) -> None:
        self._ended.set()

    def _registered(self, declared: Declared) -> bool:
        """Whether nothing is left to be done for it."""
        try:
            registration = self._registrar.register_declared(declared)
        except ConductorError as error:
            if self.stopping:  # which closes the connection, and did not wait for this
                return True
            if isinstance(error, ServerError) and error.kind.retryable:
                logger.log(self._failures.level(), "registering %r fails and is tried again: %s", declared.name, error)
                return False
            # Without a traceback: it is the server's doing, or the definition's, and the message says all.
            logger.error("task definition %r is not registered: %s", declared.name, error)  # noqa: TRY400
        else:
            _tell(declared, registration)
        return True


def _tell(declared: Declared, registration: Registration) -> None:
    if registration.outcome is Outcome.DIFFERS:
        logger.warning(
            "task definition %r on the server is not that of the worker here, and was left as it is: %s. To replace it:"
            " conductor-grpc apply --from %s --overwrite",
            declared.name,
            "; ".join(registration.lines()),
            declared.module or "MODULE",
        )
    elif registration.outcome is Outcome.CREATED:
        logger.info("task definition %r created", declared.name)
