"""What the engine needs of the world, as protocols, and what it writes down, as values.

The state port is synchronous and is called on the loop's thread: a transaction never spans a network call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from brevplan.contract.client import Clock
from brevplan.engine.address import Address
from brevplan.engine.reach import Reach


class Role(StrEnum):
    """What a recorded machine is to its address; at most one is `current`."""

    CURRENT = "current"
    DEPOSED = "deposed"
    DESTROYING = "destroying"
    FORGOTTEN = "forgotten"
    """Let go, at a cloud where the mark cannot be taken off: neither adopted nor told of ever again."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of what we remember. `key` is the ref_id; of an adopted machine without one, account and cloud id.

    `attributes` is plain JSON data in which digests stand for secrets. `settled` false means: made, and not yet
    seen to be ready. `seen` tells whether a list ever showed it since it was bound.
    """

    key: str
    workspace: str
    address: Address
    role: Role
    kind: str
    attributes: Mapping[str, Any]
    alias: str = ""
    account: str = ""
    ref_id: str = ""
    cloud_id: str = ""
    settled: bool = True
    seen: bool = True
    protected: bool = False
    reads: tuple[str, ...] = ()
    version: int = 0
    has_secrets: bool = True
    """False when it is known that no digest is among the attributes."""


class IntentState(StrEnum):
    OPEN = "open"
    """Committed before the launch request; nothing is known of its outcome."""
    RETIRED = "retired"
    """Given up after a whole grace window; looked for at every refresh, for ever."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt to make a machine, written down before the request leaves. A ref_id is used once, ever."""

    ref_id: str
    workspace: str
    address: Address
    alias: str
    account: str
    run_id: str
    state: IntentState = IntentState.OPEN
    request: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for, secrets as digests."""
    reads: tuple[str, ...] = ()
    protected: bool = False
    opened_at: str = ""
    replaces: str = ""
    """The key of the row that had the address when this was tried, and gives it up once this has a machine."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The account that a provider block led to when it was last used."""

    alias: str
    fingerprint: str
    provider: str
    tenant: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Meta:
    format: int
    project: str
    lineage: str
    serial: int
    epoch: int
    salt: str


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: str
    workspace: str
    command: str
    actor: str
    git_commit: str
    started: str
    ended: str
    plan_id: str
    summary: str
    outcome: str


@dataclass(frozen=True, slots=True)
class StepRow:
    run_id: str
    plan_id: str
    step_id: str
    address: str
    verb: str
    status: str
    started: str
    ended: str
    error: str


# What is written down. Each is one fact; those that belong together go into one transaction.


@dataclass(frozen=True, slots=True)
class OpenRun:
    run: RunRow


@dataclass(frozen=True, slots=True)
class CloseRun:
    run_id: str
    ended: str
    summary: str
    outcome: str


@dataclass(frozen=True, slots=True)
class OpenStep:
    step: StepRow


@dataclass(frozen=True, slots=True)
class CloseStep:
    run_id: str
    step_id: str
    status: str
    ended: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class OpenIntent:
    intent: Intent


@dataclass(frozen=True, slots=True)
class CloseIntent:
    """Nothing was made, or what was made is recorded by a row of its own: the intent is no longer needed."""

    ref_id: str


@dataclass(frozen=True, slots=True)
class RetireIntent:
    ref_id: str


@dataclass(frozen=True, slots=True)
class ChangeIntent:
    """Write what an attempt is for anew: address, request, reads and protection; what became of it stays."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Write a row, new or not; its version goes up by one."""

    record: Record


@dataclass(frozen=True, slots=True)
class SetRole:
    key: str
    role: Role


@dataclass(frozen=True, slots=True)
class DropRecord:
    key: str


@dataclass(frozen=True, slots=True)
class MoveRecords:
    """Give rows new addresses, and new names of what they read, all at once: one may take the place of another."""

    rows: tuple[tuple[str, Record], ...]
    """The key that each row has now, and the row as it is to be called."""


@dataclass(frozen=True, slots=True)
class PutAccount:
    account: AccountRow


@dataclass(frozen=True, slots=True)
class PutOutputs:
    workspace: str
    outputs: Mapping[str, Any]
    """Name → {"value": JSON data, "type": JSON data, "sensitive": bool}; a sensitive one has no value."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a state remembers of the world, at one moment; its history is not part of it."""

    project: str
    lineage: str
    serial: int
    salt: str
    records: tuple[Record, ...] = ()
    intents: tuple[Intent, ...] = ()
    accounts: tuple[AccountRow, ...] = ()
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By workspace, as in `PutOutputs`."""

    @property
    def is_empty(self) -> bool:
        return not (self.records or self.intents or any(self.outputs.values()))


@dataclass(frozen=True, slots=True)
class ReplaceState:
    """Put a snapshot in the place of everything but the history. The serial never falls."""

    snapshot: Snapshot


Write = (
    OpenRun
    | CloseRun
    | OpenStep
    | CloseStep
    | OpenIntent
    | CloseIntent
    | RetireIntent
    | ChangeIntent
    | PutRecord
    | SetRole
    | DropRecord
    | MoveRecords
    | PutAccount
    | PutOutputs
    | ReplaceState
)


class StateLost(Exception):
    """The state can no longer be written by this run: another took the lock, or the disk fails. The text says which."""


class Journal(Protocol):
    """Where facts are written. One call is one durable transaction; raises `StateLost`."""

    def transact(self, writes: Sequence[Write]) -> None: ...


class Memory(Protocol):
    """What is remembered, read at the start of a run."""

    def meta(self) -> Meta: ...

    def records(self, workspace: str | None = None) -> list[Record]: ...

    def intents(self) -> list[Intent]: ...

    def accounts(self) -> dict[str, AccountRow]: ...

    def outputs(self, workspace: str) -> dict[str, Any]: ...

    def steps(self, plan_id: str) -> list[StepRow]: ...

    def snapshot(self) -> Snapshot:
        """Read everything as it is at one moment, whoever writes meanwhile."""
        ...


class Ids(Protocol):
    """Random names as a parameter."""

    def attempt(self) -> str:
        """Give 6 characters of `[a-z2-7]`, new for every call."""
        ...

    def run(self) -> str: ...


@dataclass(frozen=True, slots=True)
class World:
    """Time, chance and a hand, given to everything that waits, names or works on machines themselves."""

    clock: Clock
    ids: Ids
    reach: Reach | None = None
    """How machines are reached over SSH; None for those who only look."""


def state_key(workspace: str, address: Address) -> str:
    """Give the key of a row for something that lives in the state alone."""
    return f"state:{workspace}:{address}"


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC with whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def addresses(texts: Iterable[str]) -> frozenset[Address]:
    return frozenset(Address.parse(text) for text in texts)
