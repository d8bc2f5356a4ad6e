"""What the clouds show and how far it is believed: pure reading of lists, gets and records. No I/O.

An address is *sighted* in this order: by its recorded cloud id, by an open intent's ref_id, by the digest of its mark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace as with_fields

from brevplan.contract.client import Traits
from brevplan.contract.model import DEAD, Image, Instance, InstanceType, Location
from brevplan.contract.provider import ProviderSpec
from brevplan.engine.address import Address
from brevplan.engine.identity import address_digest, cred_ref_id, ref_digest
from brevplan.engine.ports import Intent, IntentState, Record, Role


@dataclass(slots=True)
class AccountView:
    """One account as this run sees it."""

    alias: str
    fingerprint: str
    spec: ProviderSpec
    traits: Traits
    machines: dict[str, Instance] = field(default_factory=dict)
    """Living machines by cloud id, ours and others'."""
    unverified: str = ""
    """Why nothing about this account's machines may be concluded; empty when it may."""
    hidden: set[str] = field(default_factory=set)
    """Those of the machines that the list lacks, and a get showed."""
    gone: set[str] = field(default_factory=set)
    """Recorded cloud ids whose absence list and get agree on."""
    doubtful: dict[str, str] = field(default_factory=dict)
    """Recorded cloud ids that cannot be judged, with the reason."""


def found(view: AccountView, record: Record) -> Instance | None:
    """Give the machine of a row. In another account than the row's, its id alone may be somebody else's machine."""
    machine = view.machines.get(record.cloud_id)
    is_sure = view.fingerprint == record.account or not record.ref_id
    return machine if machine is not None and (is_sure or machine.ref_id == record.ref_id) else None


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing lives at the address; `record` is what was remembered of a machine that is gone."""

    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """A machine, or for kinds without one a record. `instance` is None for those and when refresh is off."""

    record: Record | None
    instance: Instance | None
    account: str = ""
    former: Record | None = None
    """What was remembered of a machine that is gone, where another one bears the mark of the address."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """Nothing may be concluded: no create, no replace, no destroy."""

    reason: str
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several living machines bear the mark of one address."""

    instances: tuple[Instance, ...]


