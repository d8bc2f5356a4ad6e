"""What each instance is to become, evaluated anew once what it reads is there; what was planned must still hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from brevplan.diagnostics import Diagnostics, DiagnosticsError
from brevplan.engine.access import Access, within
from brevplan.engine.address import Address
from brevplan.engine.change import Action, Change
from brevplan.engine.config import Config, Declaration
from brevplan.engine.desired import check_rules, evaluate, known_bool
from brevplan.engine.graph import Step, Verb
from brevplan.engine.kind import Ability, Kind, MachineKind
from brevplan.engine.machines import CREATE_TIMEOUT, UPDATE_TIMEOUT
from brevplan.engine.observed import Facts, members
from brevplan.engine.plan import Folded
from brevplan.engine.ports import Record
from brevplan.engine.scope import InstanceScope
from brevplan.engine.secrets import unchanged
from brevplan.engine.workshop import StepError, Target
from brevplan.lang.values import Object, Unknown, Value, has_unknown


@dataclass(slots=True)
class Goals:
    """The declared side of a run. `records` are the rows by their key; `directory` is the project's folder."""

    config: Config
    kinds: Mapping[str, Kind]
    folded: Folded
    facts: Facts
    records: Mapping[str, Record]
    directory: str
    is_over: bool = field(default=False, init=False)
    """Whether all machines have come and gone that this run was to bring."""

    def machine(self, step: Step) -> Target:
        """Give what a machine is to become; raise `StepError` or `DiagnosticsError` when that cannot be said now."""
        kind = self.kinds[step.address.kind]
        attributes, reads, protected = self.final(step, kind)
        declaration = self.config.declaration(step.address)
        assert declaration is not None, "what is made is declared"
        default = CREATE_TIMEOUT if step.verb is Verb.CREATE else UPDATE_TIMEOUT
        name = "create" if step.verb is Verb.CREATE or step.change.finish else "update"
        machine_kind: MachineKind = kind  # type: ignore[assignment]  # every kind with a provider is one
        access = self._access(machine_kind, declaration, step.address)
        return Target(machine_kind, attributes, reads, protected, declaration.timeouts.get(name, default), access)

    def _access(self, kind: MachineKind, declaration: Declaration, address: Address) -> Access | None:
        """Read how a machine is to be reached; what says that is no part of it, and in no plan."""
        context = self.folded.contexts.get(address)
        if not declaration.blocks or context is None:
            return None
        found = kind.access(evaluate(declaration, kind.schema, context, address, Diagnostics()).attributes)
        return within(found, self.directory) if found is not None else None

    def final(self, step: Step, kind: Kind) -> tuple[dict[str, Value], tuple[str, ...], bool]:
        """Evaluate an instance anew, now that what it reads is there; what was planned must still hold."""
        change, address = step.change, step.address
        planned = dict(change.after or {})
        declaration = self.config.declaration(address)
        context = self.folded.contexts.get(address)
        if declaration is None or context is None:
            return planned, tuple(sorted(map(str, change.reads))), False
        diagnostics = Diagnostics()
        protected = self._is_protected(declaration, context, change, diagnostics)
        reads = tuple(sorted(map(str, change.reads)))
        if change.follows:
            planned.update(self._followed(kind, change))
        pending = [
            name for name, value in planned.items() if has_unknown(value) and _is_decided(kind, declaration, name)
        ]
        if not pending:
            return planned, reads, protected
        fresh = self._evaluate_again(kind, declaration, context, address, change)
        for name, value in planned.items():
            if name not in fresh or not _is_decided(kind, declaration, name):
                continue
            if not has_unknown(value) and not unchanged(fresh[name], value, self.facts.salt):
                raise StepError(f'"{name}" is now another value than the plan said; plan again')
            if has_unknown(value):
                planned[name] = fresh[name]
        still = [name for name in pending if has_unknown(planned[name])]
        if still:
            raise StepError(f"{', '.join(still)}: still not known, because something that decides it did not succeed")
        return planned, reads, protected

    def _is_protected(
        self, declaration: Declaration, context: InstanceScope, change: Change, diagnostics: Diagnostics
    ) -> bool:
        flag = declaration.lifecycle.prevent_destroy
        declared = known_bool(flag, context, "prevent_destroy", diagnostics, default=None)
        record = self.records.get(change.record_key)
        return declared if declared is not None else record is not None and record.protected

    def _evaluate_again(
        self, kind: Kind, declaration: Declaration, context: InstanceScope, address: Address, change: Change
    ) -> dict[str, Value]:
        diagnostics = Diagnostics()
        self.folded.scope.board.forget_unknown()
        desired = evaluate(declaration, kind.schema, context, address, diagnostics)
        if desired.has_mistakes:
            raise DiagnosticsError(diagnostics.items)
        ability = self._ability(change.made_at)
        findings = kind.check(desired.attributes, address, ability)
        outcome = kind.plan_create(desired.attributes, address, ability)
        if findings := findings or outcome.findings:
            raise StepError("; ".join(f"{item.summary}: {item.detail}" for item in findings))
        return outcome.after

    def _ability(self, alias: str) -> Ability | None:
        if not alias:
            return None
        view = self.facts.views[alias]
        images = self.facts.images.get(alias)
        return Ability(
            alias, view.spec, view.traits, self.facts.types.get(alias, {}),
            {image.id: image for image in images} if images is not None else None, self.facts.salt,
        )  # fmt: skip

    def publish(self, step: Step, actual: Mapping[str, Value]) -> None:
        """Let others read what has become of an instance."""
        address = step.address
        scope = self.folded.scope
        entry = scope.board.published.get(address.block)
        if entry is None:
            return
        shown = {name: value for name, value in actual.items() if not isinstance(value, Unknown)}
        kind = self.kinds[address.kind]
        for name, spec in kind.schema.attributes.items():
            if spec.stored:
                shown.setdefault(name, None)
        scope.board.publish(address.block, entry.mode, address.key, shown)

    def check_after(self, step: Step) -> None:
        """Check the postconditions of what was made or changed; raise `DiagnosticsError` when one is false."""
        address = step.address
        shown = self.folded.scope.board.attributes(address)
        if step.verb in (Verb.DESTROY, Verb.FORGET) or shown is None:
            return
        declaration = self.config.declaration(address)
        if declaration is not None and declaration.lifecycle.postconditions:
            diagnostics = Diagnostics()
            context = self.folded.contexts[address].with_names({"self": Object(shown)})
            if not check_rules(
                declaration.lifecycle.postconditions, context, "Postcondition", str(address), diagnostics
            ):
                raise DiagnosticsError(diagnostics.items)

    def _followed(self, kind: Kind, change: Change) -> Mapping[str, Value]:
        """Give the attributes of a machine that follow others, as far as these are known by now."""
        address = change.address
        shown = self.folded.scope.board.attributes(address) or {}
        if not change.creates and shown and not self.is_over:
            return {name: (change.before or {}).get(name) for name in change.follows}
        declaration = self.config.declaration(address)
        machine_kind: MachineKind = kind  # type: ignore[assignment]  # nothing else follows machines
        assert declaration is not None
        context = self.folded.contexts[address]
        desired = evaluate(declaration, kind.schema, context, address, Diagnostics())
        ability = self._ability(change.made_at)
        assert ability is not None
        return machine_kind.following(desired.attributes, shown, replace(ability, peers=self._members))

    def _members(self) -> Mapping[str, frozenset[str]]:
        board = self.folded.scope.board
        return members(attributes for address in self.folded.contexts if (attributes := board.attributes(address)))

    def following_step(self, change: Change, row: Record) -> Step | None:
        """Give the step that makes a machine follow those that are there now; None where it does already."""
        address = change.address
        shown = self.folded.scope.board.attributes(address)
        if shown is None:
            return None
        if change.only_follows:
            shown = change.before or {}
        wanted = self._followed(self.kinds[address.kind], change)
        changed = tuple(
            name for name, value in wanted.items() if not unchanged(value, shown.get(name), self.facts.salt)
        )
        if not changed:
            return None
        goal = Change(
            address, Action.UPDATE, shown, {**shown, **wanted}, row.alias, row.account, record_key=row.key,
            cloud_id=row.cloud_id, ref_id=row.ref_id, changed=changed, reads=change.reads,
        )  # fmt: skip
        return Step(f"{address} (peers)", Verb.UPDATE, goal)


def _is_decided(kind: Kind, declaration: Declaration, name: str) -> bool:
    """Tell whether the configuration decides an attribute, so that it must be known before the cloud is asked."""
    spec = kind.schema.attributes.get(name)
    if spec is None:
        return name in kind.schema.blocks
    if spec.configurable:
        return not spec.computed or name in declaration.arguments
    return name == "firewall_rules"
