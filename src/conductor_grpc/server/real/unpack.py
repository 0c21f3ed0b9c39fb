"""The server's jar, unpacked once: Java starts it in less than half the time.

The jar holds 486 jars. From inside it, each class goes through Spring's own nested-jar loader; with the same
jars beside each other in a folder, Java's own loader does it. Spring Boot's tool for that comes in the jar.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.real.cache import exclusive, staging
from conductor_grpc.server.real.jar import ARTIFACT, SHA256, VERSION, Progress, Step
from conductor_grpc.server.real.java import QUICK_START
from conductor_grpc.server.real.server_log import telling_line

_APPLICATION = "server.jar"

_log = logging.getLogger(__name__)


def unpacked() -> Path | None:
    """The small jar that :func:`unpack` has made before, which starts without the packed one; else None."""
    application = _folder() / _APPLICATION
    return application if application.exists() else None


def unpack(jar: Path, java: Path, report: Progress) -> Path:
    """Path of a small jar that starts the same server; needs 440 MB in the user's cache folder, once.

    The folder is ``XDG_CACHE_HOME`` (else ``~/.cache``) ``/conductor-grpc``. The jar must be a verified one.
    Blocks for seconds; several processes may call it at once, one of them unpacks.
    When it cannot be unpacked (no room, read-only) the jar itself is returned, which starts too, only slower.
    """
    folder = _folder()
    try:
        with exclusive(folder.parent, lambda: report(Step.WAIT, 0, 0)):
            if not unpacked():
                report(Step.UNPACK, 0, 0)
                _extract(jar, java, folder)
    except (OSError, LauncherError) as error:
        _log.warning("cannot unpack the server into %s, it will start slowly: %s", folder, error)
        return jar
    return folder / _APPLICATION


def _folder() -> Path:
    """Named after all that decides what is in it, for it outlives this package."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    return cache / "conductor-grpc" / f"{ARTIFACT}-{VERSION}-{SHA256[:12]}-jarmode-tools"


def _extract(jar: Path, java: Path, folder: Path) -> None:
    with staging(folder.parent) as temporary:
        fresh, output = temporary / "server", temporary / "output"
        tool = [str(java), *QUICK_START, "-Djarmode=tools", "-jar", str(jar), "extract"]
        options = ["--destination", str(fresh), "--application-filename", _APPLICATION]
        with output.open("wb") as file:
            code = subprocess.call([*tool, *options], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        if code != 0:
            raise LauncherError(f"its tool ended with exit code {code}: {telling_line(output)}")
        shutil.rmtree(folder, ignore_errors=True)  # one from which somebody has deleted files
        fresh.rename(folder)
