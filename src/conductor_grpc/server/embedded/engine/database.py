"""The SQLite file of an embedded server: opening it, or saying clearly why it cannot be used."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final

from conductor_grpc.errors import LauncherError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID: Final = 0x436E6472
"""In the file's header: tells our files from those of other programs ("Cndr")."""

SCHEMA_VERSION: Final = 1

_SCHEMA: Final = f"""
BEGIN EXCLUSIVE;
CREATE TABLE plans (key INTEGER PRIMARY KEY, definition BLOB NOT NULL);
CREATE TABLE workflows (key INTEGER PRIMARY KEY, plan INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE tasks (key INTEGER PRIMARY KEY, workflow INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE logs (
    task INTEGER NOT NULL, position INTEGER NOT NULL, text TEXT NOT NULL, created_time INTEGER NOT NULL,
    PRIMARY KEY (task, position)
) WITHOUT ROWID;
CREATE TABLE definitions (
    kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, definition BLOB NOT NULL,
    PRIMARY KEY (kind, name, version)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
"""A `definition` is a serialized message. Of a plan it is the workflow definition that workflows were started with,
once for all workflows that share it; of `definitions` it is what is registered."""

_SETTINGS: Final = (
    # Ours alone: a second server must not write to the same file. It also spares SQLite the shared memory.
    "PRAGMA locking_mode = EXCLUSIVE",
    # What is committed survives the death of the process, by a signal too; only a power cut may take the latest.
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    # Checkpoints flush to the disk: rather seldom, each for many transactions.
    "PRAGMA wal_autocheckpoint = 10000",
)


def open_database(path: Path) -> sqlite3.Connection:
    """A connection, for any thread but one at a time, with the tables in place and no other process beside it.

    Raises LauncherError, which names the file and what to do.
    """
    if not path.parent.is_dir():
        raise LauncherError(f"cannot make the database {path}: there is no folder {path.parent}; make it first")
    # SQLite puts files of its own beside it.
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise LauncherError(
                f"cannot use the database {path}: {place} cannot be written; make it writable, or choose another file"
            )
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for setting in _SETTINGS:
        connection.execute(setting)
    # Takes the lock.
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise LauncherError(f"{path} is the database of another program; choose another file for the embedded server")
    if version > SCHEMA_VERSION:
        raise LauncherError(
            f"{path} was written by a newer version of this package (schema {version}, this one knows up to "
            f"{SCHEMA_VERSION}); upgrade the package, or choose another file"
        )
    if not tables:
        connection.executescript(_SCHEMA)


def _unusable(path: Path, error: sqlite3.Error) -> LauncherError:
    text = str(error)
    if "locked" in text:
        return LauncherError(f"{path} is in use by another server or program; stop that, or choose another file")
    if "not a database" in text:
        return LauncherError(f"{path} is not an SQLite database; choose another file, or delete it")
    return LauncherError(f"cannot use the database {path}: {text}; choose another file, or repair it")
