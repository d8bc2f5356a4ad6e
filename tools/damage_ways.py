"""Ways in which a state file comes to harm: each takes the files of a state and gives them damaged."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

PAGE = 1024
WAL_HEADER, FRAME_HEADER = 32, 24
TABLES = ("meta", "accounts", "resources", "intents", "outputs", "runs", "steps")

Files = dict[str, bytes]
"""What stands beside the configuration, by the end of its name: "" is the state, "-wal" its log."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole state, as it is now and as it was before, and one that is another project's."""

    name: str
    now: Files
    before: Files
    foreign: Files

    @property
    def has_log(self) -> bool:
        return "-wal" in self.now


Way = Callable[[random.Random, Shape], Files]


def ways_for(shape: Shape) -> Mapping[str, Way]:
    return {**ON_ANY, **ON_LOGS} if shape.has_log else {**ON_ANY, **BY_SQL}


# the state file


def _state(change: Callable[[random.Random, bytearray, Shape], bytes | bytearray]) -> Way:
    """Damage the state file alone; its log, if it has one, stays as it is."""

    def way(chance: random.Random, shape: Shape) -> Files:
        return {**shape.now, "": bytes(change(chance, bytearray(shape.now[""]), shape))}

    return way


def _one_bit(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _some_bytes(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    for _ in range(chance.choice((2, 4, 16, 64, 256))):
        data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    return data


def _letter_for_letter(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    """Change a letter or digit into another, so that every text stays a text."""
    while True:
        place = chance.randrange(len(data))
        if chr(data[place]).isascii() and chr(data[place]).isalnum():
            data[place] = ord(chance.choice("0123456789abcdefghij"))
            return data


def _sector(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    start = chance.randrange(0, len(data), 512)
    data[start : start + 512] = chance.randbytes(len(data[start : start + 512]))
    return data


def _cut(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    return data[: chance.randrange(1, len(data))]


def _cut_at_a_page(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    return data[: PAGE * chance.randrange(1, len(data) // PAGE)]


def _page(data: bytes | bytearray, number: int) -> bytes:
    return bytes(data[number * PAGE : (number + 1) * PAGE])


def _zeroed(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    number = chance.randrange(len(data) // PAGE)
    data[number * PAGE : (number + 1) * PAGE] = bytes(PAGE)
    return data


def _swapped(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    one, other = (chance.randrange(len(data) // PAGE) for _ in range(2))
    first, second = _page(data, one), _page(data, other)
    data[one * PAGE : (one + 1) * PAGE], data[other * PAGE : (other + 1) * PAGE] = second, first
    return data


def _repeated(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    one, other = (chance.randrange(len(data) // PAGE) for _ in range(2))
    data[other * PAGE : (other + 1) * PAGE] = _page(data, one)
    return data


def _older_pages(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    """Put pages of an earlier time between those of now, as a half-restored copy has them."""
    old = shape.before[""]
    for number in range(min(len(old), len(data)) // PAGE):
        if chance.random() < 0.5:
            data[number * PAGE : (number + 1) * PAGE] = _page(old, number)
    return data


def _header(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    for _ in range(chance.choice((1, 1, 2, 4))):
        data[chance.randrange(16, 100)] = chance.choice((0, 1, 2, 3, 255, chance.randrange(256)))
    return data


def _garbage_behind(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    return data + chance.randbytes(chance.choice((1, 100, PAGE, 5 * PAGE)))


def _emptied(chance: random.Random, shape: Shape) -> Files:
    return {"": b""}


def _of_another_program(chance: random.Random, shape: Shape) -> Files:
    return {"": _by_sql(b"", "CREATE TABLE notes(text)", "INSERT INTO notes VALUES ('x')")}


def _journal_of_another(chance: random.Random, shape: Shape) -> Files:
    """Leave a rollback journal of an earlier time beside the file: SQLite plays it back."""
    data = bytearray(_by_sql(shape.now[""], "PRAGMA journal_mode = DELETE")) if not shape.has_log else None
    if data is None:
        return {**shape.now, "-journal": chance.randbytes(2000)}
    return {"": bytes(data), "-journal": _hot_journal(shape.before[""])}


ON_ANY: dict[str, Way] = {
    "one bit flipped": _state(_one_bit),
    "some bytes changed": _state(_some_bytes),
    "a letter for a letter": _state(_letter_for_letter),
    "a sector of noise": _state(_sector),
    "cut short anywhere": _state(_cut),
    "cut short at a page": _state(_cut_at_a_page),
    "a page zeroed": _state(_zeroed),
    "two pages swapped": _state(_swapped),
    "a page repeated over another": _state(_repeated),
    "pages of an earlier time": _state(_older_pages),
    "header fields changed": _state(_header),
    "garbage behind the end": _state(_garbage_behind),
    "emptied": _emptied,
    "another program's database": _of_another_program,
    "a foreign rollback journal": _journal_of_another,
}


# the log


def _log(change: Callable[[random.Random, bytearray, Shape], bytes | bytearray]) -> Way:
    def way(chance: random.Random, shape: Shape) -> Files:
        return {**shape.now, "-wal": bytes(change(chance, bytearray(shape.now["-wal"]), shape))}

    return way


def _log_gone(chance: random.Random, shape: Shape) -> Files:
    return {"": shape.now[""]}


def _a_frame_out(chance: random.Random, data: bytearray, shape: Shape) -> bytearray:
    size = FRAME_HEADER + PAGE
    start = WAL_HEADER + size * chance.randrange(max((len(data) - WAL_HEADER) // size, 1))
    return data[:start] + data[start + size :]


ON_LOGS: dict[str, Way] = {
    "log gone": _log_gone,
    "log cut short": _log(_cut),
    "log: one bit flipped": _log(_one_bit),
    "log: some bytes changed": _log(_some_bytes),
    "log: a frame missing": _log(_a_frame_out),
    "log of an earlier time": lambda chance, shape: {**shape.now, "-wal": shape.before["-wal"]},
    "log of another state": lambda chance, shape: {**shape.now, "-wal": shape.foreign["-wal"]},
    "state of an earlier time under the log": lambda chance, shape: {**shape.now, "": shape.before[""]},
}


# by valid SQL


def _by_sql(content: bytes, *statements: str) -> bytes:
    """Carry statements out on a copy; those that SQLite refuses are left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        path.write_bytes(content)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                try:
                    connection.execute(statement)
                except sqlite3.IntegrityError:
                    continue
        return path.read_bytes()


def _columns(content: bytes, table: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        path.write_bytes(content)
        with closing(sqlite3.connect(path)) as connection:
            return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _one_row(table: str) -> str:
    return f"rowid = (SELECT rowid FROM {table} ORDER BY random() LIMIT 1)"


def _mangled(chance: random.Random, shape: Shape) -> Files:
    table = chance.choice(TABLES)
    column = chance.choice(_columns(shape.now[""], table))
    new = chance.choice(
        ["NULL", "''", "'x'", "0", "1", "2.5", "x'ff00'", "'{}'", "'current'", "'deposed'", "'i-00000001'", "'default'",
         f"{column} || 'x'", f"substr({column}, 2)", f"upper({column})",
         f"(SELECT {column} FROM {table} ORDER BY random() LIMIT 1)"]
    )  # fmt: skip
    which = chance.choice(["1", _one_row(table)])
    return {"": _by_sql(shape.now[""], f"UPDATE OR IGNORE {table} SET {column} = {new} WHERE {which}")}


def _deleted(chance: random.Random, shape: Shape) -> Files:
    table = chance.choice(TABLES)
    return {"": _by_sql(shape.now[""], f"DELETE FROM {table} WHERE {chance.choice(['1', _one_row(table)])}")}


def _doubled(chance: random.Random, shape: Shape) -> Files:
    table = chance.choice(TABLES)
    names = [name for name in _columns(shape.now[""], table) if name != "id"]
    key = names[0]
    fresh = [f"{name} || '-2'" if name == key and table != "runs" else name for name in names]
    return {"": _by_sql(
        shape.now[""],
        f"INSERT INTO {table}({', '.join(names)}) SELECT {', '.join(fresh)} FROM {table} WHERE {_one_row(table)}",
    )}  # fmt: skip


def _dropped(chance: random.Random, shape: Shape) -> Files:
    what = chance.choice(
        [*(f"DROP TABLE {table}" for table in TABLES), "DROP INDEX one_current", "DROP INDEX idx_resources_key",
         "PRAGMA user_version = 0", "PRAGMA user_version = 1", "PRAGMA user_version = -1", "PRAGMA user_version = 77",
         "PRAGMA application_id = 1", "ALTER TABLE resources RENAME COLUMN cloud_id TO id_of_cloud",
         "ALTER TABLE intents RENAME TO attempts"]
    )  # fmt: skip
    return {"": _by_sql(shape.now[""], what)}


def _index_short(chance: random.Random, shape: Shape) -> Files:
    """Take a row out of an index and leave it in the table, by telling SQLite for a while that the index is another."""
    data = shape.now[""]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        path.write_bytes(data)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"UPDATE resources SET role = 'x' WHERE role = 'current' AND {_one_row('resources')}")
            connection.execute("PRAGMA writable_schema = ON")
            kept = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'one_current'").fetchone()[0]
            other = kept.replace("'current'", "'nobody'")
            connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'one_current'", (other,))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE resources SET role = 'current' WHERE role = 'x'")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'one_current'", (kept,))
        return {"": path.read_bytes()}


BY_SQL: dict[str, Way] = {
    "a value mangled by SQL": _mangled,
    "rows deleted by SQL": _deleted,
    "a row doubled by SQL": _doubled,
    "tables, indexes or ids changed by SQL": _dropped,
    "an index without a row": _index_short,
}


def _hot_journal(old: bytes) -> bytes:
    """Make the journal of a transaction on an earlier state that was cut off."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.db")
        path.write_bytes(old)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("PRAGMA cache_spill = 1")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE resources SET attributes = attributes || '0'")
            connection.execute("UPDATE meta SET value = 'x'")
            connection.execute("CREATE TABLE wide(a)")
            connection.executemany("INSERT INTO wide VALUES (?)", [("x" * 900,)] * 50)
            return path.with_name("copy.db-journal").read_bytes()
