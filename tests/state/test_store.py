"""The state file: what each fact writes, who may write, and what the file itself is like."""

from __future__ import annotations

import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from brevplan.engine.address import Address
from brevplan.engine.ports import (
    CloseIntent,
    CloseRun,
    CloseStep,
    DropRecord,
    IntentState,
    OpenIntent,
    OpenRun,
    OpenStep,
    PutAccount,
    PutOutputs,
    PutRecord,
    RetireIntent,
    Role,
    SetRole,
    StateLost,
)
from brevplan.state.database import APPLICATION_ID, MIGRATIONS
from brevplan.state.store import StateStore
from tests.state.build import ACCOUNT, INTENT, RUN, STEP, full, opened, row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brevplan.db"


def test_no_file_is_no_state_and_makes_none(path: Path) -> None:
    assert StateStore.open(path, create=False) is None
    assert not path.exists()


def test_an_empty_file_is_no_state_yet(path: Path) -> None:
    path.touch(mode=0o644)
    assert StateStore.open(path, create=False) is None
    opened(path).close()
    assert path.stat().st_size > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_its_owners_alone_and_says_whose_it_is(path: Path) -> None:
    opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = sqlite3.connect(path)
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "application_id")]
    assert found == [1024, APPLICATION_ID]
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()


def test_closing_leaves_one_whole_file(path: Path) -> None:
    full(path)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_new_state_has_its_own_lineage_and_salt(path: Path, tmp_path: Path) -> None:
    one, other = opened(path), opened(tmp_path / "other.db")
    first, second = one.meta(), other.meta()
    assert first.lineage != second.lineage
    assert first.salt != second.salt
    assert (first.project, first.serial, first.epoch, first.format) == ("lab", 0, 1, len(MIGRATIONS))
    one.close()
    other.close()


