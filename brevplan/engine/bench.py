"""What the proposals of one fold share: facts, abilities of the accounts, stock already spoken for, orphans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from brevplan.contract.model import Instance
from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address, Target
from brevplan.engine.change import Change, Mode
from brevplan.engine.config import Config, Declaration
from brevplan.engine.expand import expand
from brevplan.engine.imports import Import, Imports
from brevplan.engine.kind import Ability, DataKind, Finding, Kind, Outcome, Schema
from brevplan.engine.observed import Facts, Orphan, Present, Wanted
from brevplan.engine.ports import Record
from brevplan.engine.scope import ModuleScope
from brevplan.engine.secrets import holds_digest, mark_like, unseal
from brevplan.lang.gate import Environment
from brevplan.lang.types import ANY
from brevplan.lang.values import Value


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of a plan."""

    mode: Mode = Mode.NORMAL
    targets: tuple[Target, ...] = ()
    excludes: tuple[Target, ...] = ()
    replaced: tuple[Address, ...] = ()
    reaped: frozenset[str] = frozenset()
    allow_no_stock: bool = False
    ignore_orphans: bool = False
    offline: bool = False
    """Check only: nothing is known of the clouds, and unknown repetitions stand for one instance."""


EVERYTHING = Options()


@dataclass(slots=True)
class Inputs:
    """What the fold is given beside the configuration and the facts."""

    kinds: Mapping[str, Kind]
    data_kinds: Mapping[str, DataKind]
    variables: Mapping[str, Value]
    environment: Environment
    options: Options = EVERYTHING
    taken: tuple[Import, ...] = ()
    """Machines that a command takes in, as an `import` block would."""


