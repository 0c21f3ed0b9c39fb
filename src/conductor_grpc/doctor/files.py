"""Where a poller writes to: folders, a port, a storage."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from typing import TYPE_CHECKING, Final

from conductor_grpc.doctor.finding import Finding, error, ok, warning
from conductor_grpc.payload.external import FilesystemPayloadStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conductor_grpc.doctor.setup import Setup
    from conductor_grpc.observe import MetricsSettings
    from conductor_grpc.payload.external import ExternalPayloadStorage


def why_not_writable(folder: Path) -> str | None:
    """What the system says to a file in it, or to making it; None if that works. Leaves nothing behind."""
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        if existing == folder:
            with tempfile.TemporaryFile(dir=folder):
                return None
        os.rmdir(tempfile.mkdtemp(prefix="conductor-grpc-", dir=existing))  # noqa: PTH106 - a string, as made
    except OSError as failure:
        return failure.strerror or str(failure)
    return None


def check_metrics(setup: Setup) -> Iterator[Finding]:
    """The folder of the metrics file, and the port."""
    settings = setup.metrics_settings
    if settings is None:
        return
    problems = [*_metrics_file(settings), *_metrics_port(settings)]
    yield from problems
    if not problems:
        places = [str(settings.file)] if settings.file else []
        places += [f"port {settings.http_port}"] if settings.http_port else []
        yield ok("metrics", f"{' and '.join(places)} can be used")


def _metrics_file(settings: MetricsSettings) -> Iterator[Finding]:
    problem = None if settings.file is None else why_not_writable(settings.file.parent)
    if problem is not None:
        yield warning(
            "metrics.folder",
            f"{settings.file} cannot be written: {problem}",
            "a folder that this user may write to, or make",
            "choose another: --metrics-dir DIR",
        )


def _metrics_port(settings: MetricsSettings) -> Iterator[Finding]:
    if settings.http_port is None:
        return
    try:
        socket.create_server((settings.http_host, settings.http_port)).close()
    except OSError as failure:
        yield warning(
            "metrics.port",
            f"nothing can listen at {settings.http_host}:{settings.http_port}: {failure.strerror or failure}",
            "a port that is free",
            "choose another: --metrics-port PORT; all is well if it is in use by the very process that you ask about",
        )


def check_storage(setup: Setup) -> Iterator[Finding]:
    """Whether the external payload storage answers. Whether the server sees the same one only a payload can tell."""
    storage = setup.configuration.external_payload_storage
    if storage is None:
        return
    name = type(storage).__name__
    problem = _folder(storage) if isinstance(storage, FilesystemPayloadStorage) else _answer(storage)
    if problem is None:
        yield ok("storage", f"{name} answers")
        return
    yield error(
        "storage.unreachable",
        f"{name}: {problem}",
        "a storage that server and workers share",
        "correct Configuration(external_payload_storage=...), and conductor.external-payload-storage of the server",
    )


def _folder(storage: FilesystemPayloadStorage) -> str | None:
    if not storage.folder.is_dir():
        return f"the folder {str(storage.folder)!r} does not exist"
    return why_not_writable(storage.folder)


_NOWHERE: Final = "task/output/conductor-grpc-doctor-no-such-payload.json"

_ABSENT: Final = {"NoSuchKey", "404"}
"""How S3 says that it has looked."""


def _answer(storage: ExternalPayloadStorage) -> str | None:
    """What it says to a path that leads nowhere, unless that is that there is nothing."""
    try:
        with contextlib.suppress(FileNotFoundError, KeyError):
            storage.download(_NOWHERE)
    except Exception as failure:  # noqa: BLE001 - a user's storage may raise anything, and is told as it is
        answer = getattr(failure, "response", None)
        if isinstance(answer, dict) and answer.get("Error", {}).get("Code") in _ABSENT:
            return None
        return f"{type(failure).__name__}: {failure}"
    return None