Sighting = Absent | Present | Unverified | Ambiguous


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine that is to be taken in, by its cloud id."""

    cloud_id: str
    alias: str


@dataclass(frozen=True, slots=True)
class Orphan:
    """A machine that is ours, neither recorded nor declared."""

    alias: str
    instance: Instance


def _no_former(address: Address) -> Sequence[Address]:
    return ()


@dataclass(slots=True)
class Facts:
    """Everything from outside that the fold may look at. It only grows between two folds of one plan."""

    workspace: str
    project: str
    salt: str
    records: dict[Address, Record]
    deposed: list[Record]
    """Rows of roles other than current."""
    intents: list[Intent]
    views: dict[str, AccountView]
    foreign: frozenset[tuple[str, str]] = frozenset()
    """Account and cloud id of what is recorded in other workspaces of the same state, or was let go."""
    types: dict[str, dict[tuple[str, str], InstanceType]] = field(default_factory=dict)
    locations: dict[str, list[Location]] = field(default_factory=dict)
    images: dict[str, list[Image]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why the catalogue of a provider block could not be read."""
    prior_outputs: Mapping[str, object] = field(default_factory=dict)
    locked_by: str = ""
    """Who is applying right now, when that is not us: open intents are then theirs."""
    refreshed: bool = True
    moved: Mapping[Address, Address] = field(default_factory=dict)
    """Recorded addresses that are new, each with what it was before."""
    rewritten: Sequence[tuple[str, Record]] = ()
    """Rows that moves have changed, each with the key under which it is stored."""
    former: Callable[[Address], Sequence[Address]] = _no_former
    """What an address may have been called when its machine was made."""
    _marked: dict[str, list[tuple[str, Instance]]] | None = None
    _open: dict[Address, list[Intent]] | None = None
    _peers: Mapping[str, frozenset[str]] | None = None

    def look_again(self, views: Mapping[str, AccountView]) -> None:
        """Take in what accounts show by now."""
        self.views |= views
        self._marked = None
        self._peers = None

    def peers(self) -> Mapping[str, frozenset[str]]:
        """Give the addresses of the recorded machines that list each firewall, by the firewall's id."""
        if self._peers is None:
            shown = (self._shown(record) for record in self.records.values() if record.attributes.get("firewalls"))
            self._peers = members(shown)
        return self._peers

    def _shown(self, record: Record) -> Mapping[str, Any]:
        """Give the firewalls of a recorded machine, with its addresses as the cloud shows them."""
        view = self.view_of(record)
        machine = found(view, record) if view is not None else None
        if machine is None:
            return record.attributes
        return {**record.attributes, "public_ip": machine.public_ip, "private_ip": machine.private_ip}

    def open_intents(self, address: Address) -> list[Intent]:
        """Give the attempts at an address of which nothing is known yet."""
        if self._open is None:
            self._open = {}
            for intent in self.intents:
                if intent.workspace == self.workspace and intent.state is IntentState.OPEN:
                    self._open.setdefault(intent.address, []).append(intent)
        return self._open.get(address, [])

    def view_of(self, record: Record) -> AccountView | None:
        """Find the account that a record belongs to: by fingerprint, else by the name of its provider block."""
        for view in self.views.values():
            if view.fingerprint == record.account:
                return view
        return self.views.get(record.alias)

    def marked(self, address: Address) -> list[tuple[str, Instance]]:
        """Give the living, unrecorded machines whose mark is of this address, or of what it was called before."""
        found = list(self._of_digest(address_digest(self.workspace, address)))
        for old in self.former(address) if self._marked else ():
            found += self._of_digest(address_digest(self.workspace, old))
        return found

    def claims(self, address: Address) -> list[tuple[str, Instance]]:
        """Give the machines whose marks lead to an address that has none, or whose own is gone."""
        record = self.records.get(address)
        if record is None:
            return self.marked(address)
        return self.heirs(record) if self.is_gone(record) else []

    def heirs(self, record: Record) -> list[tuple[str, Instance]]:
        """Give the machines that may take the place of one that is gone, in whatever account: others may have moved it.

        Where its own account was not looked at it may still stand, and nothing takes its place.
        """
        is_looked_at = any(view.fingerprint == record.account for view in self.views.values())
        return self.marked(record.address) if is_looked_at else []

    def _of_digest(self, digest: str) -> list[tuple[str, Instance]]:
        if self._marked is None:
            self._marked = {}
            mine = cred_ref_id(self.project)
            known = self.known()
            for alias, machine in self._all_machines():
                if machine.cloud_cred_ref_id == mine and not self._is_known(alias, machine, known):
                    found = self._digest_of(machine)
                    if found is not None:
                        self._marked.setdefault(found, []).append((alias, machine))
        return self._marked.get(digest, [])

    def _digest_of(self, machine: Instance) -> str | None:
        """Read the address out of a mark; what was moved since then bears its new name beside it."""
        digest = ref_digest(machine.ref_id)
        if digest is not None and machine.address and workspace_in(machine.address) == self.workspace:
            try:
                return address_digest(self.workspace, Address.parse(address_in(machine.address)))
            except ValueError:
                return digest
        return digest

    def _all_machines(self) -> Iterable[tuple[str, Instance]]:
        seen: set[str] = set()
        for alias, view in self.views.items():
            if view.fingerprint in seen:
                continue
            seen.add(view.fingerprint)
            for machine in view.machines.values():
                if machine.status not in DEAD:
                    yield alias, machine

    def orphans(self, adopted: frozenset[tuple[str, str]]) -> list[Orphan]:
        """Give our machines that nothing accounts for: not recorded, no intent's, and not adopted by this plan.

        `adopted` are account and cloud id.
        """
        tried = {intent.ref_id for intent in self.intents}
        mine = cred_ref_id(self.project)
        known = self.known()
        found = []
        for alias, machine in self._all_machines():
            if machine.cloud_cred_ref_id != mine or machine.ref_id in tried:
                continue
            if (self.views[alias].fingerprint, machine.cloud_id) in adopted:
                continue
            if self._is_known(alias, machine, known):
                continue
            if machine.address and workspace_in(machine.address) != self.workspace:
                continue  # another workspace's, told by its address
            found.append(Orphan(alias, machine))
        return sorted(found, key=lambda orphan: (orphan.alias, orphan.instance.cloud_id))

    def priced(self, alias: str, machine: Instance) -> Instance:
        """Give a machine with the price of its type, where its cloud does not tell one and the catalogue was read."""
        if machine.hourly_price is not None:
            return machine
        sold = self.types.get(alias, {}).get((machine.instance_type, machine.location))
        price = sold.base_price if sold is not None else None
        return with_fields(machine, hourly_price=price.amount) if price is not None else machine

    def machine(self, alias: str, cloud_id: str, ref_id: str) -> Instance | None:
        """Find a living machine of an account by its cloud id or its ref_id."""
        view = self.views.get(alias)
        for machine in view.machines.values() if view is not None else ():
            if machine.cloud_id == cloud_id or (ref_id and machine.ref_id == ref_id):
                return machine
        return None

    def surfaced(self) -> list[tuple[Intent, str, Instance]]:
        """Give the machines of retired attempts that have shown up after all."""
        retired = {
            intent.ref_id: intent
            for intent in self.intents
            if intent.state is IntentState.RETIRED and intent.workspace == self.workspace
        }
        if not retired:
            return []
        known = self.known()
        return [
            (retired[machine.ref_id], alias, machine)
            for alias, machine in self._all_machines()
            if machine.ref_id in retired and not self._is_known(alias, machine, known)
        ]

    def owner_of(self, cloud_id: str, account: str) -> Address | None:
        """Find the address under which a machine of an account is recorded."""
        for record in (*self.records.values(), *self.deposed):
            if (record.cloud_id, record.account) == (cloud_id, account):
                return record.address
        return None

    def is_gone(self, record: Record) -> bool:
        """Tell whether a recorded machine is known to be no more."""
        return isinstance(_sight_record(self, record), Absent)

    def known(self) -> set[tuple[str, str]]:
        """Give account and cloud id of everything recorded, in any workspace and role."""
        known = set(self.foreign)
        for record in (*self.records.values(), *self.deposed):
            known.add((record.account, record.cloud_id))
            view = self.view_of(record)
            if view is not None and view.fingerprint != record.account and found(view, record) is not None:
                known.add((view.fingerprint, record.cloud_id))
        return known

    def _is_known(self, alias: str, machine: Instance, known: Collection[tuple[str, str]]) -> bool:
        return (self.views[alias].fingerprint, machine.cloud_id) in known


