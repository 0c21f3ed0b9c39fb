"""Whether the server reads what a worker puts into the external payload storage.

A path that the server cannot follow is accepted with the result and stops its workflow for good: it stays RUNNING,
nothing of it is scheduled any more, and it cannot even be terminated (seen on 3.32.1). So before the first path is
sent, the server is asked, in a way that does no harm if it fails.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final, TypeVar

from conductor_grpc.clients.workflow import WorkflowClient
from conductor_grpc.errors import ErrorKind, ExternalPayloadError, ServerError
from conductor_grpc.payload.external.access import write_payload
from conductor_grpc.payload.external.document import to_document
from conductor_grpc.transport.server_version import LeaseSupport, lease_support

if TYPE_CHECKING:
    from collections.abc import Callable

    from conductor_grpc.configuration import Configuration
    from conductor_grpc.payload.external import ExternalPayloadStorage
    from conductor_grpc.transport.channel import Channel
    from conductor_grpc.transport.rest import RestClient

T = TypeVar("T")

logger = logging.getLogger(__name__)

WORKFLOW: Final = "conductor_grpc_storage_check"

UNREACHABLE: Final = (ErrorKind.UNAVAILABLE, ErrorKind.THROTTLED)
"""Failures that say nothing about the storage."""

PATIENCE: Final = 300.0
"""Seconds that a finished task waits for a server that is not there; then it fails, and is retried."""

LOOK_FIRST: Final = 0.2
LOOK_LIMIT: Final = 5.0

_DEFINITION: Final = {
    "name": WORKFLOW,
    "version": 1,
    "schemaVersion": 2,
    "ownerEmail": "conductor-grpc@example.com",
    "timeoutPolicy": "ALERT_ONLY",
    "timeoutSeconds": 0,
    "tasks": [
        {
            "name": "echo",
            "taskReferenceName": "echo",
            "type": "TERMINATE",
            "inputParameters": {"terminationStatus": "COMPLETED", "workflowOutput": "${workflow.input}"},
        }
    ],
}


class StorageCheck:
    """Asks the server once to read what was stored here. Thread-safe.

    By a workflow without workers, started with its input in the storage and removed afterwards: a server that cannot
    read the input refuses the start and keeps nothing of it.
    """

    def __init__(
        self,
        storage: ExternalPayloadStorage,
        configuration: Configuration,
        channel: Channel,
        rest: RestClient | None = None,
    ) -> None:
        self._storage = storage
        self._channel = channel
        self._rest = rest
        self._workflows = WorkflowClient(configuration, channel=channel)
        self._lock = threading.Lock()
        self._passed = False

    def __call__(self) -> None:
        """Return if the server reads the storage. Blocks, also while the server is away.

        Raises ExternalPayloadError, each time anew: somebody may set it right meanwhile.
        """
        if self._passed:
            return
        end = time.monotonic() + PATIENCE  # from here, so that those who wait in line do not wait for each other's
        with self._lock:
            if not self._passed:
                self._ask(end)
                self._passed = True

    def _ask(self, end: float) -> None:
        name = type(self._storage).__name__
        support = _patiently(lambda: lease_support(self._channel, self._rest), end)
        if support is not LeaseSupport.YES:
            raise ExternalPayloadError(
                f"the output was not sent: {support.value}, and servers before 3.32.0 drop an output in external"
                " storage without a word"
            )
        token = str(uuid.uuid4())
        path = write_payload(self._storage, "workflow/input", token, to_document({"token": token}))
        try:
            workflow_id = _patiently(
                lambda: self._workflows.start(
                    WORKFLOW, workflow_definition=_DEFINITION, external_input_payload_storage_path=path
                ),
                end,
            )
        except ServerError as error:
            logger.error("the server cannot read what %s stores: %s", name, error)  # noqa: TRY400 - no traceback helps
            raise ExternalPayloadError(
                f"the server cannot read what {name} stores, so the output was not sent: configure both to use the"
                f" same storage (conductor.external-payload-storage... of the server). It says: {error.details}",
                path,
            ) from error
        try:
            self._workflows.remove(workflow_id, archive=False)
        except ServerError as error:
            logger.info("workflow %s, which checked the external storage, could not be removed: %s", workflow_id, error)


def _patiently(call: Callable[[], T], end: float) -> T:
    """What `call` returns, tried again until `end` while the server is away. Raises ServerError."""
    delay = LOOK_FIRST
    while True:
        try:
            return call()
        except ServerError as error:
            if error.kind not in UNREACHABLE or time.monotonic() > end:
                raise
        time.sleep(delay * random.uniform(0.8, 1.2))
        delay = min(LOOK_LIMIT, 2 * delay)
