"""The state file behind the ports of the engine: rows in, rows out. The only place with SQL."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from brevplan.engine.address import Address
from brevplan.engine.ports import (
    AccountRow,
    ChangeIntent,
    CloseIntent,
    CloseRun,
    CloseStep,
    DropRecord,
    Intent,
    IntentState,
    Meta,
    MoveRecords,
    OpenIntent,
    OpenRun,
    OpenStep,
    PutAccount,
    PutOutputs,
    PutRecord,
    Record,
    ReplaceState,
    RetireIntent,
    Role,
    RunRow,
    SetRole,
    Snapshot,
    StateLost,
    StepRow,
    Write,
)
from brevplan.engine.secrets import SEALED_KEY
from brevplan.state.database import REBUILD, connect, explained
from brevplan.state.errors import StateDamaged, StateError

_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_TEXTS = msgspec.json.Decoder(tuple[str, ...])

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_RECORD_COLUMNS = (
    "key, workspace, address, role, kind, attributes, alias, account, ref_id, cloud_id, settled, seen, protected, "
    "reads, version"
)


class StateStore:
    """An open state file. Reading needs no lock; `transact` needs the epoch that taking the lock gave."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.epoch: int | None = None
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool) -> StateStore | None:
        """Open the file; None when there is none and none is to be made. Raises `StateError`."""
        connection = connect(path, create=create)
        return cls(connection, path) if connection is not None else None

    def close(self) -> None:
        """Fold the log into the file, so that the one file is whole, and let go of it."""
        with suppress(sqlite3.Error):  # another process reads: its close will fold the log
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    # reading

    def check(self) -> None:
        """Read everything there is, once; raise `StateError` for what cannot be read."""
        self.meta()
        self.selected_workspace()
        self.records()
        self.intents()
        self.accounts()
        self.runs(1)
        self.steps("")
        for (workspace,) in self._rows("SELECT DISTINCT workspace FROM outputs"):
            self.outputs(workspace)

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with explained(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def meta(self) -> Meta:
        values = dict(self._rows("SELECT key, value FROM meta"))
        version = self._rows("PRAGMA user_version")[0][0]
        try:
            return Meta(
                version,
                values["project"],
                values["lineage"],
                int(values["serial"]),
                int(values["epoch"]),
                values["salt"],
            )
        except (KeyError, ValueError) as problem:
            raise StateDamaged(f"{self.path}: its table meta is not whole ({problem}).", REBUILD) from None

    def selected_workspace(self) -> str:
        rows = self._rows("SELECT value FROM meta WHERE key = 'workspace'")
        if not rows:
            raise StateDamaged(f"{self.path}: its table meta names no workspace.", REBUILD)
        return str(rows[0][0])

    def records(self, workspace: str | None = None) -> list[Record]:
        sql = f"SELECT {_RECORD_COLUMNS} FROM resources"
        rows = self._rows(sql) if workspace is None else self._rows(f"{sql} WHERE workspace = ?", (workspace,))
        return self._decoded(rows, _record)

    def intents(self) -> list[Intent]:
        sql = (
            "SELECT ref_id, workspace, address, alias, account, run_id, state, request, reads, protected, opened_at, "
            "replaces FROM intents"
        )
        return self._decoded(self._rows(sql), _intent)

    def accounts(self) -> dict[str, AccountRow]:
        rows = self._rows("SELECT alias, fingerprint, provider, tenant, endpoint FROM accounts")
        return {row[0]: AccountRow(*row) for row in rows}

    def outputs(self, workspace: str) -> dict[str, Any]:
        rows = self._rows("SELECT name, value FROM outputs WHERE workspace = ? ORDER BY name", (workspace,))
        return dict(self._decoded(rows, lambda row: (row[0], _OBJECT.decode(row[1]))))

    def steps(self, plan_id: str) -> list[StepRow]:
        sql = (
            "SELECT run_id, plan_id, step_id, address, verb, status, started, ended, error FROM steps "
            "WHERE plan_id = ? ORDER BY id"
        )
        return [StepRow(*row) for row in self._rows(sql, (plan_id,))]

    def snapshot(self) -> Snapshot:
        """Read everything but the history as it is at one moment, whoever writes meanwhile; in a fixed order."""
        with explained(self.path):
            self._connection.execute("BEGIN")
        try:
            meta = self.meta()
            names = [row[0] for row in self._rows("SELECT DISTINCT workspace FROM outputs ORDER BY workspace")]
            return Snapshot(
                meta.project,
                meta.lineage,
                meta.serial,
                meta.salt,
                tuple(sorted(self.records(), key=lambda row: (row.workspace, row.address, row.role.value, row.key))),
                tuple(sorted(self.intents(), key=lambda row: (row.workspace, row.address, row.ref_id))),
                tuple(account for _, account in sorted(self.accounts().items())),
                {name: self.outputs(name) for name in names},
            )
        finally:
            with suppress(sqlite3.Error):  # nothing was written
                self._connection.execute("ROLLBACK")

    def run_of_plan(self, plan_id: str) -> str:
        """Give the run that carried a plan out to its end; empty when none did."""
        rows = self._rows("SELECT run_id FROM runs WHERE plan_id = ? AND outcome = 'done'", (plan_id,))
        return str(rows[-1][0]) if rows else ""

    def runs(self, limit: int = 50) -> list[RunRow]:
        sql = (
            "SELECT run_id, workspace, command, actor, git_commit, started, ended, plan_id, summary, outcome "
            "FROM runs ORDER BY id DESC LIMIT ?"
        )
        return [RunRow(*row) for row in self._rows(sql, (limit,))]

    def _decoded(self, rows: list[tuple[Any, ...]], decode: Callable[[tuple[Any, ...]], T]) -> list[T]:
        """Decode rows; what does not decode was not written by us."""
        try:
            return [decode(row) for row in rows]
        except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as problem:
            raise StateDamaged(f"{self.path}: a row cannot be read ({problem}).", REBUILD) from None

    # writing

    def take(self, project: str) -> int:
        """Raise the epoch for a run that holds the lock; from here on older epochs cannot write."""
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            epoch = self._read_epoch() + 1
            self._connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (str(epoch),))
            if project:
                self._connection.execute("UPDATE meta SET value = ? WHERE key = 'project'", (project,))
            self._connection.execute("COMMIT")
        self.epoch = epoch
        return epoch

    def raise_epoch(self) -> None:
        """Make every run that holds an older epoch unable to write: a lock was forced."""
        with explained(self.path):
            self._connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'epoch'")

    def _read_epoch(self) -> int:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        try:
            return int(row[0])
        except (TypeError, ValueError):
            raise StateDamaged(f"{self.path}: its table meta is not whole (epoch).", REBUILD) from None

    def transact(self, writes: Sequence[Write]) -> None:
        """Write all or nothing, durably; raise `StateLost` when this run may not, or cannot, write any more."""
        _LOG.debug("writing %s", ", ".join(type(write).__name__ for write in writes))
        try:
            with explained(self.path):
                self._transact(writes)
        except StateError as problem:
            raise StateLost(f"{problem.summary}: {problem.detail} {problem.hint}".strip()) from problem

    def _transact(self, writes: Sequence[Write]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self.epoch is None or self._read_epoch() != self.epoch:
                raise StateLost("another run has taken the state over: this one may not write to it any more")
            for write in writes:
                _WRITERS[type(write)](connection, write)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _record(row: tuple[Any, ...]) -> Record:
    return Record(
        row[0],
        row[1],
        Address.parse(row[2]),
        Role(row[3]),
        row[4],
        _OBJECT.decode(row[5]),
        row[6],
        row[7],
        row[8],
        row[9],
        bool(row[10]),
        bool(row[11]),
        bool(row[12]),
        _texts(row[13]),
        row[14],
        SEALED_KEY in row[5],
    )


@lru_cache(maxsize=4096)
def _texts(data: str) -> tuple[str, ...]:
    """Read a list of texts; all machines of a block have the same one."""
    return _TEXTS.decode(data)


def _intent(row: tuple[Any, ...]) -> Intent:
    return Intent(
        row[0],
        row[1],
        Address.parse(row[2]),
        row[3],
        row[4],
        row[5],
        IntentState(row[6]),
        _OBJECT.decode(row[7]),
        _texts(row[8]),
        bool(row[9]),
        row[10],
        row[11],
    )


# One writer a fact.


def _open_run(connection: sqlite3.Connection, write: OpenRun) -> None:
    run = write.run
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'serial'")
    # whoever opens a run holds the lock: no other one can be going on
    connection.execute("UPDATE runs SET outcome = 'cut off' WHERE outcome = 'running'")
    connection.execute(
        "INSERT INTO runs(run_id, workspace, command, actor, git_commit, started, ended, plan_id, summary, outcome) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (run.run_id, run.workspace, run.command, run.actor, run.git_commit, run.started, run.ended, run.plan_id,
         run.summary, run.outcome),
    )  # fmt: skip


