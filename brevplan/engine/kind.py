"""What a kind of resource is to the engine: its schema, and the questions that only it can answer.

A kind is data plus pure functions, implemented in `brevplan.kinds`; the async half (how it is made and unmade)
is in `brevplan.engine.ports`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from typing import Any, Protocol

from brevplan.contract.client import Traits
from brevplan.contract.model import CloudId, CreateInstanceAttrs, Image, Instance, InstanceType, Location, RefId
from brevplan.contract.provider import ProviderSpec
from brevplan.diagnostics import Span
from brevplan.engine.access import Access, Shell
from brevplan.engine.address import Address
from brevplan.lang.types import STRING, Type
from brevplan.lang.values import Value


class Effect(Enum):
    """What a changed attribute does to the thing it belongs to."""

    UPDATE = auto()
    REPLACE = auto()
    POWER = auto()
    NOTHING = auto()
    """The change is remembered, or shown as a note, and no step is taken for it."""
    ERROR = auto()
    """The change is refused: it blocks that resource."""


Check = Callable[[Value], str]
"""Judges a known, not null value: an empty text, or what is wrong with it and what would be right."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute. `configurable` false means that only the provider sets it (computed)."""

    name: str
    type: Type = STRING
    required: bool = False
    configurable: bool = True
    computed: bool = False
    """Has a value even when the configuration says nothing."""
    sensitive: bool = False
    stored: bool = True
    """False for arguments that only steer brevplan and are no part of the resource."""
    kept: bool = False
    """Computed once when it is left out, and inherited by a replacement."""
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A nested block. `single` allows at most one; `refusal` says why it cannot be used yet."""

    name: str
    attributes: Mapping[str, AttributeSpec]
    single: bool = False
    stored: bool = True
    refusal: str = ""


@dataclass(frozen=True)
class Schema:
    attributes: Mapping[str, AttributeSpec]
    blocks: Mapping[str, BlockSpec] = field(default_factory=dict)

    @cached_property
    def argument_order(self) -> tuple[str, ...]:
        """Give the names of all arguments and blocks, in the order of the schema."""
        return (*self.argument_names(), *self.blocks)

    @cached_property
    def stored_names(self) -> tuple[str, ...]:
        """Give the names of the attributes and blocks that are part of a resource."""
        attributes = [name for name, spec in self.attributes.items() if spec.stored]
        return (*attributes, *(name for name, block in self.blocks.items() if block.stored))

    def argument_names(self) -> list[str]:
        return [name for name, spec in self.attributes.items() if spec.configurable]

    def is_argument(self, name: str) -> bool:
        """Tell whether the configuration may set an attribute of this name."""
        spec = self.attributes.get(name)
        return spec is not None and spec.configurable


Attributes = Mapping[str, Value]
"""The attributes of one resource instance. A nested block that may repeat is a `Tuple` of `Object`s."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in one declared instance: about which argument, what is wrong, what to write instead."""

    attribute: str
    summary: str
    detail: str
    hint: str = ""
    span: Span | None = None
    tells_value: bool = True
    """Whether the detail may hold the argument's value, so that it is not shown where that is sensitive."""


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute that differs, what that leads to, and why (`(known reason)` behind the line in the plan)."""

    name: str
    effect: Effect
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ability:
    """What is known of the provider while one instance is planned.

    `types` holds the catalogue as (type, location) → type, or is None while it has not been asked for: a kind that
    needs it raises `NeedsCatalogue`.
    """

    alias: str
    provider: ProviderSpec
    traits: Traits
    types: Mapping[tuple[str, str], InstanceType] | None = None
    images: Mapping[str, Image] | None = None
    salt: str = ""
    """Salts the digests that stand for secrets in the state."""
    peers: Callable[[], Mapping[str, frozenset[str]]] = dict
    """Gives the addresses of the machines that list each firewall, by the firewall's id."""


