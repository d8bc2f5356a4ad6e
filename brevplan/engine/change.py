"""The plan as a value: what would change, why, what it costs, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Final

from brevplan.diagnostics import Diagnostic
from brevplan.engine.address import Address
from brevplan.lang.values import Value

HOURS_PER_MONTH: Final = 730


class Action(StrEnum):
    """What happens to one resource instance. Start and stop are updates with a `power`."""

    NOOP = "no-op"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    """Destroyed first, then created."""
    REPLACE_CREATE_FIRST = "replace-create-first"
    FORGET = "forget"
    """Let go: the machine stays, and is no longer ours."""


class Power(StrEnum):
    START = "start"
    STOP = "stop"


class Reason(StrEnum):
    """Why, in the words of Terraform's plan representation where it has one."""

    NONE = ""
    CANNOT_UPDATE = "replace_because_cannot_update"
    REQUESTED = "replace_by_request"
    TRIGGERED = "replace_by_triggers"
    NO_RESOURCE_CONFIG = "delete_because_no_resource_config"
    COUNT_INDEX = "delete_because_count_index"
    EACH_KEY = "delete_because_each_key"
    WRONG_REPETITION = "delete_because_wrong_repetition"
    NO_MODULE = "delete_because_no_module"


@dataclass(frozen=True, slots=True)
class Change:
    """What is planned for one resource instance, or for one deposed machine of it.

    `before` is what was sighted, `after` what will be, with unknowns; either is None where there is nothing.
    `changed` names the attributes that differ, `replace_paths` those that force a replacement, `reasons` gives the
    words in parentheses behind an attribute.
    """

    address: Address
    action: Action
    before: Mapping[str, Value] | None
    after: Mapping[str, Value] | None
    alias: str = ""
    """The provider block of the machine that is there, or of the one to be made."""
    account: str = ""
    target_alias: str = ""
    """Where a replacement is made, when that is another provider block than `alias`."""
    deposed: str = ""
    """The ref_id of a machine that is not the address's current one."""
    record_key: str = ""
    record_version: int = 0
    cloud_id: str = ""
    ref_id: str = ""
    changed: tuple[str, ...] = ()
    replace_paths: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    reason: Reason = Reason.NONE
    power: Power | None = None
    power_loses_data: bool = False
    imports: str = ""
    """The cloud id of a machine that is adopted: found, and not recorded so far."""
    finish: bool = False
    """Made by an earlier run that did not see it ready: the wait goes on."""
    gone: bool = False
    """Was recorded, and is gone: created anew."""
    unfinished: bool = False
    """A destroy that an earlier run began: nothing new is made at the address before it is done."""
    notes: tuple[str, ...] = ()
    blocked: str = ""
    reads: frozenset[Address] = frozenset()
    price_before: Decimal | None = Decimal(0)
    price_after: Decimal | None = Decimal(0)
    """USD per hour; None when it is not known."""
    moved_from: Address | None = None
    """What the address was called when it was recorded."""
    asked: bool = False
    """With `imports`: an `import` block names the machine."""
    supersedes: str = ""
    """The key of a row whose machine is gone, and which makes room for what was found in its place."""
    follows: tuple[str, ...] = ()
    """Attributes that follow other machines: they are made true at the end, once these have come and gone."""

    @property
    def made_at(self) -> str:
        """The provider block where a create of this change happens."""
        return self.target_alias or self.alias

    @property
    def is_replace(self) -> bool:
        return self.action in (Action.REPLACE, Action.REPLACE_CREATE_FIRST)

    @property
    def destroys(self) -> bool:
        return self.is_replace or self.action is Action.DELETE

    @property
    def creates(self) -> bool:
        return self.is_replace or self.action is Action.CREATE

    @property
    def is_only_power(self) -> bool:
        """Nothing but a start or a stop."""
        return self.action is Action.UPDATE and self.power is not None and not self.finish and not self.updates

    @property
    def only_follows(self) -> bool:
        """Nothing but what follows other machines."""
        others = set(self.changed) - set(self.follows)
        return bool(self.follows) and self.action is Action.UPDATE and not (others or self.power or self.finish)

    @property
    def updates(self) -> tuple[str, ...]:
        """The changed attributes other than those that a start or stop changes by itself."""
        return tuple(name for name in self.changed if name not in POWER_ATTRIBUTES) if self.power else self.changed

    @property
    def is_noop(self) -> bool:
        return self.action is Action.NOOP and not self.imports and self.moved_from is None


POWER_ATTRIBUTES: Final = frozenset({"power_state", "status", "public_ip", "private_ip", "hostname"})


@dataclass(frozen=True, slots=True)
class OutputChange:
    name: str
    action: Action
    before: Value
    after: Value
    sensitive: bool


@dataclass(frozen=True, slots=True)
class OrphanNote:
    """A machine of this project that nothing accounts for."""

    alias: str
    cloud_id: str
    ref_id: str
    address: str
    instance_type: str
    location: str
    hourly: Decimal | None


@dataclass(frozen=True, slots=True)
class Cost:
    """USD per hour over everything that the state holds; `unknown` counts machines whose price nobody gives."""

    before: Decimal
    after: Decimal
    unknown_before: int = 0
    unknown_after: int = 0

    @property
    def monthly_delta(self) -> Decimal:
        return (self.after - self.before) * HOURS_PER_MONTH


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of the plan's last lines."""

    imports: int = 0
    add: int = 0
    change: int = 0
    destroy: int = 0
    start: int = 0
    stop: int = 0
    forget: int = 0

    @property
    def any(self) -> bool:
        return any((self.imports, self.add, self.change, self.destroy, self.start, self.stop, self.forget))


class Mode(StrEnum):
    NORMAL = "normal"
    DESTROY = "destroy"
    REFRESH_ONLY = "refresh-only"


@dataclass(slots=True)
class Plan:
    mode: Mode
    workspace: str
    project: str
    changes: list[Change]
    outputs: dict[str, OutputChange]
    cost: Cost
    drift: list[Change] = field(default_factory=list)
    """What others changed since the last run: recorded against observed."""
    orphans: list[OrphanNote] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    plan_id: str = ""

    @property
    def effective(self) -> list[Change]:
        """The changes that would be carried out: neither no-op nor blocked."""
        return [change for change in self.changes if not change.is_noop and not change.blocked]

    @property
    def blocked(self) -> list[Change]:
        return [change for change in self.changes if change.blocked]

    @property
    def complete(self) -> bool:
        return not self.blocked

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to apply or to see: changes, imports, outputs, drift that was asked for."""
        if self.effective or any(output.action is not Action.NOOP for output in self.outputs.values()):
            return True
        return self.mode is Mode.REFRESH_ONLY and bool(self.drift)

    @property
    def counts(self) -> Counts:
        return count(self.effective)


def count(changes: list[Change]) -> Counts:
    """Count changes as the plan's last line does: a replace is one add and one destroy."""
    imports = add = changed = destroy = start = stop = forget = 0
    for change in changes:
        imports += bool(change.imports)
        add += change.creates
        destroy += change.destroys
        forget += change.action is Action.FORGET
        if change.action is Action.UPDATE:
            start += change.power is Power.START
            stop += change.power is Power.STOP
            changed += not change.is_only_power
    return Counts(imports, add, changed, destroy, start, stop, forget)


@lru_cache(maxsize=1024, typed=True)
def decimal_price(value: Value) -> Decimal | None:
    """Give a price attribute as an exact decimal; None when it is null or unknown."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Fraction):
        return Decimal(value.numerator) / Decimal(value.denominator)
    return None
