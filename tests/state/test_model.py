"""The state against a plain model of it: every fact, alone and together, with crashes and other writers between."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brevplan.engine.address import Address
from brevplan.engine.ports import (
    AccountRow,
    CloseIntent,
    CloseRun,
    CloseStep,
    DropRecord,
    Intent,
    IntentState,
    MoveRecords,
    OpenIntent,
    OpenRun,
    OpenStep,
    PutAccount,
    PutOutputs,
    PutRecord,
    Record,
    RetireIntent,
    Role,
    RunRow,
    SetRole,
    StateLost,
    StepRow,
    Write,
)
from brevplan.state.store import StateStore
from tests.state.build import INTENT, RUN, STEP, row


class Refused(Exception):
    """The model says that a write must not be."""


@dataclass
class Model:
    """What a state is to hold."""

    records: dict[str, Record] = field(default_factory=dict)
    intents: dict[str, Intent] = field(default_factory=dict)
    accounts: dict[str, AccountRow] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[RunRow] = field(default_factory=list)
    steps: list[StepRow] = field(default_factory=list)
    serial: int = 0

    def after(self, writes: Sequence[Write]) -> Model:
        """Give the model with all of the writes, or raise `Refused` for the first that must not be."""
        model = deepcopy(self)
        for write in writes:
            model.write(write)
        return model

    def write(self, write: Write) -> None:
        match write:
            case PutRecord(record):
                before = self.records.get(record.key)
                self._put(replace(record, version=before.version + 1 if before else 1))
            case SetRole(key, role) if key in self.records:
                record = self.records[key]
                self._put(replace(record, role=role, version=record.version + 1))
            case DropRecord(key):
                self.records.pop(key, None)
            case MoveRecords(rows):
                self._move(rows)
            case OpenIntent(intent):
                if intent.ref_id in self.intents:
                    raise Refused
                self.intents[intent.ref_id] = intent
            case RetireIntent(ref_id) if ref_id in self.intents:
                self.intents[ref_id] = replace(self.intents[ref_id], state=IntentState.RETIRED, request={})
            case CloseIntent(ref_id):
                self.intents.pop(ref_id, None)
            case PutAccount(account):
                self.accounts[account.alias] = account
            case PutOutputs(workspace, outputs):
                self.outputs[workspace] = dict(outputs)
            case OpenRun(run):
                self.serial += 1
                self.runs = [replace(r, outcome="cut off") if r.outcome == "running" else r for r in self.runs]
                self.runs.append(run)
            case CloseRun(run_id, ended, summary, outcome):
                self.serial += 1
                closed = {"ended": ended, "summary": summary, "outcome": outcome}
                self.runs = [replace(r, **closed) if r.run_id == run_id else r for r in self.runs]
            case OpenStep(step):
                self.steps.append(step)
            case CloseStep(run_id, step_id, status, ended, error):
                done = {"status": status, "ended": ended, "error": error}
                self.steps = [
                    replace(s, **done) if (s.run_id, s.step_id) == (run_id, step_id) else s for s in self.steps
                ]

    def _put(self, record: Record) -> None:
        for other in self.records.values():
            is_same_place = (other.workspace, other.address) == (record.workspace, record.address)
            if other.key != record.key and is_same_place and other.role is record.role is Role.CURRENT:
                raise Refused
        self.records[record.key] = record

    def _move(self, rows: Sequence[tuple[str, Record]]) -> None:
        taken = [(self.records.pop(key), record) for key, record in rows if key in self.records]
        for before, record in taken:
            if record.key in self.records:
                raise Refused
            named = {"key": record.key, "address": record.address, "reads": record.reads}
            self._put(replace(before, **named, attributes=record.attributes, version=before.version + 1))


KEYS = st.sampled_from([f"k{number}" for number in range(5)])
ADDRESSES = st.sampled_from([Address("instance", "m", number) for number in range(4)])
WORKSPACES = st.sampled_from(["default", "stage"])
TEXTS = st.sampled_from(["", "plain", "ü € \u2028 𝄞", "quote ' and \"", "\x00 zero", "#0"])
JSON = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXTS | st.lists(TEXTS))
RECORDS = st.builds(
    lambda key, workspace, address, role, attributes, reads, settled: row(
        0, key=key, workspace=workspace, address=address, role=role, attributes=attributes, reads=tuple(reads),
        settled=settled,
    ),
    KEYS, WORKSPACES, ADDRESSES, st.sampled_from(Role), JSON, st.lists(TEXTS, max_size=2), st.booleans(),
)  # fmt: skip
REFS = st.sampled_from(["bp-lab-x", "bp-lab-y", "bp-lab-z"])
RUNS = st.sampled_from(["run-1", "run-2"])
MOVES = st.lists(st.tuples(KEYS, RECORDS), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
WRITE: st.SearchStrategy[Write] = st.one_of(
    RECORDS.map(PutRecord),
    st.builds(SetRole, KEYS, st.sampled_from(Role)),
    KEYS.map(DropRecord),
    MOVES.map(lambda rows: MoveRecords(tuple(rows))),
    st.builds(lambda ref, request: OpenIntent(replace(INTENT, ref_id=ref, request=request)), REFS, JSON),
    REFS.map(RetireIntent),
    REFS.map(CloseIntent),
    st.builds(lambda alias, text: PutAccount(AccountRow(alias, text, "local", text, "")), KEYS, TEXTS),
    st.builds(PutOutputs, WORKSPACES, st.dictionaries(TEXTS, JSON, max_size=3)),
    RUNS.map(lambda run: OpenRun(replace(RUN, run_id=run))),
    st.builds(CloseRun, RUNS, TEXTS, TEXTS, st.sampled_from(["done", "failed"])),
    st.builds(lambda run, step: OpenStep(replace(STEP, run_id=run, step_id=step)), RUNS, KEYS),
    st.builds(CloseStep, RUNS, KEYS, st.sampled_from(["done", "failed"]), TEXTS, TEXTS),
)


class StateMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="brevplan-model-"))
        self.path = self.folder / "brevplan.db"
        self.model = Model()
        self.epoch = self.copies = 0
        self._open()

    def _open(self) -> None:
        store = StateStore.open(self.path, create=True)
        assert store is not None
        self.store = store
        self._take()

    def _take(self) -> None:
        before, self.epoch = self.epoch, self.store.take("lab")
        assert self.epoch > before

    @rule(writes=st.lists(WRITE, min_size=1, max_size=6))
    def transact(self, writes: list[Write]) -> None:
        """All of a transaction or nothing of it, by what the model says of its worst write."""
        try:
            after = self.model.after(writes)
        except Refused:
            with pytest.raises(StateLost):
                self.store.transact(writes)
        else:
            self.store.transact(writes)
            self.model = after

    @rule(writes=st.lists(WRITE, min_size=1, max_size=4), fails=st.sampled_from(["first", "last"]))
    def transact_what_cannot_be(self, writes: list[Write], fails: str) -> None:
        doubled: list[Write] = [
            OpenIntent(replace(INTENT, ref_id="twice")),
            OpenIntent(replace(INTENT, ref_id="twice")),
        ]
        with pytest.raises(StateLost):
            self.store.transact([*doubled, *writes] if fails == "first" else [*writes, *doubled])

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self._open()

    @rule()
    def crash(self) -> None:
        """Go on with what was on disk at a moment at which nothing was closed."""
        self.copies += 1
        home = self.folder / str(self.copies)
        home.mkdir()
        for path in self.path.parent.glob("brevplan.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, home / path.name)
        self.store.close()
        self.path = home / "brevplan.db"
        self._open()

    @rule(write=WRITE)
    def another_takes_the_state(self, write: Write) -> None:
        other = StateStore.open(self.path, create=False)
        assert other is not None
        other.raise_epoch()
        other.close()
        with pytest.raises(StateLost, match="taken the state over"):
            self.store.transact([write])
        self._take()

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        store, model = self.store, self.model
        assert {record.key: record for record in store.records()} == model.records
        for workspace in ("default", "stage"):
            mine = {key: record for key, record in model.records.items() if record.workspace == workspace}
            assert {record.key: record for record in store.records(workspace)} == mine
            assert store.outputs(workspace) == model.outputs.get(workspace, {})
        assert {intent.ref_id: intent for intent in store.intents()} == model.intents
        assert store.accounts() == model.accounts
        assert store.runs(1000) == model.runs[::-1]
        assert store.steps(STEP.plan_id) == model.steps
        meta = store.meta()
        assert (meta.serial, meta.epoch, meta.project) == (model.serial, self.epoch, "lab")

    @invariant()
    def at_most_one_row_of_an_address_is_current(self) -> None:
        current = [(r.workspace, r.address) for r in self.store.records() if r.role is Role.CURRENT]
        assert len(current) == len(set(current))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


StateMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestState = StateMachine.TestCase
