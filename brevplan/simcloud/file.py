"""The file of a simulated cloud: opened on first use, made when it is missing, shared by several processes.

Gives transactions and plain statements, and says what SQLite has to say as a cloud would. What the rows mean is not
known here.

sqlite-utils makes the tables. Rows go through plain statements, because every call waits for them, and the library is
loaded only when there are tables to make: its import takes longer than most runs spend in this file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from brevplan.contract.errors import CloudError, Rejected, Sent, Unavailable

if TYPE_CHECKING:
    from sqlite_utils import Database

BUSY_TIMEOUT_S: Final = 30.0

APPLICATION_ID: Final = 0x62706C63
"""Written into the file's header, so that another program's database is never taken for ours."""


def _machines_and_gone(db: Database) -> None:
    for table in ("machines", "gone"):
        db.execute(
            f"CREATE TABLE {table} (number INTEGER PRIMARY KEY, ref_id TEXT NOT NULL, born_at REAL NOT NULL, "
            "ready_at REAL NOT NULL, fails_at REAL, gone_at REAL, user_data_digest TEXT NOT NULL, "
            "reboots INTEGER NOT NULL, body TEXT NOT NULL)"
        )
        db.execute(f"CREATE INDEX {table}_by_ref_id ON {table} (ref_id)")
    db.execute("CREATE INDEX machines_by_ready_at ON machines (ready_at)")
    db.execute("CREATE INDEX machines_that_fail ON machines (fails_at) WHERE fails_at IS NOT NULL")
    db.execute("CREATE INDEX gone_by_time ON gone (gone_at)")


def _taken_places(db: Database) -> None:
    db.execute(
        "CREATE TABLE taken (location TEXT, instance_type TEXT, places INTEGER NOT NULL, "
        "PRIMARY KEY (location, instance_type)) WITHOUT ROWID"
    )


def _fences_and_numbers(db: Database) -> None:
    db.execute("CREATE TABLE fences (ref_id TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("CREATE TABLE numbers (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID")


def _side_objects(db: Database) -> None:
    db.execute("CREATE TABLE objects (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID")


MIGRATIONS: Final[Sequence[Callable[[Database], None]]] = (
    _machines_and_gone,
    _taken_places,
    _fences_and_numbers,
    _side_objects,
)
"""In order, never edited once released. How many have been done is the file's `user_version`."""


class CloudFile:
    """One path and at most one connection to it. Not for several threads."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the only pen. Nothing that happened inside stays when the block raises."""
        with _said_plainly(self.path):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[None]:
        """See one moment of the file."""
        with _said_plainly(self.path):
            connection = self._open()
            connection.execute("BEGIN")
            try:
                yield
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def exists(self) -> bool:
        return self.path.exists()

    def close(self) -> None:
        """Let the file go; with the last one to do so everything is in the one file again."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        # Where it cannot be done, the write-ahead log keeps what it holds for the next one to open the file.
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def rows(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Carry out one statement inside a transaction."""
        assert self._connection is not None, "rows are read and written inside a transaction"
        return self._connection.execute(sql, values)

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self.path):
            self.close()  # The file was deleted or put in place of another: its machines went with it.
        if self._connection is None:
            self._connection = _connect(self.path)
            self._inode = _inode(self.path)
        return self._connection


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    _touch(path)
    # The busy time limit covers two processes that meet; autocommit leaves the beginning of transactions to us.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _check_ours(connection, path)
        _use_write_ahead_log(connection)
        # A commit survives the death of the process; one that a power cut takes away is a machine lost by a cloud that
        # was only ever simulated, and not worth a wait for the disk at every call.
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _touch(path: Path) -> None:
    """Make the file, for its owner's eyes only: SQLite gives its side files the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise _refused(path, "its folder does not exist") from None
    except IsADirectoryError:
        raise _refused(path, "it is a folder") from None
    except OSError as error:
        raise _refused(path, (error.strerror or str(error)).lower()) from error


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")  # One moment for all that is asked: another process may be making the tables now.
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    is_empty = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    connection.execute("ROLLBACK")
    if application_id == APPLICATION_ID:
        if version > len(MIGRATIONS):
            raise _refused(path, "a newer brevplan made it")
    elif version or not is_empty:
        raise _refused(path, "it is another program's database")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA page_size = 1024")
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself when another process changes the mode at the same moment.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(connection: sqlite3.Connection) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    from sqlite_utils import Database

    connection.execute("BEGIN IMMEDIATE")
    try:
        database = Database(connection)
        for done, migration in enumerate(MIGRATIONS):
            if done >= _version(connection):
                migration(database)
                connection.execute(f"PRAGMA user_version = {done + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


# What SQLite says, as a cloud would say it


@contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _cloud_error(path, error) from error
    except msgspec.MsgspecError as error:
        raise _refused(path, "a row in it is damaged") from error


_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT)
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def _cloud_error(path: Path, error: sqlite3.Error) -> CloudError:
    """Translate. The transaction was rolled back, so nothing was made, except perhaps when the disk itself failed."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF  # Without one: text that is not UTF-8.
    if code in _DAMAGED:
        return _refused(path, "it is damaged, or not a database at all")
    if code in _READ_ONLY:
        return _refused(path, "it or its folder cannot be written to")
    if code == sqlite3.SQLITE_BUSY:
        return Unavailable(f"another process has been holding {path} for {BUSY_TIMEOUT_S:.0f} s", sent=Sent.REFUSED)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(f"the disk is full: {path} cannot grow", sent=Sent.REFUSED)
    if code == sqlite3.SQLITE_ERROR:
        return _refused(path, f"its tables are not as they should be ({error})")
    return Unavailable(f"{path} cannot be read or written: {error}")


def _refused(path: Path, reason: str) -> Rejected:
    return Rejected(f"{path} cannot be used as a local cloud: {reason}; move it away or choose another path")
