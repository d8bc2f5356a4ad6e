"""Sums and counts: every value of every row that a plan is made of is guarded, and older formats get theirs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from brevplan.engine.ports import DropRecord, PutRecord, Role, SetRole
from brevplan.state.database import APPLICATION_ID, MIGRATIONS
from brevplan.state.errors import StateDamaged
from brevplan.state.store import StateStore
from brevplan.state.sums import COLUMNS, COUNTED, row_sum
from tests.state.build import full, opened, read_everything, row

META = ("project", "lineage", "serial", "epoch", "salt", "workspace", "totals", "sum")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return full(tmp_path_factory.mktemp("good") / "brevplan.db", rows=3)


@pytest.fixture
def path(tmp_path: Path, good: bytes) -> Path:
    path = tmp_path / "brevplan.db"
    path.write_bytes(good)
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def is_refused(path: Path, *words: str) -> None:
    with pytest.raises(StateDamaged) as problem:
        read_everything(path)
    assert problem.value.hint
    for word in words:
        assert word in problem.value.detail


NUMBERS = {"settled", "seen", "protected", "version"}
PLACES = [
    (table, column)
    for table, columns in COLUMNS.items()
    for column in (*columns, "sum")
    if (table, column) != ("steps", "plan_id")  # then it is a step of no plan, and nobody reads it
]


@pytest.mark.parametrize(("table", "column"), PLACES)
def test_any_value_of_any_row_that_changes_is_noticed(path: Path, table: str, column: str) -> None:
    number = column in NUMBERS or column == "sum"
    new = f"{column} + 1" if number else f"{column} || ' '"
    change(path, f"UPDATE {table} SET {column} = {new} WHERE rowid = (SELECT min(rowid) FROM {table})")
    is_refused(path)


@pytest.mark.parametrize("key", META)
def test_any_value_of_meta_that_changes_is_noticed(path: Path, key: str) -> None:
    change(path, f"UPDATE meta SET value = value || '1' WHERE key = '{key}'")
    is_refused(path, "its table meta is not what was written")


@pytest.mark.parametrize("key", META)
def test_any_value_of_meta_that_is_missing_is_noticed(path: Path, key: str) -> None:
    change(path, f"DELETE FROM meta WHERE key = '{key}'")
    is_refused(path, f"{key} is missing")


@pytest.mark.parametrize("table", COUNTED)
def test_a_row_that_is_missing_is_noticed(path: Path, table: str) -> None:
    change(path, f"DELETE FROM {table} WHERE rowid = (SELECT min(rowid) FROM {table})")
    is_refused(path, f"its table {table} has")


@pytest.mark.parametrize("table", COUNTED)
def test_a_row_that_is_too_many_is_noticed(path: Path, table: str) -> None:
    """Even with a good sum of its own."""
    columns = COLUMNS[table]
    fresh = {columns[0]: f"{columns[0]} || '-2'", "role": "'deposed'"}
    values = ", ".join(fresh.get(name, name) for name in columns)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("row_sum", -1, lambda *values: row_sum(table, values))
        connection.execute(
            f"INSERT INTO {table}({', '.join(columns)}, sum) SELECT {values}, row_sum({values}) FROM {table} LIMIT 1"
        )
    is_refused(path, f"its table {table} has")


def test_rows_of_an_earlier_time_are_noticed(path: Path) -> None:
    """Rows with good sums of their own, and the counts of another time: a copy that was put back by half."""
    with closing(sqlite3.connect(path)) as connection:
        totals = connection.execute("SELECT key, value FROM meta").fetchall()
    store = opened(path)
    store.transact([DropRecord("k0"), SetRole("k1", Role.DEPOSED)])
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany("UPDATE meta SET value = ?2 WHERE key = ?1", totals)
    is_refused(path, "its table resources has 2 rows, and not the 3")


def test_a_damaged_row_is_not_written_over(path: Path) -> None:
    """What a write would mend is shown instead: nobody knows what else the row said."""
    store = opened(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE resources SET cloud_id = 'i-7' WHERE key = 'k0'")
    with pytest.raises(Exception, match="1 row of its table resources"):
        store.transact([PutRecord(row(0))])
    store.close()
    is_refused(path, "1 row of its table resources")


@pytest.mark.parametrize("values", [(1, "a"), ("1", "a"), (1.0, "a"), (b"1", "a"), (None, "a"), (1, "", "a"), ("1a",)])
def test_sums_tell_values_apart(values: tuple[object, ...]) -> None:
    others = [(1, "b"), ("a", 1), (1, "a", None), (2, "a")]
    assert all(row_sum("resources", values) != row_sum("resources", other) for other in others)
    assert row_sum("resources", values) != row_sum("intents", values)


def first_format(path: Path) -> None:
    """Make a state as the first format had it, without sums."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        MIGRATIONS[0](Database(connection))
        meta = {"project": "lab", "lineage": "l", "serial": "3", "epoch": "7", "salt": "s", "workspace": "default"}
        connection.executemany("INSERT INTO meta(key, value) VALUES (?, ?)", meta.items())
        connection.execute(
            "INSERT INTO resources(key, workspace, address, role, kind, attributes, alias, account, ref_id, cloud_id, "
            "settled, seen, protected, reads, version) "
            "VALUES ('k0', 'default', 'instance.m[0]', 'current', 'instance', "
            "'{\"id\":\"i-0\"}', 'local', 'print', 'bp-lab-0', 'i-0', 1, 1, 0, '[]', 4)"
        )
        connection.execute("INSERT INTO outputs(workspace, name, value) VALUES ('default', 'o', '{\"value\":1}')")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize("create", [True, False])
def test_a_state_of_the_first_format_gets_its_sums(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "brevplan.db"
    first_format(path)
    store = StateStore.open(path, create=create)
    assert store is not None
    (record,) = store.records()
    assert (str(record.address), record.cloud_id, record.version) == ("instance.m[0]", "i-0", 4)
    assert store.outputs("default") == {"o": {"value": 1}}
    meta = store.meta()
    assert (meta.format, meta.serial, meta.epoch, meta.lineage) == (len(MIGRATIONS), 3, 7, "l")
    store.close()
    read_everything(path)
    change(path, "UPDATE resources SET cloud_id = 'i-1'")
    is_refused(path)


@pytest.mark.parametrize("version", [0, 1, -1])
def test_a_format_number_that_is_damaged_does_not_migrate_twice(path: Path, version: int) -> None:
    change(path, f"PRAGMA user_version = {version}")
    content = path.read_bytes()
    is_refused(path, "its format number does not fit its tables")
    assert path.read_bytes() == content
