"""Checksums of what is stored: one a row, and for the tables that a plan is made of how many rows there are in all.

SQLite notices damage to its own structure, not a flipped bit inside a text, a page of an earlier time, or a row that is
gone with all its traces. A sum guards against accidents, not against somebody who computes it anew.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "accounts": ("alias", "fingerprint", "provider", "tenant", "endpoint"),
    "resources": (
        "key", "workspace", "address", "role", "kind", "attributes", "alias", "account", "ref_id", "cloud_id",
        "settled", "seen", "protected", "reads", "version",
    ),
    "intents": (
        "ref_id", "workspace", "address", "alias", "account", "run_id", "state", "request", "reads", "protected",
        "opened_at", "replaces",
    ),
    "outputs": ("workspace", "name", "value"),
    "runs": (
        "run_id", "workspace", "command", "actor", "git_commit", "started", "ended", "plan_id", "summary", "outcome",
    ),
    "steps": ("run_id", "plan_id", "step_id", "address", "verb", "status", "started", "ended", "error"),
}  # fmt: skip
"""What a row's sum covers, in this order: everything but its number."""

COUNTED: Final = ("accounts", "resources", "intents", "outputs")
"""Tables whose rows are counted. History is not: it grows for ever, and no plan is made of it."""

Totals = dict[str, tuple[int, int]]
"""Table → how many rows it has, and the sum of their sums."""

_SEEDS: Final = {table: zlib.crc32(table.encode()) for table in COLUMNS}
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_TOTALS: Final = msgspec.json.Decoder(Totals)


def row_sum(table: str, values: Sequence[Any]) -> int:
    """Give the sum of a row's values, which tells 1 from "1" and one table from another."""
    return zlib.crc32(_ENCODE(values), _SEEDS[table])


def damaged_rows(table: str, rows: Iterable[Sequence[Any]]) -> int:
    """Count the rows whose last value is not the sum of the others."""
    return sum(row_sum(table, row[:-1]) != row[-1] for row in rows)


def total_of(rows: Sequence[Sequence[Any]]) -> tuple[int, int]:
    return len(rows), sum(row[-1] for row in rows)


def meta_sum(values: Mapping[str, str]) -> str:
    """Give the sum of the table `meta`, which has a few rows only: one for all of them."""
    items = sorted(((str(key), value) for key, value in values.items() if key != "sum"), key=lambda item: item[0])
    return str(zlib.crc32(_ENCODE(items)))


def write_totals(totals: Totals) -> str:
    return msgspec.json.encode(totals, order="sorted").decode()


def read_totals(text: str) -> Totals:
    """Read what `write_totals` wrote; raise `ValueError` for anything else."""
    return _TOTALS.decode(text)


def reseal(connection: sqlite3.Connection) -> None:
    """Compute every sum anew, after the tables were given another form."""
    totals: Totals = {}
    for table, columns in COLUMNS.items():
        rows = connection.execute(f"SELECT rowid, {', '.join(columns)} FROM {table}").fetchall()
        sums = [(row_sum(table, row[1:]), row[0]) for row in rows]
        connection.executemany(f"UPDATE {table} SET sum = ? WHERE rowid = ?", sums)
        if table in COUNTED:
            totals[table] = total_of([(total,) for total, _ in sums])
    values = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    values["totals"] = write_totals(totals)
    values["sum"] = meta_sum(values)
    connection.executemany("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", values.items())
