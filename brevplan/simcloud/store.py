"""The rows of a simulated cloud: machines, places taken, fences and counters. What they mean is the model's.

A machine that is gone moves from `machines` to `gone`, so that a list stays as fast as the fleet is large and an audit
still finds everything.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from brevplan.contract.errors import InstanceNotFound
from brevplan.contract.model import Instance
from brevplan.simcloud.file import CloudFile
from brevplan.simcloud.model import Machine, number_of, with_body

_COLUMNS: Final = "number, ref_id, born_at, ready_at, fails_at, gone_at, user_data_digest, reboots, body"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Instance).decode

Place = tuple[str, str]
"""A location and a type: what stock is counted by."""


class Store:
    """What one file holds. Methods under "Rows" are called inside `write()` or `read()`."""

    def __init__(self, path: str | Path) -> None:
        self._file = CloudFile(path)

    @property
    def path(self) -> Path:
        return self._file.path

    def write(self) -> AbstractContextManager[None]:
        """Hold the only pen. Nothing that happened inside stays when the block raises."""
        return self._file.write()

    def read(self) -> AbstractContextManager[None]:
        """See one moment of the file."""
        return self._file.read()

    def exists(self) -> bool:
        return self._file.exists()

    def close(self) -> None:
        self._file.close()

    # Rows

    def machine(self, number: int) -> Machine | None:
        for table in ("machines", "gone"):
            found = self._one(f"SELECT {_COLUMNS} FROM {table} WHERE number = ?", number)
            if found:
                return found
        return None

    def by_ref_id(self, ref_id: str) -> Machine | None:
        """Give what was made under a ref_id first, gone or not."""
        for table in ("machines", "gone"):
            found = self._one(f"SELECT {_COLUMNS} FROM {table} WHERE ref_id = ? ORDER BY number LIMIT 1", ref_id)
            if found:
                return found
        return None

    def add(self, machine: Machine) -> None:
        table = "machines" if machine.gone_at is None else "gone"
        self._file.rows(f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *_row(machine))
        if machine.holds_place:
            self._take(machine, 1)

    def save(self, machine: Machine, before: Machine) -> None:
        """Put a living machine back, and let it take or leave its place."""
        self._file.rows(
            "UPDATE machines SET ref_id = ?2, born_at = ?3, ready_at = ?4, fails_at = ?5, gone_at = ?6, "
            "user_data_digest = ?7, reboots = ?8, body = ?9 WHERE number = ?1",
            *_row(machine),
        )
        if machine.holds_place != before.holds_place:
            self._take(machine, 1 if machine.holds_place else -1)

    def bury(self, machine: Machine, at: float) -> None:
        """Move a living machine among the gone."""
        self._file.rows("DELETE FROM machines WHERE number = ?", machine.number)
        if machine.holds_place:
            self._take(machine, -1)
        self.add(replace(machine, gone_at=at))

    def settled(self, now: float, lag: float) -> list[Instance]:
        """Give the bodies of all machines that are as they will stay; this is what a list of thousands is made of."""
        # The plus keeps SQLite from going by the index: nearly all rows are wanted, and in the order of the table.
        rows = self._file.rows(
            "SELECT body FROM machines WHERE +ready_at <= ? AND fails_at IS NULL ORDER BY number", now - lag
        )
        with _collector_paused():
            return [_decode(row[0]) for row in rows]

    def unsettled(self, now: float, lag: float) -> list[Machine]:
        """Give the others that a list may have to show: on their way up or down, new, failed, or gone a moment ago."""
        rows = self._file.rows(
            f"SELECT {_COLUMNS} FROM machines WHERE ready_at > ?1 AND fails_at IS NULL "
            f"UNION ALL SELECT {_COLUMNS} FROM machines WHERE fails_at IS NOT NULL "
            f"UNION ALL SELECT {_COLUMNS} FROM gone WHERE gone_at > ?1",
            now - lag,
        )
        return [_machine(row) for row in rows]

    def some(self, numbers: Iterable[int]) -> list[Machine]:
        wanted = _encode(sorted(set(numbers)))
        rows = self._file.rows(
            f"SELECT {_COLUMNS} FROM machines WHERE number IN (SELECT value FROM json_each(?1)) "
            f"UNION ALL SELECT {_COLUMNS} FROM gone WHERE number IN (SELECT value FROM json_each(?1))",
            wanted.decode(),
        )
        return [_machine(row) for row in rows]

    def taken(self) -> dict[Place, int]:
        """Say how many places are taken by location and type."""
        rows = self._file.rows("SELECT location, instance_type, places FROM taken")
        return {(location, instance_type): places for location, instance_type, places in rows}

    def taken_of(self, location: str, instance_type: str) -> int:
        sql = "SELECT places FROM taken WHERE location = ? AND instance_type = ?"
        return int(self._value(sql, location, instance_type) or 0)

    def unborn(self, ref_id: str, now: float) -> list[Machine]:
        """Give what was asked for under a ref_id and is not there yet."""
        rows = self._file.rows(f"SELECT {_COLUMNS} FROM machines WHERE ref_id = ? AND born_at > ?", ref_id, now)
        return [_machine(row) for row in rows]

    def fence(self, ref_id: str) -> None:
        self._file.rows("INSERT OR IGNORE INTO fences (ref_id) VALUES (?)", ref_id)

    def is_fenced(self, ref_id: str) -> bool:
        return self._value("SELECT 1 FROM fences WHERE ref_id = ?", ref_id) is not None

    def next_number(self, name: str) -> int:
        """Count one up and give it; a number is never given twice, whatever becomes of what bears it."""
        number = int(self.number(name)) + 1
        self.set_number(name, number)
        return number

    def number(self, name: str) -> float:
        return float(self._value("SELECT value FROM numbers WHERE name = ?", name) or 0.0)

    def set_number(self, name: str, value: float) -> None:
        self._file.rows("INSERT OR REPLACE INTO numbers (name, value) VALUES (?, ?)", name, value)

    def put_object(self, kind: str, id_: str, body: Mapping[str, Any]) -> None:
        """Keep something that stands beside machines: a key, a ruleset."""
        self._file.rows(
            "INSERT OR REPLACE INTO objects (kind, id, body) VALUES (?, ?, ?)", kind, id_, _encode(body).decode()
        )

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """Give all of a kind by id, in the order of their ids."""
        rows = self._file.rows("SELECT id, body FROM objects WHERE kind = ? ORDER BY id", kind)
        return {id_: msgspec.json.decode(body) for id_, body in rows}

    def drop_object(self, kind: str, id_: str) -> None:
        self._file.rows("DELETE FROM objects WHERE kind = ? AND id = ?", kind, id_)

    # Audit: for tests and for looking behind the cloud's back; each is a transaction of its own

    def machines(self, *, include_gone: bool = False) -> list[Machine]:
        """Give every machine as stored, in the order of making; also those not born yet."""
        if not self.exists():
            return []
        with self.read():
            tables = ("machines", "gone") if include_gone else ("machines",)
            rows = self._file.rows(
                " UNION ALL ".join(f"SELECT {_COLUMNS} FROM {table}" for table in tables) + " ORDER BY 1"
            )
            return [_machine(row) for row in rows]

    def fences(self) -> list[str]:
        if not self.exists():
            return []
        with self.read():
            return [row[0] for row in self._file.rows("SELECT ref_id FROM fences ORDER BY 1")]

    def delete_machine(self, cloud_id: str, *, at: float = 0.0) -> None:
        """End a machine behind everybody's back. With `at`, a lagging list goes on showing it from then."""
        with self.write():
            self.bury(self._living(cloud_id), at)

    def alter_machine(self, cloud_id: str, **fields: object) -> None:
        """Change what a machine reports (`name`, `tags`, `status`…) behind everybody's back."""
        with self.write():
            before = self._living(cloud_id)
            self.save(with_body(before, **fields), before)

    def _living(self, cloud_id: str) -> Machine:
        number = number_of(cloud_id)
        found = self.machine(number) if number is not None else None
        if found is None or found.gone_at is not None:
            raise InstanceNotFound(f'there is no machine "{cloud_id}"')
        return found

    def _take(self, machine: Machine, places: int) -> None:
        self._file.rows(
            "INSERT INTO taken (location, instance_type, places) VALUES (?1, ?2, ?3) "
            "ON CONFLICT DO UPDATE SET places = places + ?3",
            machine.body.location,
            machine.body.instance_type,
            places,
        )

    def _one(self, sql: str, *values: object) -> Machine | None:
        row = self._file.rows(sql, *values).fetchone()
        return _machine(row) if row else None

    def _value(self, sql: str, *values: object) -> float | None:
        row = self._file.rows(sql, *values).fetchone()
        return row[0] if row else None


def _row(machine: Machine) -> tuple[object, ...]:
    return (
        machine.number,
        machine.ref_id,
        machine.born_at,
        machine.ready_at,
        machine.fails_at,
        machine.gone_at,
        machine.user_data_digest,
        machine.reboots,
        _encode(machine.body).decode(),
    )


def _machine(row: tuple[Any, ...]) -> Machine:
    number, ref_id, born_at, ready_at, fails_at, gone_at, digest, reboots, body = row
    return Machine(
        number=number,
        ref_id=ref_id,
        born_at=born_at,
        ready_at=ready_at,
        fails_at=fails_at,
        gone_at=gone_at,
        user_data_digest=digest,
        reboots=reboots,
        body=_decode(body),
    )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking thousands of new values that hold no cycle: it takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