def _close_run(connection: sqlite3.Connection, write: CloseRun) -> None:
    # its end is another state than its start: what was pulled in between is older than this
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'serial'")
    connection.execute(
        "UPDATE runs SET ended = ?, summary = ?, outcome = ? WHERE run_id = ?",
        (write.ended, write.summary, write.outcome, write.run_id),
    )


def _open_step(connection: sqlite3.Connection, write: OpenStep) -> None:
    step = write.step
    connection.execute(
        "INSERT INTO steps(run_id, plan_id, step_id, address, verb, status, started, ended, error) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (step.run_id, step.plan_id, step.step_id, step.address, step.verb, step.status, step.started, step.ended,
         step.error),
    )  # fmt: skip


def _close_step(connection: sqlite3.Connection, write: CloseStep) -> None:
    connection.execute(
        "UPDATE steps SET status = ?, ended = ?, error = ? WHERE run_id = ? AND step_id = ?",
        (write.status, write.ended, write.error, write.run_id, write.step_id),
    )


def _open_intent(connection: sqlite3.Connection, write: OpenIntent) -> None:
    intent = write.intent
    connection.execute(
        "INSERT INTO intents(ref_id, workspace, address, alias, account, run_id, state, request, reads, protected, "
        "opened_at, replaces) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (intent.ref_id, intent.workspace, str(intent.address), intent.alias, intent.account, intent.run_id,
         intent.state.value, _ENCODE(intent.request).decode(), _ENCODE(intent.reads).decode(), int(intent.protected),
         intent.opened_at, intent.replaces),
    )  # fmt: skip