class NeedsCatalogue(Exception):
    """Planning cannot go on without the instance types of an account."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self.alias = alias


@dataclass(slots=True)
class Outcome:
    """What a kind says of one instance: the planned attributes, what differs, and what the user should know."""

    after: dict[str, Value]
    changes: list[AttributeChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocked: str = ""
    """Why nothing can be done about it now; an empty text when something can."""
    findings: list[Finding] = field(default_factory=list)
    """Mistakes that only the catalogue shows: no such type, no such region."""
    launches: tuple[str, str, int | None] | None = None
    """Type, location and visible stock (None: not told) of the machine that would be launched."""
    unstocked: bool = False
    """The type shows no stock at all."""
    stop_loses_data: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written on a new machine so that it is never lost: see `brevplan.engine.identity`."""

    ref_id: RefId
    cred_ref_id: str
    address_tag: str


class Kind(Protocol):
    """The pure half of a resource kind."""

    name: str
    schema: Schema
    needs_provider: bool

    def check(self, desired: Attributes, address: Address, ability: Ability | None) -> list[Finding]:
        """Judge the arguments together, as far as they are known. Offline."""
        ...

    def observe(self, instance: Instance, traits: Traits | None) -> dict[str, Value]:
        """Give the attributes that a machine's provider reports truthfully, and all computed ones."""
        ...

    def plan_create(self, desired: Attributes, address: Address, ability: Ability | None) -> Outcome: ...

    def plan_update(
        self,
        desired: Attributes,
        current: Attributes,
        address: Address,
        ability: Ability | None,
        machine: Instance | None = None,
        salt: str = "",
    ) -> Outcome: ...

    def follows(self, desired: Attributes) -> frozenset[str]:
        """Give the ids of the resources whose members this one follows: its rules change as others come and go."""
        ...

    def hourly_price(self, attributes: Attributes) -> Value:
        """Give USD per hour as things stand in these attributes (0 when stopped), null when it is not known."""
        ...

    def written(self, observed: Attributes) -> Mapping[str, Value]:
        """Give the arguments that declare something as it is seen, without those that say what is usual."""
        ...

    def renamed(self, attributes: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
        """Give recorded attributes with the addresses in them called by their new names."""
        ...


class DataKind(Protocol):
    """A data source: a schema, and a pure reading of what was fetched."""

    name: str
    schema: Schema

    def read(self, arguments: Attributes, alias: str, catalogue: Catalogue) -> dict[str, Value]:
        """Give the attributes; raise `NeedsCatalogue`, or `ValueError` with a sentence."""
        ...


class Catalogue(Protocol):
    """What data sources read: everything fetched so far, by provider key."""

    @property
    def types(self) -> Mapping[str, Mapping[tuple[str, str], InstanceType]]: ...

    @property
    def locations(self) -> Mapping[str, Sequence[Location]]: ...

    @property
    def images(self) -> Mapping[str, Sequence[Image]]: ...

    def machine(self, alias: str, cloud_id: str, ref_id: str) -> Instance | None:
        """Find a living machine by its cloud id or its ref_id."""
        ...


class MachineKind(Kind, Protocol):
    """A kind that is a machine at a provider: how it is asked for and changed."""

    def request(self, attributes: Attributes, mark: Mark) -> CreateInstanceAttrs:
        """Give the launch request for attributes that are all known."""
        ...

    async def update(
        self, client: Any, cloud_id: CloudId, name: str, attributes: Attributes, shell: Shell | None
    ) -> None:
        """Make one changed attribute true, at the provider or over SSH; repeating it changes nothing."""
        ...

    def is_while_stopped(self, name: str) -> bool:
        """Tell whether an attribute of a living machine changes only while that is stopped."""
        ...

    def following(self, desired: Attributes, attributes: Attributes, ability: Ability) -> Mapping[str, Value]:
        """Give those attributes that follow other machines, as they should be now."""
        ...

    def access(self, desired: Attributes) -> Access | None:
        """Say how a machine is to be reached over SSH; None where its declaration does not ask for that."""
        ...

    def is_over_ssh(self, name: str, traits: Traits) -> bool:
        """Tell whether a changed attribute is made true on the machine itself, for want of another way."""
        ...

    def first_over_ssh(self, attributes: Attributes) -> Sequence[str]:
        """Give the attributes that a new machine gets over SSH once it can be reached."""
        ...

    def wants_stopped(self, attributes: Attributes) -> bool: ...
