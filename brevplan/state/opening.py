"""Getting hold of the file: made durably, with a log where there can be one, read where nothing can be written."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

BUSY_S: Final = 30.0


def size_of(path: Path) -> int:
    """Give the size of the file, 0 when there is none; anything else that stands there cannot be a state."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return 0
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return there.st_size


def make(path: Path) -> None:
    """Make an empty file that is still there after a power cut."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(path)


def _sync_folder(path: Path) -> None:
    """Make the name of a new file durable: syncing a file does not sync the folder that it is found by.

    SQLite does this for the journals and logs that it makes, and for a database only with them: with the log durable
    and its database gone, a power cut right after the first commit would lose the first intents.
    """
    descriptor = os.open(os.path.dirname(os.path.realpath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that cannot sync a folder has no other way either
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_file(path: Path, *, create: bool) -> sqlite3.Connection:
    """Connect, with the log where there can be one, and read: only then does SQLite notice that it cannot."""
    try:
        return _opened(sqlite3.connect(path, isolation_level=None, timeout=BUSY_S), create=create)
    except sqlite3.OperationalError as problem:
        if not problem.sqlite_errorname.startswith(_NO_SHARED_MEMORY):
            raise
        if _is_read_only(path):
            uri = f"{path.absolute().as_uri()}?immutable=1"  # nobody writes there: neither log nor memory is needed
            return _opened(sqlite3.connect(uri, uri=True, isolation_level=None), create=False)
        _leave_log(path)
        return _opened(sqlite3.connect(path, isolation_level=None, timeout=BUSY_S), create=False)


def _opened(connection: sqlite3.Connection, *, create: bool) -> sqlite3.Connection:
    try:
        if create and is_blank(connection):
            # only then: a file that had to go over to the rollback journal, which is as safe, keeps it
            connection.execute("PRAGMA page_size = 1024")
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
        is_blank(connection)
    except BaseException:
        connection.close()
        raise
    return connection


_NO_SHARED_MEMORY: Final = ("SQLITE_CANTOPEN", "SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_SHMLOCK",
                            "SQLITE_PROTOCOL")  # fmt: skip
"""What SQLite says where processes cannot share the memory that the log needs, as on some network file systems."""


def _is_read_only(path: Path) -> bool:
    """Tell whether nothing can be written beside the file, and no log holds what is missing in it."""
    log = Path(f"{os.path.realpath(path)}-wal")
    return not os.access(log.parent, os.W_OK) and not log.exists()


def _leave_log(path: Path) -> None:
    """Fold the log into the file and keep a rollback journal; a lock for one alone needs no shared memory for that."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        connection.close()


def is_blank(connection: sqlite3.Connection) -> bool:
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0
