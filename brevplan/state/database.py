"""Opening the state file: permissions, pragmas, named migrations in order, and errors that a person can act on."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from brevplan.state.errors import (
    StateDamaged,
    StateError,
    StateForeign,
    StateOfAnotherProgram,
    StateTooNew,
    StateUnusable,
)
from brevplan.state.opening import is_blank, make, open_file, size_of
from brevplan.state.sums import reseal

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID: Final = 0x62727631  # "brv1"
SHARED_MEMORY_BYTES: Final = 32 * 1024
_HEADER_BYTES: Final = 100
REBUILD: Final = "brevplan rebuild restores it from the configuration and the cloud."


def _m001_first_tables(db: Database) -> None:
    db["meta"].create({"key": str, "value": str}, pk="key")  # type: ignore[union-attr]
    db["accounts"].create(  # type: ignore[union-attr]
        {"alias": str, "fingerprint": str, "provider": str, "tenant": str, "endpoint": str}, pk="alias"
    )
    db["resources"].create(  # type: ignore[union-attr]
        {
            "id": int, "key": str, "workspace": str, "address": str, "role": str, "kind": str, "alias": str,
            "account": str, "ref_id": str, "cloud_id": str, "settled": int, "seen": int, "protected": int,
            "version": int, "reads": str, "attributes": str,
        },
        pk="id",
    )  # fmt: skip
    db["resources"].create_index(["key"], unique=True)  # type: ignore[union-attr]
    db.execute("CREATE UNIQUE INDEX one_current ON resources(workspace, address) WHERE role = 'current'")
    db["intents"].create(  # type: ignore[union-attr]
        {
            "ref_id": str, "workspace": str, "address": str, "alias": str, "account": str, "run_id": str, "state": str,
            "request": str, "reads": str, "protected": int, "opened_at": str,
        },
        pk="ref_id",
    )  # fmt: skip
    db["runs"].create(  # type: ignore[union-attr]
        {
            "id": int, "run_id": str, "workspace": str, "command": str, "actor": str, "git_commit": str,
            "started": str, "ended": str, "plan_id": str, "summary": str, "outcome": str,
        },
        pk="id",
    )  # fmt: skip
    db["steps"].create(  # type: ignore[union-attr]
        {
            "id": int, "run_id": str, "plan_id": str, "step_id": str, "address": str, "verb": str, "status": str,
            "started": str, "ended": str, "error": str,
        },
        pk="id",
    )  # fmt: skip
    db["steps"].create_index(["run_id", "step_id"])  # type: ignore[union-attr]
    db["outputs"].create({"workspace": str, "name": str, "value": str}, pk=("workspace", "name"))  # type: ignore[union-attr]


def _m002_what_a_launch_replaces(db: Database) -> None:
    db.execute("ALTER TABLE intents ADD COLUMN replaces TEXT NOT NULL DEFAULT ''")


def _m003_sums(db: Database) -> None:
    for table in ("accounts", "resources", "intents", "outputs", "runs", "steps"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN sum INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (
    _m001_first_tables,
    _m002_what_a_launch_replaces,
    _m003_sums,
)
"""In order, named, never edited once released. `user_version` counts how many a file has had."""


_ELSEWHERE: Final = 'Mend that, or keep the state elsewhere: backend "sqlite" { path = "…" }'


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into a `StateError`."""
    try:
        yield
    except UnicodeDecodeError as problem:
        raise StateDamaged(f"{path}: bytes in it are no text any more.", REBUILD) from problem
    except sqlite3.DatabaseError as problem:
        raise _translate(problem, path) from problem
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else problem.strerror or str(problem)
        raise StateUnusable(f"{path}: {what}.", _FULL if full else _ELSEWHERE) from problem


_FULL: Final = "Make room and run the same command again: nothing is lost."
_FAILING: Final = (
    "Look after the disk and run the same command again: what was begun is found by its mark. Else keep the state "
    'elsewhere: backend "sqlite" { path = "…" }'
)
_DAMAGE: Final = ("malformed", "corrupt", "no such table", "no such column", "decode")
_WRONG_FORMAT: Final = ("already exists", "duplicate column")
"""What SQLite says when a migration finds its own work done: the format number is not the one that was written."""


