"""Planning is a fold: expand one block, evaluate one instance, diff it, publish its planned value, go on.

Pure: `fold(config, inputs, facts) → Folded | Needs`. What the fold finds missing it names in `Needs`; the operation
reads that at the cloud and folds again, with facts that only grow.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal

from brevplan.contract.model import Instance
from brevplan.diagnostics import Diagnostics, as_warning
from brevplan.engine.address import Address, path_names
from brevplan.engine.bench import Bench, Inputs
from brevplan.engine.board import Context, Expansion
from brevplan.engine.change import Action, Change, Cost, Mode, OrphanNote, Plan
from brevplan.engine.checks import check_all
from brevplan.engine.config import Config, Declaration
from brevplan.engine.dependencies import Dependencies, Node, Sort
from brevplan.engine.desired import Desired, Shared, check_rules, evaluate
from brevplan.engine.endings import propose_leftovers, propose_undeclared
from brevplan.engine.expand import expand, mode_of
from brevplan.engine.imports import read_imports
from brevplan.engine.kind import Kind, NeedsCatalogue
from brevplan.engine.moves import Moves, check_moves, check_removals, still_declared
from brevplan.engine.observed import Facts
from brevplan.engine.outputs import plan_outputs
from brevplan.engine.peers import follow_members
from brevplan.engine.ports import Record
from brevplan.engine.proposal import Subject, propose
from brevplan.engine.provider_choice import ProviderChoice
from brevplan.engine.scope import InstanceScope, ModuleScope, repetition_names
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
    context = Context(facts.workspace, facts.project)
    scope = ModuleScope.of_root(config, inputs.variables, inputs.environment, context)
    return _Fold(Bench(config, inputs, facts, scope)).run()


class _Fold:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.config, self.scope, self.diagnostics = bench.config, bench.scope, bench.diagnostics
        self.options = bench.options
        self.providers = ProviderChoice(bench.config)
        self.contexts: dict[Address, InstanceScope] = {}

    def run(self) -> Folded | Needs:
        bench = self.bench
        bench.imports = read_imports(self.scope, self.diagnostics, bench.inputs.taken)
        self.claim()
        self.scope.board.forget_unknown()  # it was too early to ask for these
        check_removals(self.config, self.diagnostics)
        if not self.declarations():
            # the rest would only ask for more of the same: every account's catalogue is read at once
            return Needs(frozenset(bench.facts.views))
        self.check_moves_and_imports()
        extra, cleanups = self.endings()
        follow_members(self.bench)
        self.spread_create_first()
        self.recover_recorded_only()
        changes = sift([*bench.changes.values(), *extra], self.options)
        orphans = self.orphans()
        if bench.needs and not self.options.offline:
            return Needs(frozenset(bench.facts.views))
        outputs = plan_outputs(self.config, self.scope, bench.facts, self.options.mode, changes, self.diagnostics)
        if self.options.mode is not Mode.DESTROY and not self.options.offline:
            check_all(self.scope, self.diagnostics)
        plan = Plan(
            self.options.mode,
            bench.facts.workspace,
            bench.facts.project,
            changes,
            outputs,
            total_cost(changes),
            sorted(bench.drift, key=lambda change: change.address),
            orphans,
        )
        return Folded(plan, self.scope, self.diagnostics, self.contexts, cleanups, self.books(changes))

    def claim(self) -> None:
        """Note which machines are taken in by name, so that their marks lead to no other address."""
        quiet = Diagnostics()
        for item in self.bench.imports.wanted.values():
            if item.address in self.bench.facts.records:
                continue  # taken in by an earlier run
            declaration = self.config.declaration(item.address)
            alias: str | None = item.provider
            if not alias and declaration is not None:
                alias = self.providers.of(path_names(item.address.module), declaration, quiet)
            self.bench.claimed.add((self.bench.account(alias or ""), item.cloud_id))

    # everything that is declared, in order

    def declarations(self) -> bool:
        """Plan every declaration after what it needs; False when something must be read at a cloud first."""
        dependencies = Dependencies(self.config, self.bench.inputs.kinds)
        order, cyclic = dependencies.ordered(self.diagnostics)
        late: set[Node] = set()
        """What cannot be known before something is planned."""
        for node in order:
            needs = dependencies.needs[node]
            if node.sort in (Sort.RESOURCE, Sort.MODULE) or any(need in late for need in needs):
                late.add(node)
            if node in cyclic:
                self.give_up(node)
            elif node.path or node.sort is not Sort.RULES or node in late:
                self.declaration(node)
            if self.bench.needs and not self.options.offline:
                return False
        return True

    def declaration(self, node: Node) -> None:
        scopes = self.scope.board.instances(node.path)
        match node:
            case Node(sort=Sort.RESOURCE, name=Address() as address):
                self.resource(node.path, scopes, address)
            case Node(sort=Sort.MODULE, name=str() as name):
                for scope in scopes:
                    self.module(scope, name)
            case Node(sort=Sort.RULES, name=str() as name):
                for scope in scopes:
                    self.rules(scope, name)
            case Node(sort=Sort.LOCAL, name=str() as name):
                for scope in scopes:
                    scope.check(("local", name), self.diagnostics)
            case Node(sort=Sort.VARIABLE | Sort.OUTPUT, name=str() as name) if node.path:
                for scope in scopes:
                    self.interface(scope, node.sort, name)

    def give_up(self, node: Node) -> None:
        """Let readers of a value in a cycle have an unknown."""
        for scope in self.scope.board.instances(node.path):
            if isinstance(node.name, Address):
                declaration = scope.config.resources[node.name]
                self.fail(scope, declaration)
            else:
                scope.fail((node.sort.value, node.name))

    def module(self, scope: ModuleScope, name: str) -> None:
        """Find out how often a module is called."""
        expansion = expand(scope.config.calls[name], scope, self.diagnostics, offline=self.options.offline)
        if expansion is not None:
            scope.open_module(name, expansion)

    def rules(self, scope: ModuleScope, name: str) -> None:
        variable = scope.config.variables[name]
        check_rules(variable.validations, scope, f'Validation of variable "{name}"', scope.text, self.diagnostics)

    def interface(self, scope: ModuleScope, sort: Sort, name: str) -> None:
        """Evaluate a variable or an output of a called module."""
        if sort is Sort.OUTPUT:
            output = scope.config.outputs[name]
            check_rules(output.preconditions, scope, "Precondition", f"{scope.text}.{name}", self.diagnostics)
        scope.check((sort.value, name), self.diagnostics)

    def resource(self, path: tuple[str, ...], scopes: list[ModuleScope], address: Address) -> None:
        """Plan all instances of one block, in all instances of its module."""
        module = self.config.at(path)
        assert module is not None
        declaration = module.resources[address]
        needs_provider = address.is_data or self.bench.inputs.kinds[address.kind].needs_provider
        alias = self.alias(path, declaration) if needs_provider else ""
        for scope in scopes:
            if alias is None:
                self.fail(scope, declaration)
            elif address.is_data:
                self.data(scope, declaration, alias)
            else:
                self.block(scope, declaration, alias)

    def fail(self, scope: ModuleScope, declaration: Declaration) -> None:
        block = declaration.address.inside(scope.path)
        if block.is_data:
            scope.board.fail_block(block)
        else:
            schema = self.bench.inputs.kinds[block.kind].schema
            scope.board.fail_block(block, mode_of(declaration), schema.stored_names)

    # data sources

    def data(self, scope: ModuleScope, declaration: Declaration, alias: str) -> None:
        found = Diagnostics()
        expansion = expand(declaration, scope, found, offline=self.options.offline)
        block = declaration.address.inside(scope.path)
        if expansion is None:
            self.fail(scope, declaration)
        else:
            scope.board.open_block(block, expansion.mode)
        for key, each in expansion.instances if expansion is not None else ():
            context = InstanceScope(scope, repetition_names(key, each))
            if not self.read_data(declaration, expansion, block.instance(key), context, alias, found):
                self.fail(scope, declaration)
        # a check warns, also when it cannot look
        self.diagnostics.extend(map(as_warning, found) if declaration.check else found)

    def read_data(
        self, declaration: Declaration, expansion: Expansion | None, address: Address, context: InstanceScope,
        alias: str, diagnostics: Diagnostics,
    ) -> bool:  # fmt: skip
        """Publish one data instance; False when there is nothing to publish, for whatever reason."""
        source = self.bench.inputs.data_kinds[address.kind]
        desired = evaluate(declaration, source.schema, context, address, diagnostics)
        if desired.has_mistakes or expansion is None or self.options.offline:
            return False
        try:
            found = source.read(desired.attributes, alias, self.bench.facts)
        except NeedsCatalogue as need:
            problem = self.bench.lacks_catalogue(need.alias)
            if problem:
                diagnostics.error("Data source cannot be read", f"{problem}.", declaration.span, address=str(address))
            return False
        except ValueError as problem:
            text = str(problem) if not desired.secret_names else "Why is not shown, because an argument is sensitive."
            diagnostics.error("Data source cannot be read", text, declaration.span, address=str(address))
            return False
        context.module.board.publish(address.block, expansion.mode, address.key, {**desired.attributes, **found})
        return True

    # resources

    def block(self, scope: ModuleScope, declaration: Declaration, alias: str) -> None:
        kind = self.bench.inputs.kinds[declaration.address.kind]
        expansion = expand(declaration, scope, self.diagnostics, offline=self.options.offline)
        if expansion is None:
            self.fail(scope, declaration)
            return
        block = declaration.address.inside(scope.path)
        scope.board.open_block(block, expansion.mode)
        shared: Desired | None = None
        fixed = Shared()
        for key, each in expansion.instances:
            address = block.instance(key)
            context = InstanceScope(scope, repetition_names(key, each))
            desired = shared or self.desired(kind, declaration, address, context, alias, fixed)
            if desired is None:
                self.fail(scope, declaration)
                if not declaration.varies:
                    return  # the others would have the same mistakes
                continue
            shared = desired if not declaration.varies else None
            self.contexts[address] = context
            if followed := kind.follows(desired.attributes):
                self.bench.following[address] = followed
            change = propose(self.bench, Subject(kind, declaration, address, desired, context, alias))
            self.bench.changes[address] = change
            after = change.after if change.after is not None else change.before
            if after is not None:
                scope.board.publish(block, expansion.mode, key, after)

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

    def alias(self, path: tuple[str, ...], declaration: Declaration) -> str | None:
        """Find the provider block of a declaration."""
        chosen = self.providers.of(path, declaration, self.diagnostics)
        if chosen is None or chosen in self.bench.facts.views:
            return chosen
        known = ", ".join(sorted(self.bench.facts.views)) or "none"
        span = declaration.provider.span if declaration.provider is not None else declaration.span
        self.diagnostics.error("Unknown provider", f'There is no provider "{chosen}"; configured are: {known}.', span)
        return None

    # what is left

    def check_moves_and_imports(self) -> None:
        moves = Moves(self.config, self.bench.inputs.kinds)
        check_moves(moves, self.diagnostics)
        still_declared(moves, self.contexts, self.diagnostics)
        for item in self.bench.imports.undeclared(self.bench.facts.records):
            if not self.options.offline and item.address.block not in self.scope.board.failed_blocks():
                self.diagnostics.error(
                    "Import of something undeclared",
                    f"No {item.address} is declared to take {item.cloud_id} in.",
                    item.span,
                    hint="Declare it, or let -generate-config-out=FILE write a first version."
                    if item.span is not None
                    else "Its block makes other instances: see its count or for_each.",
                )

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
        # a row is called by its new name only together with its machine
        waiting = self.bench.facts.moved.keys() - {change.address for change in changes if change.moved_from}
        return [item for item in self.bench.bookkeeping if item.key not in written and item.address not in waiting]

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
        adopted = frozenset((c.account, c.cloud_id) for c in self.bench.changes.values() if c.cloud_id)
        return [
            _orphan_note(orphan.alias, self.bench.priced(orphan.alias, orphan.instance))
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


def _orphan_note(alias: str, machine: Instance) -> OrphanNote:
    return OrphanNote(
        alias,
        machine.cloud_id,
        machine.ref_id,
        machine.address,
        machine.instance_type,
        machine.location,
        machine.hourly_price,
    )