def members(machines: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Give the addresses of machines by the firewalls that they list, from their attributes."""
    found: dict[str, set[str]] = {}
    for attributes in machines:
        addresses = {attributes.get(name) for name in ("public_ip", "private_ip")}
        known = {item for item in addresses if isinstance(item, str) and item}
        listed = attributes.get("firewalls")
        for firewall in getattr(listed, "items", listed) or ():
            found.setdefault(str(firewall), set()).update(known)
    return {name: frozenset(items) for name, items in found.items()}


def sight(facts: Facts, address: Address, alias: str = "", wanted: Wanted | None = None) -> Sighting:
    """Say what is at an address, and how sure that is.

    `alias` is the provider that a new machine would go to, `wanted` the machine that an `import` block names for it.
    """
    record = facts.records.get(address)
    if record is not None:
        seen = _sight_record(facts, record)
        return _sight_heir(facts, record) if isinstance(seen, Absent) else seen
    for intent in facts.open_intents(address):
        found = _sight_intent(facts, intent)
        if found is not None:
            return found
    if wanted is not None:
        named = _sight_wanted(facts, wanted)
        # what was imported once, and replaced since, bears our mark; its block may have stayed
        if not isinstance(named, Absent) or not facts.marked(address):
            return named
    return _sight_mark(facts, address, alias)


def _sight_record(facts: Facts, record: Record) -> Sighting:
    if not record.cloud_id or not facts.refreshed:
        return Present(record, None)
    view = facts.view_of(record)
    if view is None:
        return Unverified(f'its provider "{record.alias}" is not configured', record)
    machine = found(view, record)
    if machine is not None and not (view.unverified and view.fingerprint != record.account):
        if machine.status in DEAD:
            return Absent(record)
        return Present(record, machine, view.alias)
    if view.unverified:
        return Unverified(view.unverified, record)
    if record.cloud_id in view.gone or record.cloud_id in view.machines:
        return Absent(record)
    return Unverified(view.doubtful.get(record.cloud_id, "it could not be looked up"), record)


def _sight_heir(facts: Facts, record: Record) -> Sighting:
    """Look for the machine that somebody else, with a state of their own, made in place of one that is gone."""
    heirs = facts.heirs(record)
    if len(heirs) > 1:
        return Ambiguous(tuple(machine for _, machine in heirs))
    if not heirs:
        return Absent(record)
    if facts.locked_by:
        return Unverified(f"being applied by {facts.locked_by}")
    return Present(None, heirs[0][1], heirs[0][0], record)


def _sight_intent(facts: Facts, intent: Intent) -> Sighting | None:
    if facts.locked_by:
        return Unverified(f"being applied by {facts.locked_by}")
    view = facts.views.get(intent.alias)
    if view is None or view.unverified:
        return Unverified(view.unverified if view else f'its provider "{intent.alias}" is not configured')
    machines = [m for m in view.machines.values() if m.ref_id == intent.ref_id and m.status not in DEAD]
    if len(machines) == 1:
        return Present(None, machines[0], view.alias)
    if machines:
        return Ambiguous(tuple(machines))
    return None


def _sight_wanted(facts: Facts, wanted: Wanted) -> Sighting:
    view = facts.views.get(wanted.alias)
    if view is None or view.unverified:
        return Unverified(view.unverified if view is not None else f'there is no provider "{wanted.alias}"')
    machine = view.machines.get(wanted.cloud_id)
    if machine is None or machine.status in DEAD:
        return Absent()
    return Present(None, machine, view.alias)


def _sight_mark(facts: Facts, address: Address, alias: str) -> Sighting:
    found = facts.marked(address)
    if len(found) == 1:
        where, machine = found[0]
        if facts.locked_by:
            return Unverified(f"being applied by {facts.locked_by}")
        return Present(None, machine, where)
    if found:
        return Ambiguous(tuple(machine for _, machine in found))
    view = facts.views.get(alias)
    if view is not None and view.unverified:
        return Unverified(view.unverified)  # a machine of this address may stand where nobody can look
    return Absent()


def workspace_in(tag: str) -> str:
    """Give the workspace part of what is written beside a mark."""
    return tag.split("/", 1)[0] if "/" in tag.split("[", 1)[0] else "default"


def address_in(tag: str) -> str:
    """Give the address part of what is written beside a mark."""
    return tag.split("/", 1)[1] if "/" in tag.split("[", 1)[0] else tag


def living(records: Sequence[Record]) -> dict[Address, Record]:
    return {record.address: record for record in records if record.role is Role.CURRENT}
