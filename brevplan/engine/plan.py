"""Planning is a fold: expand one block, evaluate one instance, diff it, publish its planned value, go on.

Pure: `fold(config, inputs, facts) → Folded | Needs`. What the fold finds missing it names in `Needs`; the operation
reads that at the cloud and folds again, with facts that only grow.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter

from brevplan.diagnostics import Diagnostics
from brevplan.engine.address import Address
from brevplan.engine.bench import Bench, Inputs
from brevplan.engine.change import Action, Change, Cost, Mode, OrphanNote, Plan
from brevplan.engine.config import Config, Declaration, blocks_read
from brevplan.engine.desired import Desired, Shared, evaluate
from brevplan.engine.endings import propose_leftovers, propose_undeclared
from brevplan.engine.expand import expand, mode_of
from brevplan.engine.kind import Kind, NeedsCatalogue
from brevplan.engine.observed import Facts, Orphan
from brevplan.engine.outputs import plan_outputs
from brevplan.engine.ports import Record
from brevplan.engine.proposal import Subject, propose
from brevplan.engine.scope import Context, InstanceScope, ModuleScope, repetition_names
from brevplan.engine.sift import sift


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
    cleanups: list[Record]
    """Rows of machines that are gone and no longer wanted: to be forgotten by the next apply."""
    bookkeeping: list[Record]
    """Rows to be written anew although nothing about their machine changes."""


def fold(config: Config, inputs: Inputs, facts: Facts) -> Folded | Needs:
    """Plan the whole configuration, then leave out what the options leave out."""
    scope = ModuleScope(config, inputs.variables, inputs.environment, Context(facts.workspace, facts.project))
    return _Fold(Bench(config, inputs, facts, scope)).run()


class _Fold:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.config, self.scope, self.diagnostics = bench.config, bench.scope, bench.diagnostics
        self.options = bench.options
        self.contexts: dict[Address, InstanceScope] = {}

    def run(self) -> Folded | Needs:
        bench = self.bench
        for address in self.ordered():
            declaration = self.config.resources[address]
            if address.is_data:
                self.data(declaration)
            else:
                self.block(declaration)
            if bench.needs and not self.options.offline:
                # the rest would only ask for more of the same: every account's catalogue is read at once
                return Needs(frozenset(bench.facts.views))
        for name in self.config.locals:
            self.scope.check_local(name, self.diagnostics)
        extra, cleanups = self.endings()
        self.spread_create_first()
        self.recover_recorded_only()
        changes = sift([*bench.changes.values(), *extra], self.options)
        outputs = plan_outputs(self.config, self.scope, bench.facts, self.options.mode, changes, self.diagnostics)
        plan = Plan(
            self.options.mode,
            bench.facts.workspace,
            bench.facts.project,
            changes,
            outputs,
            total_cost(changes),
            bench.drift,
            self.orphans(),
        )
        return Folded(plan, self.scope, self.diagnostics, self.contexts, cleanups, self.books(changes))

    def ordered(self) -> list[Address]:
        """Give the blocks so that each comes after what it refers to; report cycles with their places."""
        needs: dict[Address, set[Address]] = {}
        for address, declaration in self.config.resources.items():
            needs[address] = blocks_read(self.config, declaration, self.bench.inputs.kinds)
            if address in needs[address]:
                self.diagnostics.error(
                    "Self-reference",
                    f"{address} refers to itself.",
                    declaration.span,
                    hint='Inside of a postcondition, write "self".',
                )
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
        expansion = expand(declaration, self.scope, self.diagnostics, offline=self.options.offline)
        if expansion is None:
            self.scope.fail_block(declaration.address)
            return
        self.scope.open_block(declaration.address, expansion.mode)
        for key, each in expansion.instances:
            context = InstanceScope(self.scope, repetition_names(key, each))
            if not self.read_data(declaration, expansion.mode, declaration.address.instance(key), context):
                self.scope.fail_block(declaration.address)

    def read_data(self, declaration: Declaration, mode: str, address: Address, context: InstanceScope) -> bool:
        """Publish one data instance; False when there is nothing to publish, for whatever reason."""
        source = self.bench.inputs.data_kinds[address.kind]
        desired = evaluate(declaration, source.schema, context, address, self.diagnostics)
        alias = self.alias(declaration)
        if desired.has_mistakes or alias is None or self.options.offline:
            return False
        try:
            found = source.read(desired.attributes, alias, self.bench.facts)
        except NeedsCatalogue as need:
            self.bench.needs.add(need.alias)
            return False
        except ValueError as problem:
            text = str(problem) if not desired.secret_names else "Why is not shown, because an argument is sensitive."
            self.diagnostics.error("Data source cannot be read", text, declaration.span)
            return False
        self.scope.publish(address.block, mode, address.key, {**desired.attributes, **found})
        return True

    # resources

    def block(self, declaration: Declaration) -> None:
        kind = self.bench.inputs.kinds[declaration.address.kind]
        expansion = expand(declaration, self.scope, self.diagnostics, offline=self.options.offline)
        alias = self.alias(declaration) if kind.needs_provider else ""
        if expansion is None or alias is None:
            self.scope.fail_block(declaration.address, mode_of(declaration), kind.schema.stored_names)
            return
        self.scope.open_block(declaration.address, expansion.mode)
        shared: Desired | None = None
        fixed = Shared()
        for key, each in expansion.instances:
            address = declaration.address.instance(key)
            context = InstanceScope(self.scope, repetition_names(key, each))
            desired = shared or self.desired(kind, declaration, address, context, alias, fixed)
            if desired is None:
                self.scope.fail_block(declaration.address, mode_of(declaration), kind.schema.stored_names)
                if not declaration.varies:
                    return  # the others would have the same mistakes
                continue
            shared = desired if not declaration.varies else None
            self.contexts[address] = context
            change = propose(self.bench, Subject(kind, declaration, address, desired, context, alias))
            self.bench.changes[address] = change
            after = change.after if change.after is not None else change.before
            if after is not None:
                self.scope.publish(declaration.address, expansion.mode, key, after)

    def desired(
        self,
        kind: Kind,
        declaration: Declaration,
        address: Address,
        context: InstanceScope,
        alias: str,
        fixed: Shared,
    ) -> Desired | None:
        found = evaluate(declaration, kind.schema, context, address, self.diagnostics, fixed)
        findings = kind.check(found.attributes, address, self.bench.ability(alias))
        self.bench.report(findings, declaration, address, found.secret_names)
        return found if not (findings or found.has_mistakes) else None

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
        if chosen.text in self.bench.facts.views:
            return chosen.text
        known = ", ".join(sorted(self.bench.facts.views)) or "none"
        self.diagnostics.error(
            "Unknown provider", f'There is no provider "{chosen.text}"; configured are: {known}.', chosen.span
        )
        return None

    # what is left

    def endings(self) -> tuple[list[Change], list[Record]]:
        """Give the destroys beside the current machines, and the rows to forget."""
        if self.options.offline or self.options.mode is Mode.REFRESH_ONLY:
            return [], self.bench.forgotten
        cleanups = list(propose_undeclared(self.bench))
        extra: list[Change] = []
        for item in propose_leftovers(self.bench):
            if isinstance(item, Record):
                cleanups.append(item)
            else:
                extra.append(item)
        return extra, cleanups

    def spread_create_first(self) -> None:
        """What a create-before-destroy resource reads, and is replaced too, must be created first as well."""
        pending = list(self.bench.create_first)
        while pending:
            change = self.bench.changes[pending.pop()]
            for address, other in list(self.bench.changes.items()):
                if other.action is Action.REPLACE and any(read.covers(address) for read in change.reads):
                    self.bench.changes[address] = dataclasses.replace(
                        other,
                        action=Action.REPLACE_CREATE_FIRST,
                        notes=(*other.notes, f"created before it is destroyed, because {change.address} is"),
                    )
                    pending.append(address)

    def books(self, changes: list[Change]) -> list[Record]:
        """Give the rows to rewrite, but for those that a change of this plan writes anyway."""
        if self.options.mode is not Mode.NORMAL or not self.bench.facts.refreshed:
            return []
        written = {change.record_key for change in changes if not change.is_noop or change.blocked}
        return [record for record in self.bench.bookkeeping if record.key not in written]

    def recover_recorded_only(self) -> None:
        """Take what lives in the state alone for adopted when a machine that reads it is: the state was lost."""
        adopted = {read for change in self.bench.changes.values() if change.imports for read in change.reads}
        for address, change in list(self.bench.changes.items()):
            is_recorded_only = not self.bench.inputs.kinds[address.kind].needs_provider
            if is_recorded_only and change.action is Action.CREATE and {address, address.block} & adopted:
                self.bench.changes[address] = dataclasses.replace(
                    change, action=Action.NOOP, before=change.after, imports=str(address)
                )

    def orphans(self) -> list[OrphanNote]:
        adopted = frozenset(change.cloud_id for change in self.bench.changes.values() if change.cloud_id)
        return [
            _orphan_note(orphan)
            for orphan in self.bench.facts.orphans(adopted)
            if not self.bench.is_reaped(orphan.instance)
        ]


def total_cost(changes: list[Change]) -> Cost:
    """Add up what the state holds before and after; what is blocked stays as it is."""
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
