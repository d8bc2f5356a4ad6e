"""Planning is a fold: expand one block, evaluate one instance, diff it, publish its planned value, go on.

Pure: `fold(config, inputs, facts) → Folded | Needs`. What the fold finds missing it names in `Needs`; the operation
reads that at the cloud and folds again, with facts that only grow.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter

from brevplan.contract.model import Instance
from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address
from brevplan.engine.change import (
    Action,
    Change,
    Cost,
    Mode,
    OrphanNote,
    Plan,
    Power,
    Reason,
    decimal_price,
)
from brevplan.engine.config import Config, Declaration, blocks_read
from brevplan.engine.desired import Desired, check_rules, evaluate, ignored_names, known_bool
from brevplan.engine.expand import Expansion, expand, mode_of
from brevplan.engine.identity import address_digest
from brevplan.engine.kind import Ability, DataKind, Effect, Kind, NeedsCatalogue, Outcome
from brevplan.engine.observed import Absent, Ambiguous, Facts, Orphan, Present, Sighting, Unverified, sight
from brevplan.engine.outputs import plan_outputs
from brevplan.engine.ports import Record, Role
from brevplan.engine.scope import Context, InstanceScope, ModuleScope, repetition_names
from brevplan.engine.secrets import unchanged, unseal
from brevplan.engine.sift import sift
from brevplan.lang.evaluate import EvaluationError, Reference
from brevplan.lang.gate import Environment
from brevplan.lang.types import ANY
from brevplan.lang.values import Mapping_, Object, Sequence_, Value


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of a plan."""

    mode: Mode = Mode.NORMAL
    targets: tuple[Address, ...] = ()
    excludes: tuple[Address, ...] = ()
    replaced: tuple[Address, ...] = ()
    reaped: frozenset[str] = frozenset()
    allow_no_stock: bool = False
    ignore_orphans: bool = False
    offline: bool = False
    """Check only: nothing is known of the clouds, and unknown repetitions stand for one instance."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read before the fold can be finished: the catalogues of these accounts."""

    catalogues: frozenset[str]


@dataclass(slots=True)
class Folded:
    """A finished fold: the plan, and what apply needs to evaluate the same declarations again."""

    plan: Plan
    scope: ModuleScope
    diagnostics: Diagnostics
    contexts: dict[Address, InstanceScope]
    aliases: dict[Address, str]
    cleanups: list[Record]
    """Rows of machines that are gone and no longer wanted: to be forgotten by the next apply."""


@dataclass(slots=True)
class Inputs:
    """What the fold is given beside the configuration and the facts."""

    kinds: Mapping[str, Kind]
    data_kinds: Mapping[str, DataKind]
    variables: Mapping[str, Value]
    environment: Environment
    options: Options = field(default_factory=Options)


def fold(config: Config, inputs: Inputs, facts: Facts) -> Folded | Needs:
    """Plan the whole configuration, then leave out what the options leave out."""
    return _Fold(config, inputs, facts).run()


