"""The Conductor server's jar: found in the local Maven cache or fetched into it, and verified.

jgo downloads straight into the cache and does not compare what it got with anything we trust. So the
download goes to a private folder beside the final place, is compared with the digest pinned here, and is
renamed only then: whatever interrupts it, the cache holds either the right jar or none.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from conductor_grpc.errors import LauncherError
from conductor_grpc.server.real.cache import exclusive, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jgo.maven import Artifact, Resolver

GROUP = "org.conductoross"
ARTIFACT = "conductor-server"
VERSION = "3.32.1"
CLASSIFIER = "boot"
SHA256 = "f3699a34bb72c35c10469a063392e5de4900bc4568c8a4357a711186d6269d3f"
JAR_VARIABLE = "CONDUCTOR_GRPC_SERVER_JAR"

INSTALL_HINT = (
    "the server launcher needs the extra 'server': in the checkout of conductor-grpc-client, pip install '.[server]'"
)
_COPY_HINT = f"copy the jar to this machine and set {JAR_VARIABLE} to its path"
_READ_SIZE = 1 << 20
_DOWNLOAD_TIMEOUT = 60  # seconds without one byte

_log = logging.getLogger(__name__)


class Step(enum.Enum):
    """What a progress report is about, in words for a terminal."""

    WAIT = "Waiting for another process that fetches the server"
    DOWNLOAD = "Downloading the server"
    VERIFY = "Verifying the server"
    UNPACK = "Unpacking the server"
    START = "Starting the server"


class Progress(Protocol):
    """Told how far a step is, in bytes; 0 of 0 where nobody can tell. Called often, by the asking thread."""

    def __call__(self, step: Step, done: int, total: int) -> None: ...


def silent(step: Step, done: int, total: int) -> None:
    """For those who do not want to know."""
    del step, done, total


def server_jar(report: Progress = silent) -> Path:
    """Absolute path of a verified Conductor 3.32.1 jar; downloads it (458 MB) when the cache does not hold it.

    The cache is Maven's local repository (``M2_REPO``, else ``~/.m2/repository``). The environment variable
    ``CONDUCTOR_GRPC_SERVER_JAR`` names a copy to use instead; it is verified too, but never deleted.
    Blocks for the whole download; several processes may call it at once, one of them fetches.
    Raises LauncherError, its message one line.
    """
    override = os.environ.get(JAR_VARIABLE)
    if override:
        return _overriding_jar(Path(override).absolute(), report)
    cached_path = _artifact(None).cached_path
    assert cached_path is not None
    cached = cached_path.absolute()  # Java runs in another folder
    try:
        if cached.exists() and _is_genuine(cached, report):
            return cached
        with exclusive(cached.parent, lambda: report(Step.WAIT, 0, 0)):
            _fetch_unless_done(cached, report)
    except OSError as error:
        raise LauncherError(
            f"cannot keep the server's jar in {cached.parent}: {error.strerror or error}; "
            f"make room there, or set M2_REPO to another folder"
        ) from error
    return cached


def _overriding_jar(path: Path, report: Progress) -> Path:
    try:
        genuine = _is_genuine(path, report)
    except OSError as error:
        raise LauncherError(f"{JAR_VARIABLE} names {path}, which cannot be read: {error.strerror or error}") from error
    if not genuine:
        raise LauncherError(
            f"{JAR_VARIABLE} names {path}, which is not {ARTIFACT} {VERSION} or is damaged: "
            f"its sha256 is not {SHA256}; copy the jar again"
        )
    return path


def _artifact(resolver: Resolver | None) -> Artifact:
    """The jar's coordinates in jgo, whose log lines stay off the terminal unless the user wants them."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LauncherError(INSTALL_HINT) from error
    logging.getLogger("jgo").addHandler(logging.NullHandler())
    context = MavenContext(resolver=resolver, timeout=_DOWNLOAD_TIMEOUT)
    return context.project(GROUP, ARTIFACT).at_version(VERSION).artifact(CLASSIFIER)


def _is_genuine(jar: Path, report: Progress) -> bool:
    """Whether the file has the pinned digest. Reads half a gigabyte, but a server once unpacked needs no jar."""
    size = jar.stat().st_size
    digest = hashlib.sha256()
    done = 0
    with jar.open("rb") as file:
        while block := file.read(_READ_SIZE):
            digest.update(block)
            done += len(block)
            report(Step.VERIFY, done, size)
    return digest.hexdigest() == SHA256


# -- download --


def _fetch_unless_done(cached: Path, report: Progress) -> None:
    """Called with the lock held, which another process may have had before us."""
    if cached.exists():
        if _is_genuine(cached, report):
            return
        _log.warning("%s does not have the digest of %s %s: fetching it again", cached, ARTIFACT, VERSION)
        cached.unlink()
    with staging(cached.parent) as folder:
        fetched = _download(folder, report)
        if not _is_genuine(fetched, report):
            raise LauncherError(
                f"the repository sent a {ARTIFACT} {VERSION} whose sha256 is not {SHA256}: "
                "it is damaged or not the released one; try again, or from another network"
            )
        fetched.replace(cached)


def _download(folder: Path, report: Progress) -> Path:
    from jgo.maven import PythonResolver

    artifact = _artifact(PythonResolver(progress_callback=_jgo_progress(report)))
    artifact.context.repo_cache = folder
    try:
        return Path(artifact.resolve())
    except OSError as error:  # what requests raises is an OSError without a number
        if error.errno is not None:
            raise
        raise _unreachable(error) from error
    except RuntimeError as error:
        raise LauncherError(
            f"no repository has {GROUP}:{ARTIFACT}:{VERSION}:{CLASSIFIER}, or the network hides it; {_COPY_HINT}"
        ) from error


def _unreachable(error: BaseException) -> LauncherError:
    root = error
    while root.__context__ is not None:
        root = root.__context__
    reason = " ".join(str(root).split())[:200] or type(root).__name__
    return LauncherError(f"cannot download {ARTIFACT} {VERSION} (458 MB): {reason}; check the network, or {_COPY_HINT}")


def _jgo_progress(
    report: Progress,
) -> Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]:
    """jgo asks for a context manager that yields a function to be told the size of each block."""

    @contextlib.contextmanager
    def download(_name: str, total: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(size: int) -> None:
            nonlocal done
            done += size
            report(Step.DOWNLOAD, done, total)

        yield advance

    return download