def test_an_old_empty_format_is_brought_forward_once(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()
    opened(path).close()
    lineage = opened(path).meta().lineage
    assert opened(path).meta().lineage == lineage


# each fact


def test_records_are_kept_whole(path: Path) -> None:
    store = opened(path)
    one, other = row(0), row(1, address=Address("instance", "m", 'a"b'), role=Role.DESTROYING, settled=True, seen=True)
    store.transact([PutRecord(one), PutRecord(other)])
    assert store.records() == [replace(one, version=1), replace(other, version=1)]
    store.close()
    again = opened(path)
    assert again.records("default") == [replace(one, version=1), replace(other, version=1)]
    assert again.records("stage") == []
    again.close()


def test_every_write_of_a_row_raises_its_version(path: Path) -> None:
    store = opened(path)
    store.transact([PutRecord(row(0))])
    store.transact([PutRecord(row(0, settled=True, attributes={"id": "i-9"}))])
    store.transact([SetRole("k0", Role.DEPOSED)])
    assert store.records() == [row(0, settled=True, attributes={"id": "i-9"}, role=Role.DEPOSED, version=3)]
    store.transact([DropRecord("k0")])
    assert store.records() == []
    store.close()


def test_intents(path: Path) -> None:
    store = opened(path)
    second = replace(INTENT, ref_id="bp-lab-y")
    store.transact([OpenIntent(INTENT), OpenIntent(second)])
    assert store.intents() == [INTENT, second]
    store.transact([RetireIntent("bp-lab-x"), CloseIntent("bp-lab-y")])
    assert store.intents() == [replace(INTENT, state=IntentState.RETIRED, request={})]
    store.close()


def test_a_ref_id_is_used_once(path: Path) -> None:
    store = opened(path)
    store.transact([OpenIntent(INTENT)])
    with pytest.raises(StateLost):
        store.transact([OpenIntent(INTENT)])
    store.close()


def test_runs_and_steps(path: Path) -> None:
    store = opened(path)
    store.transact([OpenRun(RUN), OpenStep(STEP)])
    assert store.meta().serial == 1
    store.transact(
        [CloseStep("run-1", STEP.step_id, "failed", "t2", "why"), CloseRun("run-1", "t3", "0 added", "failed")]
    )
    assert store.steps("plan-1") == [replace(STEP, status="failed", ended="t2", error="why")]
    assert store.steps("plan-2") == []
    assert store.runs(5) == [replace(RUN, ended="t3", summary="0 added", outcome="failed")]
    store.transact([OpenRun(replace(RUN, run_id="run-2"))])
    assert [run.run_id for run in store.runs(1)] == ["run-2"]
    store.close()


def test_accounts_are_put_in_place_of_the_old(path: Path) -> None:
    store = opened(path)
    store.transact([PutAccount(ACCOUNT), PutAccount(replace(ACCOUNT, fingerprint="new"))])
    assert store.accounts() == {"local": replace(ACCOUNT, fingerprint="new")}
    store.close()


def test_outputs_are_those_of_one_workspace(path: Path) -> None:
    store = opened(path)
    store.transact([PutOutputs("default", {"b": {"value": 1}, "a": {"value": None}}), PutOutputs("stage", {"c": {}})])
    assert list(store.outputs("default").items()) == [("a", {"value": None}), ("b", {"value": 1})]
    store.transact([PutOutputs("default", {"a": {"value": 2}})])
    assert store.outputs("default") == {"a": {"value": 2}}
    assert store.outputs("stage") == {"c": {}}
    store.close()


# guards


@pytest.mark.parametrize(
    ("second", "allowed"),
    [
        (row(1, address=row(0).address), False),
        (row(1, address=row(0).address, role=Role.DEPOSED), True),
        (row(1, address=row(0).address, role=Role.DESTROYING), True),
        (row(1, address=row(0).address, workspace="stage"), True),
        (row(1), True),
    ],
)
def test_one_current_row_an_address(path: Path, second: object, allowed: bool) -> None:
    store = opened(path)
    store.transact([PutRecord(row(0))])
    if allowed:
        store.transact([PutRecord(second)])  # type: ignore[arg-type]
        assert len(store.records()) == 2
    else:
        with pytest.raises(StateLost):
            store.transact([PutRecord(second)])  # type: ignore[arg-type]
        assert store.records() == [replace(row(0), version=1)]
    store.close()


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    store = opened(path)
    store.transact([OpenIntent(INTENT)])
    with pytest.raises(StateLost):
        store.transact([PutRecord(row(0)), PutOutputs("default", {"o": {}}), OpenIntent(INTENT)])
    assert store.records() == []
    assert store.outputs("default") == {}
    store.transact([PutRecord(row(0))])
    assert len(store.records()) == 1
    store.close()


def test_who_did_not_take_the_state_cannot_write(path: Path) -> None:
    full(path)
    store = StateStore.open(path, create=False)
    assert store is not None
    with pytest.raises(StateLost, match="taken the state over"):
        store.transact([DropRecord("k0")])
    assert len(store.records()) == 40
    store.close()


def test_a_forced_lock_ends_the_old_writer(path: Path) -> None:
    store = opened(path)
    store.transact([PutRecord(row(0))])
    other = StateStore.open(path, create=False)
    assert other is not None
    other.raise_epoch()
    with pytest.raises(StateLost, match="taken the state over"):
        store.transact([DropRecord("k0")])
    assert store.take("") == other.meta().epoch == 3
    store.transact([DropRecord("k0")])
    assert other.records() == []
    store.close()
    other.close()


def test_taking_keeps_the_project_that_is_there(path: Path) -> None:
    store = opened(path)
    store.take("")
    assert store.meta().project == "lab"
    store.take("other")
    assert store.meta().project == "other"
    store.close()


def test_a_writer_that_is_in_the_way_is_told_of_in_words(path: Path) -> None:
    store = opened(path)
    store._connection.execute("PRAGMA busy_timeout = 10")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateLost, match="held by another program"):
        store.transact([PutRecord(row(0))])
    blocker.execute("ROLLBACK")
    blocker.close()
    store.transact([PutRecord(row(0))])
    store.close()


def test_many_that_make_the_state_at_once_make_one(tmp_path: Path) -> None:
    """The tables are made by whoever comes first; who only looks does not make any."""
    for attempt in range(5):
        path = tmp_path / f"{attempt}.db"
        start = threading.Barrier(8)

        def lineage(number: int, path: Path = path, start: threading.Barrier = start) -> str:
            start.wait(30)
            store = StateStore.open(path, create=number % 2 == 0)
            if store is None:
                return ""
            try:
                return store.meta().lineage
            finally:
                store.close()

        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lineage, range(8)))
        assert len(found - {""}) == 1
