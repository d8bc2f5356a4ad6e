"""The working place of one run: what every step needs, how a step ends badly, and one attribute changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from brevplan.contract.model import CloudId, InstanceType
from brevplan.engine.access import Access, Shell
from brevplan.engine.accounts import Account, Snapshot
from brevplan.engine.address import Address
from brevplan.engine.committer import Committer
from brevplan.engine.graph import Step
from brevplan.engine.kind import MachineKind
from brevplan.engine.ports import CloseStep, OpenStep, Record, StepRow, World, rfc3339
from brevplan.engine.reach import ReachError
from brevplan.engine.secrets import seal_attributes
from brevplan.lang.values import Value

T = TypeVar("T")


class StepError(Exception):
    """A step did not reach its end. `uncertain` says that the next run goes on with it."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class Interrupted(Exception):
    """The run was asked to stop, and this step lets go at a safe place."""


class Slots(Protocol):
    """Bounds the calls under way; refuses entry once the run is asked to stop."""

    def slot(self) -> AbstractAsyncContextManager[None]: ...

    @property
    def stopping(self) -> bool: ...

    async def reserve(self, account: Account) -> None:
        """Wait for the rate token of a launch; raises `Interrupted` as soon as the run is asked to stop."""
        ...

    async def snapshot(self, account: Account) -> Snapshot | None:
        """Wait for the account's next list; None as soon as the run is asked to stop."""
        ...

    async def unless_stopped(self, awaited: Coroutine[Any, Any, T]) -> T | None:
        """Wait for something; None as soon as the run is asked to stop."""
        ...


@dataclass(slots=True)
class Workshop:
    """What every step of a run needs."""

    workspace: str
    project: str
    salt: str
    run_id: str
    plan_id: str
    world: World
    committer: Committer
    slots: Slots
    accounts: Mapping[str, Account]
    bound_ids: dict[tuple[str, str], str]
    """(account, cloud id) of every machine that is recorded, with the key of its row."""
    progress: Callable[[Step, str], None]
    listed: set[str] = field(default_factory=set)
    """Cloud ids that a list has shown since they were bound."""
    row_keys: set[str] = field(default_factory=set)
    """The keys of the rows of `bound_ids`."""
    types: dict[str, dict[tuple[str, str], InstanceType]] = field(default_factory=dict)
    """The catalogues that were read, by provider block."""
    rows: dict[Address, Record] = field(default_factory=dict)
    """The rows of machines that this run has brought to an end: made, changed, or taken in."""
    touched: set[str] = field(default_factory=set)
    """Aliases of accounts in which this run launched something: looked at once more at the end."""

    def __post_init__(self) -> None:
        self.row_keys.update(self.bound_ids.values())

    def bind(self, account: Account, record: Record) -> None:
        """Remember whose a machine is."""
        self.bound_ids[(account.fingerprint, record.cloud_id)] = record.key
        self.row_keys.add(record.key)

    def account_of(self, record: Record) -> Account | None:
        """Give the account that a recorded machine stands in."""
        for account in self.accounts.values():
            if account.fingerprint == record.account:
                return account
        return self.accounts.get(record.alias)

    def now(self) -> str:
        return rfc3339(self.world.clock.now())

    def open_step(self, step: Step) -> OpenStep:
        return OpenStep(
            StepRow(
                self.run_id,
                self.plan_id,
                step.step_id,
                str(step.address),
                step.verb.value,
                "running",
                self.now(),
                "",
                "",
            )
        )

    def close_step(self, step: Step, status: str = "done", error: str = "") -> CloseStep:
        return CloseStep(self.run_id, step.step_id, status, self.now(), error)

    def sealed(self, attributes: Mapping[str, Value]) -> dict[str, Any]:
        return seal_attributes(attributes, self.salt)


@dataclass(frozen=True, slots=True)
class Target:
    """The declared side of a step: the kind, final attributes, and what goes into the row."""

    kind: MachineKind
    attributes: Mapping[str, Value]
    reads: tuple[str, ...]
    protected: bool
    timeout: float
    access: Access | None = None
    """How the machine is reached over SSH, where its declaration asks for that."""


async def change_attribute(
    shop: Workshop, goal: Target, account: Account, cloud_id: str, name: str, deadline: float,
    shell: Shell | None = None,
) -> None:  # fmt: skip
    try:
        async with shop.slots.slot():
            await account.patience.retried(
                lambda: goal.kind.update(account.client, CloudId(cloud_id), name, goal.attributes, shell),
                until=deadline,
            )
    except ReachError as problem:
        raise StepError(f"{name} of {cloud_id} could not be changed over SSH: {problem}", uncertain=True) from None