class Bench:
    """The working place of one fold. Everything found out on the way is collected here, and nowhere else."""

    def __init__(self, config: Config, inputs: Inputs, facts: Facts, scope: ModuleScope) -> None:
        self.config, self.inputs, self.facts, self.scope = config, inputs, facts, scope
        self.options = inputs.options
        self.diagnostics = Diagnostics()
        self.changes: dict[Address, Change] = {}
        self.drift: list[Change] = []
        self.imports = Imports()
        self.claimed: set[tuple[str, str]] = set()
        """Account and cloud id of each machine that is taken in by name: its mark leads nowhere else."""
        self.needs: set[str] = set()
        """Accounts whose catalogue is needed before the fold can be finished."""
        self.protected: set[Address] = set()
        self.following: dict[Address, frozenset[str]] = {}
        """The instances whose rules follow the members of firewalls, with the ids of these."""
        self.create_first: set[Address] = set()
        self.forgotten: list[Record] = []
        """Rows of machines that are gone, found by a plan that only refreshes."""
        self.bookkeeping: list[Record] = []
        """Rows to be written anew although nothing about their machine changes: protection, edges, a renamed block."""
        self._abilities: dict[str, Ability] = {}
        self._launches: Counter[tuple[str, str, str]] = Counter()
        self._orphans: list[Orphan] | None = None
        self._told: set[tuple[str, str, str]] = set()

    def ability(self, alias: str) -> Ability | None:
        """Say what is known of a provider; None for kinds without one."""
        if not alias:
            return None
        found = self._abilities.get(alias)
        if found is None:
            view = self.facts.views[alias]
            images = self.facts.images.get(alias)
            found = self._abilities[alias] = Ability(
                alias,
                view.spec,
                view.traits,
                self.facts.types.get(alias),
                {image.id: image for image in images} if images is not None else None,
                self.facts.salt,
                self.facts.peers,
            )
        return found

    def account(self, alias: str) -> str:
        view = self.facts.views.get(alias)
        return view.fingerprint if view is not None else ""

    def origin(self, sighting: Present, alias: str) -> dict[str, Any]:
        """Give the fields of a change that say which machine and row it is about."""
        record, machine = sighting.record, sighting.instance
        here = sighting.account if sighting.account in self.facts.views else alias
        return {
            "alias": here,
            "account": self.account(here),
            "record_key": record.key if record is not None else "",
            "record_version": record.version if record is not None else 0,
            "cloud_id": machine.cloud_id if machine is not None else (record.cloud_id if record is not None else ""),
            "ref_id": machine.ref_id if machine is not None else (record.ref_id if record is not None else ""),
            "imports": machine.cloud_id if record is None and machine is not None else "",
            "asked": record is None and machine is not None and self._is_asked(machine),
            "supersedes": sighting.former.key if sighting.former is not None else "",
        }

    def _is_asked(self, machine: Instance) -> bool:
        return any(item.cloud_id == machine.cloud_id for item in self.imports.wanted.values())

    def wanted(self, address: Address, alias: str) -> Wanted | None:
        """Say which machine an `import` block names for an address."""
        found = self.imports.wanted.get(address)
        return Wanted(found.cloud_id, found.provider or alias) if found is not None else None

    def is_claimed(self, alias: str, machine: Instance) -> bool:
        """Tell whether a machine is taken in by name."""
        return (self.account(alias), str(machine.cloud_id)) in self.claimed

    def report(
        self,
        findings: list[Finding],
        declaration: Declaration,
        address: Address,
        secret_names: Collection[str] = (),
    ) -> None:
        """Turn findings into messages; what is wrong with a whole block is told for its first instance only."""
        for finding in findings:
            span = finding.span or declaration.span_of(finding.attribute)
            if finding.tells_value and finding.attribute.partition("[")[0] in secret_names:
                detail = f'"{finding.attribute}" is not valid; its value is sensitive and not shown.'
                finding = replace(finding, detail=detail, hint="")
            told = (finding.summary, finding.detail, str(span))
            if told in self._told:
                continue
            self._told.add(told)
            self.diagnostics.error(finding.summary, finding.detail, span, hint=finding.hint, address=str(address))

    def current(self, kind: Kind, record: Record | None, machine: Instance | None, alias: str) -> dict[str, Value]:
        """Say what is: the reported attributes as observed, the others as recorded."""
        observed: dict[str, Value] = {}
        if machine is not None:
            view = self.facts.views.get(alias)
            observed = kind.observe(machine, view.traits if view is not None else None)
        if record is None:
            return observed
        # a machine that was never seen ready has no value yet where neither cloud nor record gives one
        current = _nothing(kind.schema) if record.settled or machine is None else {}
        attributes = kind.schema.attributes
        for name, raw in record.attributes.items():
            if name not in observed:
                spec = attributes.get(name)
                current[name] = unseal(raw, spec.type if spec is not None else ANY)
        current.update(observed)
        if record.has_secrets:
            for name, raw in record.attributes.items():
                if name in observed and holds_digest(raw):
                    # what the cloud shows of it is no less secret
                    current[name] = mark_like(current[name], unseal(raw, attributes[name].type))
        return current

    def lacks_catalogue(self, alias: str) -> str:
        """Ask for a catalogue; say why there is none where it was asked for already."""
        problem = self.facts.unreadable.get(alias, "")
        if not problem:
            self.needs.add(alias)
        return f"its catalogue cannot be read: {problem}" if problem else ""

    def priced(self, alias: str, machine: Instance) -> Instance:
        """Give a machine with its price; ask for the catalogue where only that may know it."""
        if machine.hourly_price is None and alias not in self.facts.types and not self.options.offline:
            self.lacks_catalogue(alias)
        return self.facts.priced(alias, machine)

    # what stands in the way of a launch

    def obstacle(self, outcome: Outcome, alias: str, *, replaces: bool) -> str:
        """Say why a launch cannot be planned now: no stock, or a machine of ours that nothing accounts for."""
        if self.options.offline or outcome.launches is None:
            return ""
        return self._stock(outcome, alias) or ("" if replaces else self._near_orphan(outcome, alias))

    def _stock(self, outcome: Outcome, alias: str) -> str:
        if self.options.allow_no_stock or outcome.launches is None:
            return ""
        type_, location, stock = outcome.launches
        key = (self.account(alias), type_, location)
        self._launches[key] += 1
        if outcome.unstocked:
            return f"{type_} shows no stock in {location}; -allow-no-stock tries it all the same"
        if stock is not None and self._launches[key] > stock:
            return (
                f"{type_} shows {stock} left in {location}, and this plan asks for more; "
                "-allow-no-stock tries it all the same"
            )
        return ""

    def _near_orphan(self, outcome: Outcome, alias: str) -> str:
        if self.options.ignore_orphans or outcome.launches is None:
            return ""
        type_, location, _ = outcome.launches
        account = self.account(alias)
        for orphan in self.unclaimed():
            machine = orphan.instance
            same_place = (machine.instance_type, machine.location) == (type_, location)
            if same_place and self.account(orphan.alias) == account and not self.is_reaped(machine):
                return (
                    f"{machine.cloud_id} is ours, of the same type and place, and belongs to no address: give it one "
                    f"(moved, import), reap it (-reap={self._reap_name(machine)}) or go on beside it (-ignore-orphans)"
                )
        return ""

    def _reap_name(self, machine: Instance) -> str:
        """Give what names this orphan alone: two of one launch share their ref_id."""
        alike = [orphan for orphan in self.unclaimed() if orphan.instance.ref_id == machine.ref_id]
        return machine.ref_id if len(alike) == 1 else machine.cloud_id

    def is_reaped(self, machine: Instance) -> bool:
        """Tell whether the user asked for the end of an orphan, by its ref_id or its cloud id."""
        return machine.ref_id in self.options.reaped or machine.cloud_id in self.options.reaped

    def unclaimed(self) -> list[Orphan]:
        """Give the orphans as they can be told before all is planned: no declared address awaits them alone."""
        if self._orphans is None:
            claims = [self.facts.claims(address) for address in self.declared()]
            self.scope.board.forget_unknown()  # it may have been too early to ask for these
            # of several at one address all but one are too many, and nobody knows which
            sole = {(self.account(found[0][0]), str(found[0][1].cloud_id)) for found in claims if len(found) == 1}
            self._orphans = self.facts.orphans(frozenset(sole | self.claimed))
        return self._orphans

    def reaped(self) -> list[Orphan]:
        """Give the machines whose end was asked for: orphans, and those of which several claim one address."""
        if not self.options.reaped:
            return []
        return [orphan for orphan in self.unclaimed() if self.is_reaped(orphan.instance)]

    def declared(self) -> Iterator[Address]:
        """Give the addresses that are declared, as far as that can be told before everything is planned."""
        quiet = Diagnostics()
        pending = [self.scope]
        while pending:
            scope = pending.pop()
            for block, declaration in scope.config.resources.items():
                if not block.is_data and self.inputs.kinds[block.kind].needs_provider:
                    expansion = expand(declaration, scope, quiet)
                    for key, _ in expansion.instances if expansion is not None else ():
                        yield block.instance(key).inside(scope.path)
            for name, call in scope.config.calls.items():
                known = scope.board.calls.get((scope.path, name)) or expand(call, scope, quiet)
                if known is not None:
                    pending.extend(scope.children(name, known))


def _nothing(schema: Schema) -> dict[str, Value]:
    """Give null for every attribute and block that is part of a resource."""
    return dict.fromkeys(schema.stored_names)