def _translate(problem: sqlite3.DatabaseError, path: Path) -> StateError:
    text = str(problem)
    name = getattr(problem, "sqlite_errorname", "")
    if name == "SQLITE_NOTADB":
        return StateForeign(f"{path} is not a SQLite file, or its first bytes are damaged.", REBUILD)
    if name.startswith("SQLITE_CORRUPT") or any(word in text for word in _DAMAGE):
        return StateDamaged(f"{path}: {text}.", REBUILD)
    if any(word in text for word in _WRONG_FORMAT):
        return StateDamaged(f"{path}: its format number does not fit its tables.", REBUILD)
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path)):
        return StateUnusable(f"{path}: the disk is full.", _FULL)
    if name.startswith("SQLITE_IOERR"):
        return StateUnusable(f"{path}: reading or writing it failed ({text}).", _FAILING)
    if name.startswith("SQLITE_READONLY"):
        return StateUnusable(f"{path} cannot be written: it, or its folder, is read-only.", _ELSEWHERE)
    if name.startswith("SQLITE_CANTOPEN"):
        return StateUnusable(f"{path} cannot be opened: check that its folder exists and can be written.", _ELSEWHERE)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StateUnusable(f"{path} is held by another program for too long.", "Run the same command again.")
    return StateUnusable(f"{path}: {text}.", _ELSEWHERE)


def _is_full(path: Path) -> bool:
    """Tell whether the disk has no room left: SQLite calls it an I/O error when its shared memory does not fit."""
    try:
        there = os.statvfs(path.parent)
    except OSError:
        return False
    return there.f_bavail * there.f_frsize < SHARED_MEMORY_BYTES


def connect(path: Path, *, create: bool) -> sqlite3.Connection | None:
    """Open the file, make or migrate it when `create`; None when there is no file and none is to be made."""
    with explained(path):
        size = size_of(path)
        if size == 0:
            if not create:
                return None
            make(path)
        elif size < _HEADER_BYTES:
            raise StateForeign(f"{path} is too short to be a SQLite file.", REBUILD)
        connection = open_file(path, create=create)
        try:
            _check(connection, path)
            if not create and is_blank(connection):
                connection.close()  # somebody is making it right now
                return None
            _prepare(connection)
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection) -> None:
    # FULL: the log is synced at every commit, not only before it is folded into the file, and a new log's name with it
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    # the tables first: whoever makes them right now sets the ids with them
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise _not_ours(connection, path)
    if version > len(MIGRATIONS):
        raise StateTooNew(
            f"{path} has format {version}; this version reads up to {len(MIGRATIONS)}.", "Install a newer brevplan."
        )
    if tables and version < 1:
        raise StateDamaged(f"{path}: its format number does not fit its tables ({version} never was).", REBUILD)
    # not quick_check: it does not compare indexes with their tables, and costs two thirds as much
    problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise StateDamaged(f"{path}: {problem}.", REBUILD)


def _not_ours(connection: sqlite3.Connection, path: Path) -> StateError:
    ours = "SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'resources', 'intents')"
    if connection.execute(ours).fetchone()[0] == 3:
        return StateForeign(f"{path} has the tables of a state and the id of another program.", REBUILD)
    return StateOfAnotherProgram(
        f"{path} is a SQLite file of another program.", 'Choose another path: backend "sqlite" { path = "…" }'
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == len(MIGRATIONS):
        return
    from sqlite_utils import Database  # costs 70 ms, and most starts have nothing to migrate

    connection.execute("BEGIN IMMEDIATE")
    try:
        # another process may have done it while this one waited for its turn
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        database = Database(connection)
        for migration in MIGRATIONS[version:]:
            migration(database)
        if version == 0:
            for key, value in _first_meta().items():
                connection.execute("INSERT INTO meta(key, value) VALUES (?, ?)", (key, value))
        reseal(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    path.chmod(0o600)


def _first_meta() -> dict[str, str]:
    return {
        "project": "",
        "lineage": secrets.token_hex(16),
        "serial": "0",
        "epoch": "0",
        "salt": secrets.token_hex(16),
        "workspace": "default",
    }
