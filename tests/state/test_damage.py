"""State files that cannot be used: every way ends in a `StateError` that tells what is wrong."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from brevplan.engine.ports import PutRecord
from brevplan.state.database import APPLICATION_ID, MIGRATIONS
from brevplan.state.errors import StateDamaged, StateError, StateForeign, StateTooNew, StateUnusable
from brevplan.state.store import StateStore
from tests.state.build import full, opened, read_everything, row

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return full(tmp_path_factory.mktemp("good") / "brevplan.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brevplan.db"


def refusal(path: Path) -> StateError:
    with pytest.raises(StateError) as problem:
        read_everything(path)
    return problem.value


def run_sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    run_sql(path, "CREATE TABLE theirs(x)", "INSERT INTO theirs VALUES (1)")
    problem = refusal(path)
    assert isinstance(problem, StateForeign)
    assert "another program" in problem.detail
    assert 'backend "sqlite"' in problem.hint


@pytest.mark.parametrize("content", [b"hello, this is no database at all" * 50, b"\0" * 4096, b"SQLite format 3\0"])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert isinstance(refusal(path), (StateForeign, StateDamaged))


def test_a_newer_format_is_refused(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    run_sql(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    problem = refusal(path)
    assert isinstance(problem, StateTooNew)
    assert "Install a newer brevplan" in problem.hint


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_are_noticed_or_do_no_harm(path: Path, good: bytes, seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(good)
    for _ in range(chance.choice([16, 64, 256])):
        damaged[chance.randrange(2048, len(damaged))] ^= 0x01  # a text stays text
    path.write_bytes(damaged)
    with suppress(StateError):  # anything else that is raised fails the test
        read_everything(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_damaged(path: Path, good: bytes, share: float) -> None:
    path.write_bytes(good[: int(len(good) * share)])
    problem = refusal(path)
    assert isinstance(problem, (StateDamaged, StateForeign))
    assert "brevplan rebuild" in problem.hint


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE resources SET address = 'x y' WHERE key = 'k0'",
        "UPDATE resources SET role = 'king' WHERE key = 'k0'",
        "UPDATE resources SET attributes = '{' WHERE key = 'k0'",
        "UPDATE resources SET attributes = '[]' WHERE key = 'k0'",
        "UPDATE resources SET attributes = NULL WHERE key = 'k0'",
        "UPDATE resources SET reads = '{}' WHERE key = 'k0'",
        "UPDATE intents SET state = 'odd'",
        "UPDATE intents SET request = '5'",
        "UPDATE outputs SET value = 'x'",
        "DELETE FROM meta WHERE key = 'salt'",
        "UPDATE meta SET value = 'x' WHERE key = 'epoch'",
    ],
)
def test_a_row_that_we_did_not_write_is_damage(path: Path, good: bytes, statement: str) -> None:
    path.write_bytes(good)
    run_sql(path, "PRAGMA journal_mode = DELETE", statement)
    assert isinstance(refusal(path), StateDamaged)


@pytest.mark.parametrize("table", ["resources", "intents", "meta", "steps"])
def test_a_missing_table_is_told_in_words(path: Path, good: bytes, table: str) -> None:
    path.write_bytes(good)
    run_sql(path, "PRAGMA journal_mode = DELETE", f"DROP TABLE {table}")
    assert table in refusal(path).detail


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "missing" / "brevplan.db",
        lambda folder: folder,
        lambda folder: folder / "file" / "brevplan.db",
    ],
)
def test_a_path_that_cannot_be(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable):
        StateStore.open(make(tmp_path), create=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written(path: Path) -> None:
    full(path)
    path.chmod(0o400)
    store = StateStore.open(path, create=False)
    assert store is not None
    with pytest.raises(StateError, match="read-only"):
        store.take("lab")
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StateUnusable):
            StateStore.open(tmp_path / "brevplan.db", create=True)
    finally:
        tmp_path.chmod(0o700)


FULL_DISK = """
import pathlib, resource, sys
from brevplan.engine.ports import PutRecord, StateLost
from tests.state.build import opened, row

store = opened(pathlib.Path(sys.argv[1]))
store.transact([PutRecord(row(0))])
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    for number in range(1, 1000):
        store.transact([PutRecord(row(number, attributes={"x": "y" * 500}))])
except StateLost as problem:
    print(number, problem)
"""


def test_a_full_disk_loses_nothing_that_was_written(path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    number = int(done.stdout.split()[0])
    assert "failed (disk I/O error)" in done.stdout
    store = opened(path)
    assert len(store.records()) == number
    store.transact([PutRecord(row(5000))])
    store.close()


KILLED = """
import os, pathlib, signal, sys
from brevplan.engine.ports import PutRecord
from tests.state.build import opened, row

store = opened(pathlib.Path(sys.argv[1]))
for number in range(30):
    store.transact([PutRecord(row(number))])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_in_the_log_is_read(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 0
    alone = path.parent / "alone"
    alone.mkdir()
    shutil.copy(path, alone / path.name)  # the file without its log is an older state, and a whole one
    store = opened(path)
    assert len(store.records()) == 30
    store.close()
    assert not log.exists()
    read_everything(alone / path.name)


def test_the_application_id_alone_makes_a_file_ours(path: Path, good: bytes) -> None:
    path.write_bytes(good)
    run_sql(path, "PRAGMA journal_mode = DELETE", "PRAGMA application_id = 7")
    assert isinstance(refusal(path), StateForeign)
    assert APPLICATION_ID != 7
