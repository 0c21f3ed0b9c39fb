"""Large payloads as files in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conductor_grpc.errors import ConfigurationError, ExternalPayloadError
from conductor_grpc.payload.external.storage import new_path

if TYPE_CHECKING:
    from conductor_grpc.payload.external.storage import PayloadKind


@dataclass(frozen=True)
class FilesystemPayloadStorage:
    """A folder that server and workers both see, on one machine or on a shared file system.

    The released server has no storage of this kind but its default one: the folder `payloads...` that it makes in
    Java's temporary folder at each start. That is good enough for development; what was stored before a restart of
    the server is lost to it.
    """

    folder: Path
    """It must exist when it is used. It is never made, for then a share that is not mounted would go unnoticed."""

    def __init__(self, folder: str | Path) -> None:
        if not isinstance(folder, (str, Path)) or not str(folder):
            raise ConfigurationError(f"folder {folder!r}: expected the path of a folder")
        object.__setattr__(self, "folder", Path(folder).absolute())

    def upload(self, kind: PayloadKind, task_id: str, data: bytes) -> str:
        """Write the document to a new file and return its path below the folder. The file is there whole or not
        at all, whatever happens meanwhile. Raises OSError."""
        path = new_path(kind, task_id)
        file = self._file(path)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"the folder {str(self.folder)!r} does not exist")
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        try:
            with unfinished.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(file)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return path

    def download(self, path: str) -> bytes:
        """The file at `path` below the folder. Raises OSError, and ExternalPayloadError for a path out of it."""
        return self._file(path).read_bytes()

    def _file(self, path: str) -> Path:
        folder = self.folder.resolve()
        file = (folder / path).resolve()
        if not file.is_relative_to(folder) or file == folder:
            # Paths come from the server, and so from whoever may send results to it.
            raise ExternalPayloadError(f"the path {path!r} leads out of the storage's folder", path)
        return file
