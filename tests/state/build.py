"""State files to test with: fresh ones, full ones, and everything that can be read of one."""

from __future__ import annotations

from pathlib import Path

from brevplan.engine.address import Address
from brevplan.engine.ports import (
    AccountRow,
    Intent,
    OpenIntent,
    OpenRun,
    OpenStep,
    PutAccount,
    PutOutputs,
    PutRecord,
    Record,
    Role,
    RunRow,
    StepRow,
    Write,
)
from brevplan.state.store import StateStore


def opened(path: Path) -> StateStore:
    """Open a state for writing, as a run that holds the lock does."""
    store = StateStore.open(path, create=True)
    assert store is not None
    store.take("lab")
    return store


def row(number: int = 0, **fields: object) -> Record:
    base: dict[str, object] = {
        "key": f"k{number}", "workspace": "default", "address": Address("instance", "m", number), "role": Role.CURRENT,
        "kind": "instance", "attributes": {"id": f"i-{number}", "tags": {"a": "b"}}, "alias": "local",
        "account": "print", "ref_id": f"bp-lab-{number}", "cloud_id": f"i-{number}", "settled": False, "seen": False,
        "protected": True, "reads": ("firewall.web",), "has_secrets": False,
    }  # fmt: skip
    return Record(**{**base, **fields})  # type: ignore[arg-type]


INTENT = Intent(
    "bp-lab-x", "default", Address("instance", "m", "k"), "local", "print", "run-1", request={"name": "n"},
    reads=("firewall.web",), protected=True, opened_at="2026-01-01T00:00:00Z",
    replaces="bp-lab-old",
)  # fmt: skip
ACCOUNT = AccountRow("local", "print", "local", "tenant", "")
RUN = RunRow("run-1", "default", "apply", "ann@box", "abc", "2026-01-01T00:00:00Z", "", "plan-1", "1 to add", "running")
STEP = StepRow("run-1", "plan-1", "create instance.m[0]", "instance.m[0]", "create", "running", "t", "", "")


def full(path: Path, rows: int = 40) -> bytes:
    """Make a state with something in every table; give its bytes."""
    writes: list[Write] = [
        OpenRun(RUN), OpenStep(STEP), OpenIntent(INTENT), PutAccount(ACCOUNT),
        PutOutputs("default", {"o": {"value": 1}}),
        *(PutRecord(row(number)) for number in range(rows)),
    ]  # fmt: skip
    store = opened(path)
    store.transact(writes)
    store.close()
    return path.read_bytes()


def read_everything(path: Path) -> None:
    """Read and write all that there is; raise what that raises."""
    store = StateStore.open(path, create=True)
    assert store is not None
    try:
        store.meta()
        store.selected_workspace()
        store.records()
        store.intents()
        store.accounts()
        store.outputs("default")
        store.steps("plan-1")
        store.runs(10)
        store.take("lab")
        store.raise_epoch()
    finally:
        store.close()