class _Fold:
    def __init__(self, config: Config, inputs: Inputs, facts: Facts) -> None:
        self.config, self.inputs, self.facts, self.options = config, inputs, facts, inputs.options
        self.diagnostics = Diagnostics()
        self.scope = ModuleScope(
            config, inputs.variables, inputs.environment, Context(facts.workspace, facts.project)
        )
        self.changes: dict[Address, Change] = {}
        self.extra: list[Change] = []
        self.drift: list[Change] = []
        self.contexts: dict[Address, InstanceScope] = {}
        self.aliases: dict[Address, str] = {}
        self.modes: dict[Address, str] = {}
        self.needs: set[str] = set()
        self.abilities: dict[str, Ability] = {}
        self.create_first: set[Address] = set()
        self.protected: dict[Address, str] = {}
        self.launches: Counter[tuple[str, str, str]] = Counter()
        self._orphans: list[Orphan] | None = None

    def run(self) -> Folded | Needs:
        for address in self.ordered():
            declaration = self.config.resources[address]
            if address.is_data:
                self.data(declaration)
            else:
                self.block(declaration)
        for name in self.config.locals:
            self.scope.check_local(name, self.diagnostics)
        cleanups = list(self.undeclared())
        if self.needs and not self.options.offline:
            return Needs(frozenset(self.needs))
        self.spread_create_first()
        changes = sift([*self.changes.values(), *self.extra], self.options)
        outputs = plan_outputs(self.config, self.scope, self.facts, self.options.mode, changes, self.diagnostics)
        orphans = [_orphan_note(orphan) for orphan in self.orphans() if orphan.instance.ref_id not in self.options.reaped]
        plan = Plan(
            self.options.mode,
            self.facts.workspace,
            self.facts.project,
            changes,
            outputs,
            self.cost(changes),
            self.drift,
            orphans,
            self.notes(),
            [],
        )
        return Folded(plan, self.scope, self.diagnostics, self.contexts, self.aliases, cleanups)

    # order

    def ordered(self) -> list[Address]:
        """Give the blocks so that each comes after what it refers to; report cycles with their places."""
        needs: dict[Address, set[Address]] = {}
        for address, declaration in self.config.resources.items():
            found = blocks_read(self.config, declaration, self.inputs.kinds)
            needs[address] = set(found)
            if address in found:
                self.diagnostics.error(
                    "Self-reference", f"{address} refers to itself.", declaration.span,
                    hint='Inside of a postcondition, write "self".',
                )  # fmt: skip
                needs[address].discard(address)
        try:
            return list(TopologicalSorter({k: sorted(v) for k, v in sorted(needs.items())}).static_order())
        except CycleError as problem:
            members: list[Address] = problem.args[1]
            path = " → ".join(str(member) for member in reversed(members))
            for member in sorted(set(members)):
                self.diagnostics.error("Cycle", f"These need each other: {path}.", self.config.resources[member].span)
            return []

    # data sources

    def data(self, declaration: Declaration) -> None:
        source = self.inputs.data_kinds[declaration.address.kind]
        expansion = expand(declaration, self.scope, self.diagnostics, offline=self.options.offline)
        if expansion is None:
            self.scope.fail_block(declaration.address)
            return
        self.scope.open_block(declaration.address, expansion.mode)
        for key, each in expansion.instances:
            address = declaration.address.instance(key)
            context = InstanceScope(self.scope, repetition_names(key, each))
            desired = evaluate(declaration, source.schema, context, address, self.diagnostics)
            alias = self.alias(declaration)
            if desired is None or alias is None:
                self.scope.fail_block(declaration.address)
                continue
            if self.options.offline:
                self.scope.fail_block(declaration.address)
                continue
            try:
                found = source.read(desired.attributes, alias, self.facts)
            except NeedsCatalogue as need:
                self.needs.add(need.alias)
                self.scope.fail_block(declaration.address)
            except ValueError as problem:
                self.diagnostics.error("Data source cannot be read", str(problem), declaration.span)
                self.scope.fail_block(declaration.address)
            else:
                self.scope.publish(declaration.address, expansion.mode, key, {**desired.attributes, **found})

    # resources

    def block(self, declaration: Declaration) -> None:
        kind = self.inputs.kinds[declaration.address.kind]
        expansion = expand(declaration, self.scope, self.diagnostics, offline=self.options.offline)
        alias = self.alias(declaration) if kind.needs_provider else ""
        self.modes[declaration.address] = mode_of(declaration)
        if expansion is None or alias is None:
            self.scope.fail_block(declaration.address)
            return
        self.scope.open_block(declaration.address, expansion.mode)
        shared: Desired | None = None
        for key, each in expansion.instances:
            address = declaration.address.instance(key)
            context = InstanceScope(self.scope, repetition_names(key, each))
            desired = shared
            if desired is None:
                desired = evaluate(declaration, kind.schema, context, address, self.diagnostics)
                if not declaration.varies:
                    shared = desired
            if desired is None or not self.checked(kind, desired, address, alias, declaration):
                self.scope.fail_block(declaration.address)
                if not declaration.varies:
                    return
                continue
            self.contexts[address] = context
            self.aliases[address] = alias
            change = self.instance(kind, declaration, address, desired, context, alias)
            self.changes[address] = change
            after = change.after if change.after is not None else change.before
            if after is not None:
                self.scope.publish(declaration.address, expansion.mode, key, after)
        self.forget_members(declaration, expansion)

    def forget_members(self, declaration: Declaration, expansion: Expansion) -> None:
        """With `-destroy` nothing of the block will be there for outputs to read."""
        if self.options.mode is Mode.DESTROY and not expansion.instances:
            self.scope.open_block(declaration.address, expansion.mode)

    def checked(self, kind: Kind, desired: Desired, address: Address, alias: str, declaration: Declaration) -> bool:
        ability = self.ability(alias) if alias else None
        findings = kind.check(desired.attributes, address, ability)
        for finding in findings:
            span = finding.span or declaration.argument_spans.get(finding.attribute, declaration.span)
            self.diagnostics.error(finding.summary, finding.detail, span, hint=finding.hint, address=str(address))
        return not findings

    def alias(self, declaration: Declaration) -> str | None:
        """Find the provider block of a declaration."""
        chosen = declaration.provider or self.config.settings.default_provider
        configured = self.config.providers
        if chosen is None:
            if len(configured) == 1:
                return next(iter(configured))
            self.diagnostics.error(
                "No provider chosen",
                f"{declaration.address} does not say where it runs, and "
                + (f"{len(configured)} providers are configured." if configured else "no provider is configured."),
                declaration.span,
                hint=f"Add provider = {next(iter(configured), 'local')} to the block, "
                "or default_provider to the brevplan block.",
            )
            return None
        if chosen.text in self.facts.views:
            return chosen.text
        known = ", ".join(sorted(self.facts.views)) or "none"
        self.diagnostics.error(
            "Unknown provider", f'There is no provider "{chosen.text}"; configured are: {known}.', chosen.span
        )
        return None

    def ability(self, alias: str) -> Ability:
        found = self.abilities.get(alias)
        if found is None:
            view = self.facts.views[alias]
            images = self.facts.images.get(alias)
            found = self.abilities[alias] = Ability(
                alias,
                view.spec,
                view.traits,
                self.facts.types.get(alias),
                frozenset(image.id for image in images) if images is not None else None,
                self.facts.salt,
            )
        return found

    def instance(
        self, kind: Kind, declaration: Declaration, address: Address, desired: Desired, context: InstanceScope, alias: str
    ) -> Change:
        """Plan one instance: what is there, what is wanted, what leads from the one to the other."""
        if kind.needs_provider:
            sighting = sight(self.facts, address, alias)
        else:
            recorded = self.facts.records.get(address)
            sighting = Present(recorded, None) if recorded is not None else Absent()
        if self.options.mode is Mode.DESTROY:
            return self.destroy(kind, address, sighting, alias, Reason.NONE, declaration, context)
        match sighting:
            case Absent():
                change = self.create(kind, declaration, address, desired, context, alias, sighting)
            case Unverified():
                change = self.hold(kind, address, sighting.record, alias, f"unverified: {sighting.reason}", desired)
            case Ambiguous():
                ids = ", ".join(machine.cloud_id for machine in sighting.instances)
                reason = f"{len(sighting.instances)} machines bear the mark of this address: {ids}"
                change = self.hold(kind, address, None, alias, reason, desired)
            case Present():
                change = self.existing(kind, declaration, address, desired, context, alias, sighting)
        self.rules(declaration, change, context, address)
        return change

    def rules(self, declaration: Declaration, change: Change, context: InstanceScope, address: Address) -> None:
        life = declaration.lifecycle
        if life.preconditions:
            check_rules(life.preconditions, context, "Precondition", str(address), self.diagnostics)
        if life.postconditions and change.after is not None:
            with_self = context.with_names({"self": Object(change.after)})
            check_rules(life.postconditions, with_self, "Postcondition", str(address), self.diagnostics)

    def create(
        self,
        kind: Kind,
        declaration: Declaration,
        address: Address,
        desired: Desired,
        context: InstanceScope,
        alias: str,
        sighting: Absent,
    ) -> Change:
        outcome = self.outcome_of_create(kind, desired, address, alias, declaration)
        protect = known_bool(declaration.lifecycle.prevent_destroy, context, "prevent_destroy", self.diagnostics)
        if protect:
            self.protected[address] = "prevent_destroy"
        record = sighting.record
        blocked = outcome.blocked or self.stock(outcome, alias) or self.near_orphan(address, outcome, alias)
        return Change(
            address,
            Action.CREATE,
            None,
            outcome.after,
            alias=alias,
            account=self.account(alias),
            record_key=record.key if record is not None else "",
            record_version=record.version if record is not None else 0,
            gone=record is not None,
            notes=tuple(outcome.notes),
            blocked=blocked,
            reads=desired.reads,
            price_after=decimal_price(kind.hourly_price(outcome.after)),
        )

    def outcome_of_create(
        self, kind: Kind, desired: Desired, address: Address, alias: str, declaration: Declaration
    ) -> Outcome:
        ability = self.ability(alias) if alias else None
        try:
            outcome = kind.plan_create(desired.attributes, address, ability)
        except NeedsCatalogue as need:
            self.needs.add(need.alias)
            return Outcome(dict(desired.attributes))
        for finding in outcome.findings:
            span = finding.span or declaration.argument_spans.get(finding.attribute, declaration.span)
            self.diagnostics.error(finding.summary, finding.detail, span, hint=finding.hint, address=str(address))
        return outcome

    def stock(self, outcome: Outcome, alias: str) -> str:
        """Count a launch against what the type shows in stock; say why it cannot be had."""
        if self.options.allow_no_stock or outcome.launches is None or self.options.offline:
            return ""
        type_, location, stock = outcome.launches
        key = (self.account(alias), type_, location)
        self.launches[key] += 1
        if outcome.unstocked:
            return f"{type_} shows no stock in {location}; -allow-no-stock tries it all the same"
        if stock is not None and self.launches[key] > stock:
            return (
                f"{type_} shows {stock} left in {location}, and this plan asks for more; "
                "-allow-no-stock tries it all the same"
            )
        return ""

    def near_orphan(self, address: Address, outcome: Outcome, alias: str) -> str:
        """Block a create while one of our machines of the same type and place stands unaccounted for."""
        if self.options.ignore_orphans or outcome.launches is None or self.options.offline:
            return ""
        type_, location, _ = outcome.launches
        account = self.account(alias)
        for orphan in self.raw_orphans():
            machine = orphan.instance
            same_place = (machine.instance_type, machine.location) == (type_, location)
            if same_place and self.account(orphan.alias) == account and machine.ref_id not in self.options.reaped:
                return (
                    f"{machine.cloud_id} is ours, of the same type and place, and belongs to no address: "
                    f"reap it (-reap={machine.ref_id}) or go on beside it (-ignore-orphans)"
                )
        return ""

    def raw_orphans(self) -> list[Orphan]:
        """Give the orphans as they can be told before all is planned: no declared address awaits them."""
        if self._orphans is None:
            claimed = frozenset(
                machine.cloud_id for address in self.declared_addresses() for machine in self.claims(address)
            )
            self._orphans = self.facts.orphans(claimed)
        return self._orphans

    def claims(self, address: Address) -> list[Instance]:
        if address in self.facts.records:
            return []
        return [machine for _, machine in self.facts.marked(address_digest(self.facts.workspace, address))]

    def declared_addresses(self) -> Iterator[Address]:
        """Give every address that the configuration declares, also those not planned yet."""
        quiet = Diagnostics()
        for block, declaration in self.config.resources.items():
            if not block.is_data and self.inputs.kinds[block.kind].needs_provider:
                expansion = expand(declaration, self.scope, quiet)
                for key, _ in expansion.instances if expansion is not None else ():
                    yield block.instance(key)

    def existing(
        self,
        kind: Kind,
        declaration: Declaration,
        address: Address,
        desired: Desired,
        context: InstanceScope,
        alias: str,
        sighting: Present,
    ) -> Change:
        record, machine = sighting.record, sighting.instance
        current = self.current(kind, record, machine, alias)
        wanted = self.with_ignored(declaration, context, desired, current)
        ability = self.ability(alias) if alias else None
        try:
            outcome = kind.plan_update(wanted.attributes, current, address, ability, machine)
        except NeedsCatalogue as need:
            self.needs.add(need.alias)
            outcome = Outcome(dict(current))
        if record is not None and machine is not None and record.settled:
            self.note_drift(kind, address, record, current, machine)
        moved = self.moved_account(kind, record, alias, sighting)
        forced = tuple(item.name for item in outcome.changes if item.effect is Effect.REPLACE)
        reason = Reason.CANNOT_UPDATE if forced or moved else Reason.NONE
        if not reason and self.triggered(declaration, context):
            reason = Reason.TRIGGERED
        if any(wanted_address.covers(address) for wanted_address in self.options.replaced):
            reason = Reason.REQUESTED
        protect = known_bool(
            declaration.lifecycle.prevent_destroy, context, "prevent_destroy", self.diagnostics, default=None
        )
        if protect or (protect is None and record is not None and record.protected and declaration.lifecycle.prevent_destroy):
            self.protected[address] = "lifecycle.prevent_destroy"
        if self.options.mode is Mode.REFRESH_ONLY:
            return self.unchanged(kind, address, current, alias, sighting, desired)
        if reason:
            return self.replace(
                kind, declaration, address, wanted, context, alias, sighting, current, outcome, reason, forced, moved
            )
        return self.update(kind, address, wanted, alias, sighting, current, outcome)

    def current(
        self, kind: Kind, record: Record | None, machine: Instance | None, alias: str
    ) -> dict[str, Value]:
        """Say what is: the reported attributes as observed, the others as recorded."""
        current: dict[str, Value] = {}
        if machine is not None:
            current = kind.observe(machine, self.facts.views[alias].traits if alias in self.facts.views else None)
        if record is not None:
            attributes = kind.schema.attributes
            for name, raw in record.attributes.items():
                if name not in current:
                    spec = attributes.get(name)
                    current[name] = unseal(raw, spec.type) if spec is not None else unseal(raw, ANY)
            if record.settled or machine is None:
                for name, spec in attributes.items():
                    if spec.stored and name not in current:
                        current[name] = None
                for name, block in kind.schema.blocks.items():
                    if block.stored and name not in current:
                        current[name] = None
        return current

    def with_ignored(
        self, declaration: Declaration, context: InstanceScope, desired: Desired, current: Mapping[str, Value]
    ) -> Desired:
        life = declaration.lifecycle
        if not (life.ignored or life.ignores_all or life.ignore_changes is not None):
            return desired
        names = ignored_names(declaration, context, self.diagnostics)
        attributes = {
            name: current[name] if (names is None or name in names) and name in current else value
            for name, value in desired.attributes.items()
        }
        return Desired(attributes, desired.reads)

    def moved_account(self, kind: Kind, record: Record | None, alias: str, sighting: Present) -> bool:
        """Tell whether the instance now belongs into another account than its machine stands in."""
        if not kind.needs_provider or self.options.offline:
            return False
        home = record.account if record is not None else self.account(sighting.account)
        if record is not None and sighting.account:
            home = self.account(sighting.account)
        return home != self.account(alias)

    def account(self, alias: str) -> str:
        view = self.facts.views.get(alias)
        return view.fingerprint if view is not None else ""

    def note_drift(
        self, kind: Kind, address: Address, record: Record, current: Mapping[str, Value], machine: Instance
    ) -> None:
        """Remember what others changed: reported attributes whose recorded value is another one."""
        differing = []
        for name, spec in kind.schema.attributes.items():
            if name not in current:
                continue
            raw, now = record.attributes.get(name), current[name]
            if raw is now or (raw.__class__ is str and raw == now):
                continue
            if not unchanged(now, unseal(raw, spec.type), self.facts.salt) and not _both_empty(raw, now):
                differing.append(name)
        if differing:
            before = {name: unseal(record.attributes.get(name), kind.schema.attributes[name].type) for name in differing}
            self.drift.append(
                Change(
                    address,
                    Action.UPDATE,
                    {**current, **before},
                    current,
                    alias=record.alias,
                    cloud_id=machine.cloud_id,
                    changed=tuple(differing),
                )
            )

    def triggered(self, declaration: Declaration, context: InstanceScope) -> bool:
        """Tell whether something that `replace_triggered_by` names changes in this plan."""
        for trigger in declaration.lifecycle.replace_triggered_by:
            with self.scope.recording() as reads:
                try:
                    trigger.evaluate(context)
                except EvaluationError as problem:
                    self.diagnostics.add(problem.diagnostic)
                    continue
            steps = [step for step in trigger.references[0].steps if isinstance(step, str)]
            attribute = steps[1] if len(steps) > 1 else ""
            for change in self.changes.values():
                if any(read.covers(change.address) for read in reads) and _touches(change, attribute):
                    return True
        return False

    def unchanged(
        self, kind: Kind, address: Address, current: dict[str, Value], alias: str, sighting: Present, desired: Desired
    ) -> Change:
        price = decimal_price(kind.hourly_price(current))
        return Change(
            address, Action.NOOP, current, current, price_before=price, price_after=price, reads=desired.reads,
            **self.origin(sighting, alias, plain=True),
        )  # fmt: skip

    def origin(self, sighting: Present, alias: str, *, plain: bool = False) -> dict[str, object]:
        """Give the fields of a change that say which machine and row it is about."""
        record, machine = sighting.record, sighting.instance
        here = sighting.account or alias
        return {
            "alias": here if here in self.facts.views else alias,
            "account": self.account(here),
            "record_key": record.key if record is not None else "",
            "record_version": record.version if record is not None else 0,
            "cloud_id": machine.cloud_id if machine is not None else (record.cloud_id if record is not None else ""),
            "ref_id": machine.ref_id if machine is not None else (record.ref_id if record is not None else ""),
            "imports": machine.cloud_id if record is None and machine is not None and not plain else "",
        }

    def update(
        self, kind: Kind, address: Address, desired: Desired, alias: str, sighting: Present,
        current: dict[str, Value], outcome: Outcome,
    ) -> Change:  # fmt: skip
        record = sighting.record
        finish = record is not None and not record.settled
        changed = tuple(item.name for item in outcome.changes if item.effect in (Effect.UPDATE, Effect.POWER))
        power = None
        for item in outcome.changes:
            if item.effect is Effect.POWER:
                power = Power.STOP if outcome.after.get("power_state") == "stopped" else Power.START
        errors = [item for item in outcome.changes if item.effect is Effect.ERROR]
        blocked = outcome.blocked or "; ".join(f"{item.name}: {item.reason}" for item in errors)
        action = Action.UPDATE if changed or finish else Action.NOOP
        before_price = decimal_price(kind.hourly_price(current))
        after_price = before_price if action is Action.NOOP else decimal_price(kind.hourly_price(outcome.after))
        loses = power is Power.STOP and outcome.stop_loses_data
        if loses and address in self.protected:
            blocked = blocked or "the stop would lose local data, and prevent_destroy is set"
        return Change(
            address,
            action,
            current,
            outcome.after,
            changed=changed,
            reasons={item.name: item.reason for item in outcome.changes if item.reason},
            power=power,
            power_loses_data=loses,
            finish=finish,
            notes=tuple(outcome.notes),
            blocked=blocked,
            reads=desired.reads,
            price_before=before_price,
            price_after=after_price,
            **self.origin(sighting, alias),  # type: ignore[arg-type]
        )

    def replace(
        self, kind: Kind, declaration: Declaration, address: Address, desired: Desired, context: InstanceScope,
        alias: str, sighting: Present, current: dict[str, Value], outcome: Outcome, reason: Reason,
        forced: tuple[str, ...], moved: bool,
    ) -> Change:  # fmt: skip
        made = self.outcome_of_create(kind, self.inherited(kind, desired, current), address, alias, declaration)
        first = known_bool(
            declaration.lifecycle.create_before_destroy, context, "create_before_destroy", self.diagnostics
        )
        if first:
            self.create_first.add(address)
        paths = forced
        reasons = {item.name: item.reason for item in outcome.changes if item.reason}
        if moved:
            paths = ("provider_name", *forced)
            reasons["provider_name"] = "another account"
        blocked = made.blocked or self.stock(made, alias)
        if address in self.protected:
            blocked = blocked or "it must be replaced, and prevent_destroy is set"
        changed = tuple(
            name for name in made.after if not unchanged(made.after[name], current.get(name), self.facts.salt)
        )
        fields = self.origin(sighting, alias)
        return Change(
            address,
            Action.REPLACE_CREATE_FIRST if first else Action.REPLACE,
            current,
            made.after,
            changed=changed,
            replace_paths=paths,
            reasons=reasons,
            reason=reason,
            notes=tuple([*outcome.notes, *made.notes]),
            blocked=blocked,
            reads=desired.reads,
            price_before=decimal_price(kind.hourly_price(current)),
            price_after=decimal_price(kind.hourly_price(made.after)),
            **fields,  # type: ignore[arg-type]
        )

    def inherited(self, kind: Kind, desired: Desired, current: Mapping[str, Value]) -> Desired:
        """A replacement keeps what the configuration leaves open, such as a name that was computed once."""
        keep = {
            name: current[name]
            for name, spec in kind.schema.attributes.items()
            if spec.configurable and spec.kept and desired.attributes.get(name) is None and current.get(name) is not None
        }
        return Desired({**desired.attributes, **keep}, desired.reads) if keep else desired

    def hold(
        self, kind: Kind, address: Address, record: Record | None, alias: str, reason: str, desired: Desired
    ) -> Change:
        """Leave an address alone because nothing certain is known of it."""
        current = self.current(kind, record, None, alias) if record is not None else dict(desired.attributes)
        price = decimal_price(kind.hourly_price(current)) if record is not None else Decimal(0)
        return Change(
            address,
            Action.NOOP,
            current if record is not None else None,
            current,
            alias=alias,
            account=self.account(alias),
            record_key=record.key if record is not None else "",
            record_version=record.version if record is not None else 0,
            cloud_id=record.cloud_id if record is not None else "",
            ref_id=record.ref_id if record is not None else "",
            blocked=reason,
            reads=desired.reads,
            price_before=price,
            price_after=price,
        )

    # destroys

    def destroy(
        self, kind: Kind, address: Address, sighting: Sighting, alias: str, reason: Reason,
        declaration: Declaration | None = None, context: InstanceScope | None = None,
    ) -> Change:  # fmt: skip
        match sighting:
            case Absent():
                return Change(
                    address, Action.NOOP, None, None,
                    record_key=sighting.record.key if sighting.record is not None else "", gone=True,
                )  # fmt: skip
            case Unverified():
                held = self.hold(kind, address, sighting.record, alias, f"unverified: {sighting.reason}", _NOTHING)
                return dataclasses.replace(held, after=held.before)
            case Ambiguous():
                return self.hold(kind, address, None, alias, "several machines bear the mark of this address", _NOTHING)
        record = sighting.record
        current = self.current(kind, record, sighting.instance, sighting.account or alias)
        protect: bool | None = None
        if declaration is not None and context is not None:
            protect = known_bool(
                declaration.lifecycle.prevent_destroy, context, "prevent_destroy", self.diagnostics, default=None
            )
        if protect is None:
            protect = record is not None and record.protected
        fields = self.origin(sighting, alias)
        fields["imports"] = ""
        return Change(
            address,
            Action.DELETE,
            current,
            None,
            reason=reason,
            blocked="prevent_destroy is set" if protect else "",
            reads=_recorded_reads(record),
            price_before=decimal_price(kind.hourly_price(current)),
            price_after=Decimal(0),
            **fields,  # type: ignore[arg-type]
        )

    def undeclared(self) -> Iterator[Record]:
        """Plan the end of what is recorded and no longer declared; give the rows that only need forgetting."""
        if self.options.offline:
            return
        failed = {block for block, entry in self.scope.published.items() if entry.failed}
        for address, record in sorted(self.facts.records.items()):
            if address in self.changes or address.block in failed or self.options.mode is Mode.REFRESH_ONLY:
                continue
            kind = self.inputs.kinds.get(address.kind)
            if kind is None:
                continue
            sighting = sight(self.facts, address, record.alias) if kind.needs_provider else Present(record, None)
            reason = self.deletion_reason(address) if self.options.mode is not Mode.DESTROY else Reason.NONE
            change = self.destroy(kind, address, sighting, record.alias, reason)
            if change.action is Action.NOOP and not change.blocked:
                yield record
            else:
                self.changes[address] = change
        yield from self.leftovers()

    def deletion_reason(self, address: Address) -> Reason:
        declaration = self.config.resources.get(address.block)
        if declaration is None:
            return Reason.NO_RESOURCE_CONFIG
        mode = mode_of(declaration)
        given = {type(None): "single", int: "count", str: "for_each"}[type(address.key)]
        if mode != given:
            return Reason.WRONG_REPETITION
        return Reason.COUNT_INDEX if mode == "count" else Reason.EACH_KEY

    def leftovers(self) -> Iterator[Record]:
        """Plan the end of machines that are no longer their address's current one."""
        if self.options.mode is Mode.REFRESH_ONLY:
            return
        for record in self.facts.deposed:
            kind = self.inputs.kinds.get(record.kind)
            view = self.facts.view_of(record)
            if kind is None:
                continue
            if view is not None and record.cloud_id in view.gone:
                yield record
                continue
            machine = view.machines.get(record.cloud_id) if view is not None else None
            blocked = ""
            if view is None or (machine is None and self.facts.refreshed):
                blocked = view.unverified or "it could not be looked up" if view is not None else "no such provider"
            self.extra.append(self.deposed_change(kind, record, record.ref_id or record.cloud_id, machine, blocked))
        for intent, alias, machine in self.facts.surfaced():
            kind = self.inputs.kinds[intent.address.kind]
            if self.changes.get(intent.address) is None or self.changes[intent.address].cloud_id != machine.cloud_id:
                self.extra.append(self.stray(kind, intent.address, alias, machine))
        for orphan in self.raw_orphans():
            if orphan.instance.ref_id in self.options.reaped:
                address = _tagged_address(orphan.instance)
                self.extra.append(self.stray(self.inputs.kinds["instance"], address, orphan.alias, orphan.instance))

    def deposed_change(
        self, kind: Kind, record: Record, ref: str, machine: Instance | None, blocked: str
    ) -> Change:
        alias = self.facts.view_of(record).alias if self.facts.view_of(record) else record.alias  # type: ignore[union-attr]
        current = self.current(kind, record, machine, alias)
        return Change(
            record.address,
            Action.DELETE,
            current,
            None,
            alias=alias,
            account=self.account(alias),
            deposed=ref,
            record_key=record.key,
            record_version=record.version,
            cloud_id=record.cloud_id,
            ref_id=record.ref_id,
            notes=("an earlier destroy of it is not finished",) if record.role is Role.DESTROYING else (),
            blocked=blocked,
            reads=_recorded_reads(record),
            price_before=decimal_price(kind.hourly_price(current)),
        )

    def stray(self, kind: Kind, address: Address, alias: str, machine: Instance) -> Change:
        current = kind.observe(machine, self.facts.views[alias].traits)
        return Change(
            address,
            Action.DELETE,
            current,
            None,
            alias=alias,
            account=self.account(alias),
            deposed=machine.ref_id,
            cloud_id=machine.cloud_id,
            ref_id=machine.ref_id,
            price_before=decimal_price(kind.hourly_price(current)),
        )

    # totals

    def spread_create_first(self) -> None:
        """What a create-before-destroy resource reads, and is replaced too, must be created first as well."""
        pending = list(self.create_first)
        while pending:
            change = self.changes[pending.pop()]
            for read in change.reads:
                for address, other in self.changes.items():
                    if other.action is Action.REPLACE and read.covers(address):
                        self.changes[address] = dataclasses.replace(
                            other,
                            action=Action.REPLACE_CREATE_FIRST,
                            notes=(*other.notes, f"created before it is destroyed, because {change.address} is"),
                        )
                        pending.append(address)

    def orphans(self) -> list[Orphan]:
        adopted = frozenset(change.cloud_id for change in self.changes.values() if change.cloud_id)
        return self.facts.orphans(adopted)

    def cost(self, changes: list[Change]) -> Cost:
        before = after = Decimal(0)
        unknown_before = unknown_after = 0
        for change in changes:
            if change.price_before is None:
                unknown_before += 1
            else:
                before += change.price_before
            price = change.price_before if change.blocked else change.price_after
            if price is None:
                unknown_after += 1
            else:
                after += price
        return Cost(before, after, unknown_before, unknown_after)

    def notes(self) -> list[str]:
        return []


_NOTHING = Desired({}, frozenset())


def _recorded_reads(record: Record | None) -> frozenset[Address]:
    return frozenset(map(Address.parse, record.reads)) if record is not None else frozenset()


def _touches(change: Change, attribute: str) -> bool:
    if change.creates:
        return True
    return change.action is Action.UPDATE and (not attribute or attribute in change.changed)


def _both_empty(raw: object, now: Value) -> bool:
    empty_now = now is None or now == "" or (isinstance(now, (Mapping_, Sequence_)) and not len(now))
    return empty_now and raw in (None, {}, [], "")


def _tagged_address(machine: Instance) -> Address:
    try:
        return Address.parse(machine.address.split("/", 1)[-1])
    except ValueError:
        return Address("instance", machine.name or "unknown")


def _orphan_note(orphan: Orphan) -> OrphanNote:
    machine = orphan.instance
    return OrphanNote(
        orphan.alias,
        machine.cloud_id,
        machine.ref_id,
        machine.address,
        machine.instance_type,
        machine.location,
        machine.hourly_price,
    )
