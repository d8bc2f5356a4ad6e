"""State files: what is refused is left untouched, and every failure is a `StateError` with a way out."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from brevplan.state.errors import StateError
from brevplan.state.store import StateStore
from tests.state.build import full, read_everything


def test_another_programs_database_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs(x)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateError):
        StateStore.open(path, create=True)
    assert path.read_bytes() == before


def test_a_tiny_file_that_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "brevplan.db"
    path.write_bytes(b"x")
    with pytest.raises(StateError):
        StateStore.open(path, create=True)
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("seed", range(60))
def test_bytes_that_are_no_text_any_more_are_damage_too(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "brevplan.db"
    chance = random.Random(seed)
    damaged = bytearray(full(path))
    for _ in range(chance.choice([1, 16, 64, 256])):
        damaged[chance.randrange(len(damaged))] ^= 0xFF
    path.write_bytes(damaged)
    with suppress(StateError):  # anything else that is raised fails the test
        read_everything(path)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM meta WHERE key = 'workspace'", "UPDATE resources SET address = NULL WHERE key = 'k0'",
     "DROP TABLE resources", "DROP TABLE meta", "UPDATE meta SET value = 'x' WHERE key = 'epoch'"],
)  # fmt: skip
def test_rows_that_we_did_not_write(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "brevplan.db"
    full(path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(StateError) as problem:
        read_everything(path)
    assert problem.value.hint


@pytest.mark.parametrize("place", ["missing/brevplan.db", "", "file/brevplan.db"])
def test_a_path_that_cannot_be_has_a_way_out(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError) as problem:
        StateStore.open(tmp_path / place, create=True)
    assert problem.value.hint