def _close_intent(connection: sqlite3.Connection, write: CloseIntent) -> None:
    connection.execute("DELETE FROM intents WHERE ref_id = ?", (write.ref_id,))


def _retire_intent(connection: sqlite3.Connection, write: RetireIntent) -> None:
    connection.execute("UPDATE intents SET state = 'retired', request = '{}' WHERE ref_id = ?", (write.ref_id,))


def _change_intent(connection: sqlite3.Connection, write: ChangeIntent) -> None:
    intent = write.intent
    connection.execute(
        "UPDATE intents SET address = ?, request = ?, reads = ?, protected = ? WHERE ref_id = ?",
        (str(intent.address), _ENCODE(intent.request).decode(), _ENCODE(intent.reads).decode(), int(intent.protected),
         intent.ref_id),
    )  # fmt: skip


def _put_record(connection: sqlite3.Connection, write: PutRecord) -> None:
    record = write.record
    connection.execute(
        "INSERT INTO resources(key, workspace, address, role, kind, attributes, alias, account, ref_id, cloud_id, "
        "settled, seen, protected, reads, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) "
        "ON CONFLICT(key) DO UPDATE SET workspace = excluded.workspace, address = excluded.address, "
        "role = excluded.role, kind = excluded.kind, attributes = excluded.attributes, alias = excluded.alias, "
        "account = excluded.account, ref_id = excluded.ref_id, cloud_id = excluded.cloud_id, "
        "settled = excluded.settled, seen = excluded.seen, protected = excluded.protected, reads = excluded.reads, "
        "version = resources.version + 1",
        (record.key, record.workspace, str(record.address), record.role.value, record.kind,
         _ENCODE(record.attributes).decode(), record.alias, record.account, record.ref_id, record.cloud_id,
         int(record.settled), int(record.seen), int(record.protected), _ENCODE(record.reads).decode()),
    )  # fmt: skip


