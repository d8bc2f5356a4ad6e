"""Rows written and read together with their sums: the only place that touches the tables of a state.

A `Ledger` belongs to one transaction that holds the pen. What it changes is counted, and `finish` writes the counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from brevplan.state.database import REBUILD
from brevplan.state.errors import StateDamaged
from brevplan.state.sums import (
    COLUMNS,
    COUNTED,
    Totals,
    damaged_rows,
    meta_sum,
    read_totals,
    row_sum,
    total_of,
    write_totals,
)

Values = Mapping[str, Any]
Row = tuple[Any, ...]
_META: Final = frozenset({"project", "lineage", "serial", "epoch", "salt", "workspace", "totals", "sum"})


class Ledger:
    """The state within one transaction: rows in and out of any table, and the values of `meta`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self.meta = read_meta(connection, path)
        self._before = dict(self.meta)
        self._totals = totals_of(self.meta, path)

    def insert(self, table: str, values: Values) -> None:
        columns = COLUMNS[table]
        row = [values[name] for name in columns]
        total = row_sum(table, row)
        self._connection.execute(
            f"INSERT INTO {table}({', '.join(columns)}, sum) VALUES ({', '.join('?' * (len(columns) + 1))})",
            (*row, total),
        )
        self._count(table, 1, total)

    def update(self, table: str, where: Values, changes: Values, *, counter: str = "") -> int:
        """Change the rows that have these values, and raise a counter of theirs; give how many there were."""
        found = self._find(table, where)
        for number, row in found:
            before = row_sum(table, list(row.values()))
            changed = {**changes, counter: row[counter] + 1} if counter else changes
            row.update(changed)
            after = row_sum(table, list(row.values()))
            self._connection.execute(
                f"UPDATE {table} SET {', '.join(f'{name} = ?' for name in changed)}, sum = ? WHERE rowid = ?",
                (*changed.values(), after, number),
            )
            self._count(table, 0, after - before)
        return len(found)

    def delete(self, table: str, where: Values) -> None:
        for number, row in self._find(table, where):
            self._connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
            self._count(table, -1, -row_sum(table, list(row.values())))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Give all rows of a table."""
        return [row for _, row in self._find(table, {})]

    def raise_number(self, key: str) -> int:
        """Count a value of `meta` up by one; give what it is now."""
        number = int(self.meta[key]) + 1
        self.meta[key] = str(number)
        return number

    def finish(self) -> None:
        """Write what changed in `meta`, the counts with it."""
        self.meta["totals"] = write_totals(self._totals)
        self.meta["sum"] = meta_sum(self.meta)
        changed = [(value, key) for key, value in self.meta.items() if self._before[key] != value]
        self._connection.executemany("UPDATE meta SET value = ? WHERE key = ?", changed)

    def _find(self, table: str, where: Values) -> list[tuple[int, dict[str, Any]]]:
        columns = COLUMNS[table]
        sql = f"SELECT rowid, {', '.join(columns)}, sum FROM {table} WHERE "
        conditions = " AND ".join(f"{name} = ?" for name in where) or "true"
        rows = self._connection.execute(sql + conditions, tuple(where.values())).fetchall()
        _raise_if_damaged(table, [row[1:] for row in rows], self._path)
        return [(row[0], dict(zip(columns, row[1:-1], strict=True))) for row in rows]

    def _count(self, table: str, rows: int, total: int) -> None:
        if table in COUNTED:
            before = self._totals[table]
            self._totals[table] = (before[0] + rows, before[1] + total)


@contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[Ledger]:
    """Hold the only pen for the block: everything that is written in it becomes durable at its end, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        ledger = Ledger(connection, path)
        yield ledger
        ledger.finish()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, str]:
    """Give the values of `meta`; raise `StateDamaged` when they are not those that were written."""
    rows = connection.execute("SELECT key, value FROM meta NOT INDEXED").fetchall()
    values = dict(rows)
    missing = sorted(_META - values.keys())
    if missing or len(values) != len(rows):
        what = f"{missing[0]} is missing" if missing else "a value is there twice"
        raise StateDamaged(f"{path}: its table meta is not whole ({what}).", REBUILD)
    if meta_sum(values) != values["sum"]:
        raise StateDamaged(f"{path}: its table meta is not what was written (its checksum differs).", REBUILD)
    return values


def totals_of(meta: Mapping[str, str], path: Path) -> Totals:
    try:
        totals = read_totals(meta["totals"])
        return {table: totals[table] for table in COUNTED}
    except (KeyError, ValueError) as problem:
        raise StateDamaged(f"{path}: its table meta is not whole (totals: {problem}).", REBUILD) from None


def read_rows(connection: sqlite3.Connection, table: str, path: Path, rest: str = "", values: Row = ()) -> list[Row]:
    """Give rows in the order of `COLUMNS`; raise `StateDamaged` for one that is not what was written."""
    sql = f"SELECT {', '.join(COLUMNS[table])}, sum FROM {table} {rest}"
    rows = connection.execute(sql, values).fetchall()
    _raise_if_damaged(table, rows, path)
    return rows


def read_table(connection: sqlite3.Connection, table: str, path: Path, totals: Totals) -> list[Row]:
    """Give all rows of a counted table; raise `StateDamaged` when one is missing or too many."""
    # NOT INDEXED: what an index lacks, the table may still have
    rows = read_rows(connection, table, path, "NOT INDEXED")
    if total_of(rows) != totals[table]:
        what = f"its table {table} has {len(rows)} rows, and not the {totals[table][0]} that were written"
        raise StateDamaged(f"{path}: {what}.", REBUILD)
    return rows


def _raise_if_damaged(table: str, rows: list[Row], path: Path) -> None:
    number = damaged_rows(table, rows)
    if number:
        what = "1 row" if number == 1 else f"{number} rows"
        raise StateDamaged(f"{path}: {what} of its table {table} cannot be what was written (the checksum differs).",
                           REBUILD)  # fmt: skip
