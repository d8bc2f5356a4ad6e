"""The state file behind the ports of the engine: what is remembered is read, and each fact becomes rows."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from brevplan.state.ledger import Ledger, Row, read_meta, read_rows, read_table, totals_of, writing
from brevplan.state.sums import COLUMNS
from brevplan.state.watch import FileWatch

_ENCODE = msgspec.json.Encoder(order="deterministic").encode
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_TEXTS = msgspec.json.Decoder(tuple[str, ...])

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class StateStore:
    """An open state file. Reading needs no lock; `transact` needs the epoch that taking the lock gave."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self.epoch: int | None = None
        self._connection = connection
        self._watch = FileWatch(path)

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
        with self.moment():
            self.meta()
            self.records()
            self.intents()
            self.accounts()
            self.runs(1)
            self.steps("")
            for workspace in {row[0] for row in self._table("outputs")}:
                self.outputs(workspace)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Read one moment of the file in the block, whatever another process writes meanwhile."""
        with explained(self.path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def meta(self) -> Meta:
        with self.moment():
            values = read_meta(self._connection, self.path)
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return Meta(
            version, values["project"], values["lineage"], int(values["serial"]), int(values["epoch"]), values["salt"]
        )

    def selected_workspace(self) -> str:
        with self.moment():
            return read_meta(self._connection, self.path)["workspace"]

    def records(self, workspace: str | None = None) -> list[Record]:
        rows = self._table("resources")
        wanted = rows if workspace is None else [row for row in rows if row[1] == workspace]
        return self._decoded(wanted, _record)

    def intents(self) -> list[Intent]:
        return self._decoded(self._table("intents"), _intent)

    def accounts(self) -> dict[str, AccountRow]:
        return {row[0]: AccountRow(*row[:-1]) for row in self._table("accounts")}

    def outputs(self, workspace: str) -> dict[str, Any]:
        rows = sorted(row for row in self._table("outputs") if row[0] == workspace)
        return dict(self._decoded(rows, lambda row: (row[1], _OBJECT.decode(row[2]))))

    def steps(self, plan_id: str) -> list[StepRow]:
        return [StepRow(*row[:-1]) for row in self._rows("steps", "WHERE plan_id = ? ORDER BY id", (plan_id,))]

    def snapshot(self) -> Snapshot:
        """Read everything but the history as it is at one moment, whoever writes meanwhile; in a fixed order."""
        with self.moment():
            meta = self.meta()
            return Snapshot(
                meta.project,
                meta.lineage,
                meta.serial,
                meta.salt,
                tuple(sorted(self.records(), key=lambda row: (row.workspace, row.address, row.role.value, row.key))),
                tuple(sorted(self.intents(), key=lambda row: (row.workspace, row.address, row.ref_id))),
                tuple(account for _, account in sorted(self.accounts().items())),
                {name: self.outputs(name) for name in sorted({row[0] for row in self._table("outputs")})},
            )

    def run_of_plan(self, plan_id: str) -> str:
        """Give the run that carried a plan out to its end; empty when none did."""
        rows = self._rows("runs", "WHERE plan_id = ? AND outcome = 'done'", (plan_id,))
        return str(rows[-1][0]) if rows else ""

    def runs(self, limit: int = 50) -> list[RunRow]:
        return [RunRow(*row[:-1]) for row in self._rows("runs", "ORDER BY id DESC LIMIT ?", (limit,))]

    def _table(self, table: str) -> list[Row]:
        with self.moment():
            totals = totals_of(read_meta(self._connection, self.path), self.path)
            return read_table(self._connection, table, self.path, totals)

    def _rows(self, table: str, rest: str, values: Row) -> list[Row]:
        with explained(self.path):
            return read_rows(self._connection, table, self.path, rest, values)

    def _decoded(self, rows: list[Row], decode: Callable[[Row], T]) -> list[T]:
        """Decode rows; what does not decode was not written by us."""
        try:
            return [decode(row) for row in rows]
        except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as problem:
            raise StateDamaged(f"{self.path}: a row cannot be read ({problem}).", REBUILD) from None

    # writing

    def take(self, project: str) -> int:
        """Raise the epoch for a run that holds the lock; from here on older epochs cannot write."""
        with explained(self.path), writing(self._connection, self.path) as ledger:
            epoch = ledger.raise_number("epoch")
            if project:
                ledger.meta["project"] = project
        self.epoch = epoch
        return epoch

    def raise_epoch(self) -> None:
        """Make every run that holds an older epoch unable to write: a lock was forced."""
        with explained(self.path), writing(self._connection, self.path) as ledger:
            ledger.raise_number("epoch")

    def transact(self, writes: Sequence[Write]) -> None:
        """Write all or nothing, durably; raise `StateLost` when this run may not, or cannot, write any more."""
        _LOG.debug("writing %s", ", ".join(type(write).__name__ for write in writes))
        try:
            with explained(self.path):
                self._transact(writes)
        except StateError as problem:
            raise StateLost(problem.detail.rstrip(".")) from problem  # who shows it says what to do next

    def _transact(self, writes: Sequence[Write]) -> None:
        self._watch.check()
        with writing(self._connection, self.path) as ledger:
            if self.epoch is None or int(ledger.meta["epoch"]) != self.epoch:
                raise StateLost("another run has taken the state over: this one may not write to it any more")
            for write in writes:
                _WRITERS[type(write)](ledger, write)
        self._watch.follow_log()


def _record(row: Row) -> Record:
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


def _intent(row: Row) -> Intent:
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


def _open_run(ledger: Ledger, write: OpenRun) -> None:
    ledger.raise_number("serial")
    # whoever opens a run holds the lock: no other one can be going on
    ledger.update("runs", {"outcome": "running"}, {"outcome": "cut off"})
    ledger.insert("runs", _columns("runs", write.run))


def _close_run(ledger: Ledger, write: CloseRun) -> None:
    # its end is another state than its start: what was pulled in between is older than this
    ledger.raise_number("serial")
    changes = {"ended": write.ended, "summary": write.summary, "outcome": write.outcome}
    ledger.update("runs", {"run_id": write.run_id}, changes)


def _open_step(ledger: Ledger, write: OpenStep) -> None:
    ledger.insert("steps", _columns("steps", write.step))


def _close_step(ledger: Ledger, write: CloseStep) -> None:
    changes = {"status": write.status, "ended": write.ended, "error": write.error}
    ledger.update("steps", {"run_id": write.run_id, "step_id": write.step_id}, changes)


def _open_intent(ledger: Ledger, write: OpenIntent) -> None:
    intent = write.intent
    own = {"address": str(intent.address), "state": intent.state.value, "protected": int(intent.protected)}
    texts = {"request": _json(intent.request), "reads": _json(intent.reads)}
    ledger.insert("intents", _columns("intents", intent) | own | texts)


def _close_intent(ledger: Ledger, write: CloseIntent) -> None:
    ledger.delete("intents", {"ref_id": write.ref_id})


def _retire_intent(ledger: Ledger, write: RetireIntent) -> None:
    ledger.update("intents", {"ref_id": write.ref_id}, {"state": "retired", "request": "{}"})


def _change_intent(ledger: Ledger, write: ChangeIntent) -> None:
    intent = write.intent
    changes = {
        "address": str(intent.address), "request": _json(intent.request), "reads": _json(intent.reads),
        "protected": int(intent.protected),
    }  # fmt: skip
    ledger.update("intents", {"ref_id": intent.ref_id}, changes)


def _put_record(ledger: Ledger, write: PutRecord) -> None:
    record = write.record
    own = {"role": record.role.value, "settled": int(record.settled), "seen": int(record.seen)}
    values = _columns("resources", record) | _described(record) | own | {"protected": int(record.protected)}
    if not ledger.update("resources", {"key": record.key}, values, counter="version"):
        ledger.insert("resources", values | {"version": 1})


def _set_role(ledger: Ledger, write: SetRole) -> None:
    ledger.update("resources", {"key": write.key}, {"role": write.role.value}, counter="version")


def _drop_record(ledger: Ledger, write: DropRecord) -> None:
    ledger.delete("resources", {"key": write.key})


def _move_records(ledger: Ledger, write: MoveRecords) -> None:
    for number, (key, _) in enumerate(write.rows):
        # out of the way first: at most one current row has an address, at every moment
        ledger.update("resources", {"key": key}, {"key": f"#{number}", "address": f"#{number}"})
    for number, (_, record) in enumerate(write.rows):
        values = {"key": record.key} | _described(record)
        ledger.update("resources", {"key": f"#{number}"}, values, counter="version")


def _put_account(ledger: Ledger, write: PutAccount) -> None:
    values = _columns("accounts", write.account)
    if not ledger.update("accounts", {"alias": write.account.alias}, values):
        ledger.insert("accounts", values)


def _put_outputs(ledger: Ledger, write: PutOutputs) -> None:
    ledger.delete("outputs", {"workspace": write.workspace})
    for name, value in sorted(write.outputs.items()):
        ledger.insert("outputs", {"workspace": write.workspace, "name": name, "value": _json(value)})


def _replace_state(ledger: Ledger, write: ReplaceState) -> None:
    new = write.snapshot
    # whoever approved a plan over a row must be told that somebody put it there anew
    versions = {row["key"]: row["version"] for row in ledger.rows("resources")}
    for table in ("resources", "intents", "accounts", "outputs"):
        ledger.delete(table, {})
    for record in new.records:
        _put_record(ledger, PutRecord(record))
    for key, version in versions.items():
        ledger.update("resources", {"key": key}, {"version": version + 1})
    for intent in new.intents:
        _open_intent(ledger, OpenIntent(intent))
    for account in new.accounts:
        _put_account(ledger, PutAccount(account))
    for workspace, outputs in new.outputs.items():
        _put_outputs(ledger, PutOutputs(workspace, outputs))
    ledger.meta["serial"] = str(max(int(ledger.meta["serial"]), new.serial))
    ledger.meta.update(project=new.project, lineage=new.lineage, salt=new.salt)


def _columns(table: str, fact: object) -> dict[str, Any]:
    """Give the columns of a table that are fields of a fact under the same name."""
    return {name: getattr(fact, name) for name in COLUMNS[table]}


def _described(record: Record) -> dict[str, str]:
    """Give what a row says of its machine as it stands in the file."""
    return {"address": str(record.address), "attributes": _json(record.attributes), "reads": _json(record.reads)}


def _json(value: object) -> str:
    return _ENCODE(value).decode()


_WRITERS: dict[type, Callable[[Ledger, Any], None]] = {
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