def _set_role(connection: sqlite3.Connection, write: SetRole) -> None:
    connection.execute(
        "UPDATE resources SET role = ?, version = version + 1 WHERE key = ?", (write.role.value, write.key)
    )


def _drop_record(connection: sqlite3.Connection, write: DropRecord) -> None:
    connection.execute("DELETE FROM resources WHERE key = ?", (write.key,))


def _move_records(connection: sqlite3.Connection, write: MoveRecords) -> None:
    for number, (key, _) in enumerate(write.rows):
        # out of the way first: at most one current row has an address, at every moment
        connection.execute("UPDATE resources SET key = ?, address = ? WHERE key = ?", (f"#{number}", f"#{number}", key))
    for number, (_, record) in enumerate(write.rows):
        connection.execute(
            "UPDATE resources SET key = ?, address = ?, reads = ?, attributes = ?, version = version + 1 WHERE key = ?",
            (
                record.key,
                str(record.address),
                _ENCODE(record.reads).decode(),
                _ENCODE(record.attributes).decode(),
                f"#{number}",
            ),
        )


def _put_account(connection: sqlite3.Connection, write: PutAccount) -> None:
    account = write.account
    connection.execute(
        "INSERT OR REPLACE INTO accounts(alias, fingerprint, provider, tenant, endpoint) VALUES (?, ?, ?, ?, ?)",
        (account.alias, account.fingerprint, account.provider, account.tenant, account.endpoint),
    )


def _put_outputs(connection: sqlite3.Connection, write: PutOutputs) -> None:
    connection.execute("DELETE FROM outputs WHERE workspace = ?", (write.workspace,))
    connection.executemany(
        "INSERT INTO outputs(workspace, name, value) VALUES (?, ?, ?)",
        [(write.workspace, name, _ENCODE(value).decode()) for name, value in sorted(write.outputs.items())],
    )


def _replace_state(connection: sqlite3.Connection, write: ReplaceState) -> None:
    new = write.snapshot
    # whoever approved a plan over a row must be told that somebody put it there anew
    versions = connection.execute("SELECT version, key FROM resources").fetchall()
    for table in ("resources", "intents", "accounts", "outputs"):
        connection.execute(f"DELETE FROM {table}")
    for record in new.records:
        _put_record(connection, PutRecord(record))
    connection.executemany("UPDATE resources SET version = ? + 1 WHERE key = ?", versions)
    for intent in new.intents:
        _open_intent(connection, OpenIntent(intent))
    for account in new.accounts:
        _put_account(connection, PutAccount(account))
    for workspace, outputs in new.outputs.items():
        _put_outputs(connection, PutOutputs(workspace, outputs))
    connection.execute("UPDATE meta SET value = max(CAST(value AS INTEGER), ?) WHERE key = 'serial'", (new.serial,))
    for name, value in (("project", new.project), ("lineage", new.lineage), ("salt", new.salt)):
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, name))


_WRITERS: dict[type, Callable[[sqlite3.Connection, Any], None]] = {
    OpenRun: _open_run,
    CloseRun: _close_run,
    OpenStep: _open_step,
    CloseStep: _close_step,
    OpenIntent: _open_intent,
    CloseIntent: _close_intent,
    RetireIntent: _retire_intent,
    ChangeIntent: _change_intent,
    PutRecord: _put_record,
    MoveRecords: _move_records,
    SetRole: _set_role,
    DropRecord: _drop_record,
    PutAccount: _put_account,
    PutOutputs: _put_outputs,
    ReplaceState: _replace_state,
}
