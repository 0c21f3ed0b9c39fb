"""The server's jar, unpacked once: Java starts it in less than half the time.

The jar holds 486 jars. From inside it, each class goes through Spring's own nested-jar loader; with the same
jars beside each other in a folder, Java's own loader does it (19 s and 7 s until ready on two cores).
"""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.server.cache import exclusive, staging
from conductor_grpc.server.jar import ARTIFACT, SHA256, VERSION, Progress, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAIN_CLASS = "com.netflix.conductor.Conductor"
_CLASSES = "BOOT-INF/classes/"
_LIBRARIES = "BOOT-INF/lib/"
_CLASS_PATH_INDEX = "BOOT-INF/classpath.idx"
_MANIFEST = "META-INF/MANIFEST.MF"
# Spring's loader names itself there as a provider of file systems. Without the loader Java cannot list those, and
# every script (INLINE, javascript of SWITCH, the condition of DO_WHILE) fails.
_LEFT_OUT = (_MANIFEST, "META-INF/BOOT.SF", "META-INF/services/")
_LAYOUT = 2  # counts up whenever what is unpacked changes, for the folder outlives this package
_MANIFEST_LINE = 72  # bytes: the format's limit, continued by a line that starts with a space
_APPLICATION = "server.jar"

_log = logging.getLogger(__name__)


def unpacked(jar: Path, report: Progress) -> Path:
    """Path of a small jar that starts the same server; needs 440 MB in the user's cache folder, once.

    The folder is ``XDG_CACHE_HOME`` (else ``~/.cache``) ``/conductor-grpc``. The jar must be a verified one.
    When it cannot be unpacked (no room, read-only) the jar itself is returned, which starts too, only slower.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conductor-grpc"
    folder = cache / f"{ARTIFACT}-{VERSION}-{SHA256[:12]}-{_LAYOUT}"
    application = folder / _APPLICATION
    try:
        if not application.exists():
            with exclusive(cache, lambda: report(Step.WAIT, 0, 0)):
                if not application.exists():
                    _unpack(jar, folder, report)
    except OSError as error:
        _log.warning("cannot unpack the server into %s, it will start slowly: %s", folder, error)
        return jar
    return application


def _unpack(jar: Path, folder: Path, report: Progress) -> None:
    with staging(folder.parent) as temporary, zipfile.ZipFile(jar) as archive:
        fresh = temporary / "server"
        libraries = fresh / "lib"
        libraries.mkdir(parents=True)
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        total = sum(entry.file_size for entry in entries)
        done = 0
        with zipfile.ZipFile(fresh / _APPLICATION, "w") as application:
            application.writestr(_MANIFEST, _manifest(_class_path(archive)))
            for entry in entries:
                name = entry.filename
                if name.startswith(_LIBRARIES):
                    with archive.open(entry) as source, (libraries / Path(name).name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                elif name.startswith(_CLASSES):
                    application.writestr(name.removeprefix(_CLASSES), archive.read(entry))
                elif name.startswith("META-INF/") and not name.startswith(_LEFT_OUT):
                    application.writestr(name, archive.read(entry))
                done += entry.file_size
                report(Step.UNPACK, done, total)
        shutil.rmtree(folder, ignore_errors=True)  # one from which somebody has deleted files
        fresh.rename(folder)


def _class_path(archive: zipfile.ZipFile) -> Iterator[str]:
    """The libraries in the order of the server's own loader; lines look like ``- "BOOT-INF/lib/x.jar"``."""
    for line in archive.read(_CLASS_PATH_INDEX).decode().splitlines():
        yield line.removeprefix("- ").strip('"').replace(_LIBRARIES, "lib/")


def _manifest(class_path: Iterator[str]) -> bytes:
    lines = [
        "Manifest-Version: 1.0",
        f"Implementation-Title: {ARTIFACT}",
        f"Implementation-Version: {VERSION}",
        f"Main-Class: {_MAIN_CLASS}",
        f"Class-Path: {' '.join(class_path)}",
    ]
    return b"".join(_folded(line.encode()) for line in lines)


def _folded(line: bytes) -> bytes:
    first, rest = line[: _MANIFEST_LINE - 2], line[_MANIFEST_LINE - 2 :]
    step = _MANIFEST_LINE - 3
    parts = [first, *(b" " + rest[start : start + step] for start in range(0, len(rest), step))]
    return b"".join(part + b"\r\n" for part in parts)
