"""What is proposed for one declared instance: nothing, a create, an update, a replacement, or to leave it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from brevplan.contract.model import Instance, LifecycleStatus
from brevplan.engine.address import Address
from brevplan.engine.bench import Bench
from brevplan.engine.change import Action, Change, Mode, Power, Reason, decimal_price
from brevplan.engine.config import Declaration
from brevplan.engine.desired import Desired, check_rules, ignored_names, known_bool
from brevplan.engine.endings import propose_end
from brevplan.engine.kind import Effect, Kind, NeedsCatalogue, Outcome
from brevplan.engine.observed import Absent, Ambiguous, Present, Sighting, Unverified, Wanted, sight
from brevplan.engine.ports import Record
from brevplan.engine.scope import InstanceScope
from brevplan.engine.secrets import mark_like, stands_for, unchanged, unseal
from brevplan.lang.prepared import EvaluationError
from brevplan.lang.values import Map, Mapping_, Object, Sequence_, Unknown, Value, reveal


@dataclass(frozen=True, slots=True)
class Subject:
    """One declared instance: what is wanted, and where it was said."""

    kind: Kind
    declaration: Declaration
    address: Address
    desired: Desired
    scope: InstanceScope
    alias: str


def propose(bench: Bench, subject: Subject) -> Change:
    """Plan one instance: what is there, what is wanted, what leads from the one to the other."""
    sighting = _sighting(bench, subject)
    if bench.options.mode is Mode.DESTROY:
        protect = _flag(bench, subject, "prevent_destroy", default=None)
        return propose_end(bench, subject.kind, subject.address, sighting, subject.alias, Reason.NONE, protect)
    match sighting:
        case Absent() if bench.options.mode is Mode.REFRESH_ONLY:
            return _as_gone(bench, subject, sighting)
        case Absent():
            change = _create(bench, subject, sighting)
        case Unverified():
            change = hold(bench, subject.kind, subject.address, sighting.record, subject.alias,
                          f"unverified: {sighting.reason}", subject.desired)  # fmt: skip
        case Ambiguous():
            ids = ", ".join(machine.cloud_id for machine in sighting.instances)
            reason = f"{len(sighting.instances)} machines bear the mark of this address: {ids}"
            change = hold(bench, subject.kind, subject.address, None, subject.alias, reason, subject.desired)
        case Present():
            change = _existing(bench, subject, sighting)
    _check_conditions(bench, subject, change)
    return replace(change, moved_from=bench.facts.moved[subject.address]) if _has_new_name(bench, subject) else change


def _has_new_name(bench: Bench, subject: Subject) -> bool:
    return subject.address in bench.facts.moved and bench.options.mode is Mode.NORMAL


def _sighting(bench: Bench, subject: Subject) -> Sighting:
    wanted = bench.wanted(subject.address, subject.alias)
    if wanted is not None:
        bench.imports.met.add(subject.address)
    if subject.kind.needs_provider:
        found = sight(bench.facts, subject.address, subject.alias, wanted)
        if wanted is None:
            return _without_claimed(bench, subject.address, found)
        if isinstance(found, (Absent, Present)):
            _check_import(bench, subject, wanted, found)
        return found
    if wanted is not None:
        problem = f'A "{subject.kind.name}" stands at no cloud: there is nothing to import.'
        bench.diagnostics.error("Invalid import", problem, bench.imports.wanted[subject.address].span)
    record = bench.facts.records.get(subject.address)
    return Present(record, None) if record is not None else Absent()


def _without_claimed(bench: Bench, address: Address, found: Sighting) -> Sighting:
    """Leave out machines that are taken in by name at another address, whatever their marks say."""
    if not bench.claimed or not (isinstance(found, Ambiguous) or (isinstance(found, Present) and not found.record)):
        return found
    record = bench.facts.records.get(address)  # of a machine that is gone, or there is none
    marked = bench.facts.marked(address)
    left = [(alias, machine) for alias, machine in marked if not bench.is_claimed(alias, machine)]
    if len(left) == len(marked):
        return found
    if len(left) > 1:
        return Ambiguous(tuple(machine for _, machine in left))
    return Present(None, left[0][1], left[0][0], record) if left else Absent(record)


def _check_import(bench: Bench, subject: Subject, wanted: Wanted, found: Absent | Present) -> None:
    """Report an `import` block whose machine is not there, or stands at another address already."""
    if found.record is not None:
        return  # taken in by an earlier run
    owner = bench.facts.owner_of(wanted.cloud_id, bench.account(wanted.alias))
    if owner == subject.address or bench.facts.open_intents(subject.address):
        return  # taken in by an earlier run, which has begun to put another machine in its place
    if owner is not None:
        problem = f"{wanted.cloud_id} is recorded as {owner} already."
    elif isinstance(found, Absent) and bench.options.mode is Mode.NORMAL and not bench.options.offline:
        problem = f'There is no machine "{wanted.cloud_id}" at "{wanted.alias}".'
    else:
        return
    span = bench.imports.wanted[subject.address].span
    bench.diagnostics.error(
        "Import is not possible", problem, span, address=str(subject.address),
        hint="Take the import block out if the machine was taken in already, and replaced or ended since.",
    )  # fmt: skip


def _flag(bench: Bench, subject: Subject, name: str, *, default: bool | None) -> bool | None:
    prepared = getattr(subject.declaration.lifecycle, name)
    return known_bool(prepared, subject.scope, name, bench.diagnostics, default=default)


def _check_conditions(bench: Bench, subject: Subject, change: Change) -> None:
    life, address = subject.declaration.lifecycle, str(subject.address)
    if life.preconditions:
        check_rules(life.preconditions, subject.scope, "Precondition", address, bench.diagnostics)
    if life.postconditions and change.after is not None:
        with_self = subject.scope.with_names({"self": Object(change.after)})
        check_rules(life.postconditions, with_self, "Postcondition", address, bench.diagnostics)


def _as_gone(bench: Bench, subject: Subject, sighting: Absent) -> Change:
    """With `-refresh-only`: nothing is made; a machine that is gone is drift, and its row is forgotten."""
    record = sighting.record
    if record is not None:
        before = bench.current(subject.kind, record, None, subject.alias)
        bench.drift.append(Change(subject.address, Action.DELETE, before, None, record.alias, cloud_id=record.cloud_id))
        bench.forgotten.append(record)
    return Change(subject.address, Action.NOOP, None, None, gone=True)


# create


def _create(bench: Bench, subject: Subject, sighting: Absent) -> Change:
    outcome = _outcome_of_create(bench, subject, subject.desired)
    if _flag(bench, subject, "prevent_destroy", default=False):
        bench.protected.add(subject.address)
    record = sighting.record
    return Change(
        subject.address,
        Action.CREATE,
        None,
        outcome.after,
        alias=subject.alias,
        account=bench.account(subject.alias),
        record_key=record.key if record is not None else "",
        record_version=record.version if record is not None else 0,
        gone=record is not None,
        notes=tuple(outcome.notes),
        blocked=outcome.blocked or bench.obstacle(outcome, subject.alias, replaces=False),
        reads=subject.desired.reads,
        price_after=decimal_price(subject.kind.hourly_price(outcome.after)),
    )


def _outcome_of_create(bench: Bench, subject: Subject, desired: Desired) -> Outcome:
    try:
        outcome = subject.kind.plan_create(desired.attributes, subject.address, bench.ability(subject.alias))
    except NeedsCatalogue as need:
        return Outcome(_preliminary(subject, desired), blocked=bench.lacks_catalogue(need.alias))
    bench.report(outcome.findings, subject.declaration, subject.address, subject.desired.secret_names)
    return outcome


def _preliminary(subject: Subject, desired: Desired) -> dict[str, Value]:
    """Give what can be said of a new instance without a catalogue: the arguments, and nothing of the rest."""
    unknown: dict[str, Value] = {
        name: Unknown(spec.type, f"{subject.address}.{name}")
        for name, spec in subject.kind.schema.attributes.items()
        if spec.computed and desired.attributes.get(name) is None
    }
    return {**desired.attributes, **unknown}


# what is there already


def _existing(bench: Bench, subject: Subject, sighting: Present) -> Change:
    record, machine = sighting.record, sighting.instance
    if record is None and machine is not None:
        machine = bench.priced(sighting.account or subject.alias, machine)
    current = bench.current(subject.kind, record, machine, sighting.account or subject.alias)
    for name in subject.desired.secret_names:
        if current.get(name) is not None:
            current[name] = mark_like(current[name], subject.desired.attributes[name])
    wanted = _with_ignored(bench, subject, current)
    outcome = _outcome_of_update(bench, subject, wanted, current, machine)
    if record is not None and machine is not None and record.settled:
        _note_drift(bench, subject, record, current, machine)
    if bench.options.mode is Mode.REFRESH_ONLY:
        return _as_is(bench, subject, sighting, current)
    _note_protection(bench, subject, record)
    moved = _has_moved(bench, subject, sighting)
    reason = _replacement_reason(bench, subject, outcome, moved)
    if reason:
        return _replace(bench, subject, sighting, current, outcome, reason, moved)
    return _update(bench, subject, sighting, current, outcome)


def _outcome_of_update(
    bench: Bench, subject: Subject, wanted: Desired, current: dict[str, Value], machine: Instance | None
) -> Outcome:
    ability = bench.ability(subject.alias)
    try:
        outcome = subject.kind.plan_update(
            wanted.attributes, current, subject.address, ability, machine, bench.facts.salt
        )
    except NeedsCatalogue as need:
        return Outcome(dict(current), blocked=bench.lacks_catalogue(need.alias))
    bench.report(outcome.findings, subject.declaration, subject.address, subject.desired.secret_names)
    return outcome


def _with_ignored(bench: Bench, subject: Subject, current: Mapping[str, Value]) -> Desired:
    """Take arguments whose changes are ignored for what they are now."""
    life, desired = subject.declaration.lifecycle, subject.desired
    if not (life.ignored or life.ignored_keys or life.ignores_all or life.ignore_changes is not None):
        return desired
    names = ignored_names(subject.declaration, subject.scope, bench.diagnostics)
    attributes = {
        name: _ignored_value(name, value, current) if names is None or name in names else value
        for name, value in desired.attributes.items()
    }
    for name, key in life.ignored_keys:
        attributes[name] = _with_element(attributes.get(name), current.get(name), key)
    return Desired(attributes, desired.reads)


def _with_element(wanted: Value, now: Value, key: str) -> Value:
    """Give a declared map with one element as it is now."""
    mine = dict(wanted.items) if isinstance(wanted, Mapping_) else {}
    there = reveal(now)
    mine.pop(key, None)
    if isinstance(there, Mapping_) and key in there.items:
        mine[key] = there.items[key]
    return Map(mine)


def _ignored_value(name: str, value: Value, current: Mapping[str, Value]) -> Value:
    # firewalls are declared as objects and recorded by name: null leaves them and their rules as they are
    if name == "firewalls":
        return None
    return current.get(name, value)


def _note_protection(bench: Bench, subject: Subject, record: Record | None) -> None:
    """Protection that was applied once stays until `false` is applied: leaving the line out does not disarm it."""
    declared = _flag(bench, subject, "prevent_destroy", default=None)
    if declared or (declared is None and record is not None and record.protected):
        bench.protected.add(subject.address)


def _has_moved(bench: Bench, subject: Subject, sighting: Present) -> bool:
    """Tell whether the instance now belongs into another account than its machine stands in."""
    if not subject.kind.needs_provider or bench.options.offline:
        return False
    record = sighting.record
    home = bench.account(sighting.account) if sighting.account else (record.account if record is not None else "")
    return home != bench.account(subject.alias)


def _replacement_reason(bench: Bench, subject: Subject, outcome: Outcome, moved: bool) -> Reason:
    if any(wanted.covers(subject.address) for wanted in bench.options.replaced):
        return Reason.REQUESTED
    if moved or any(item.effect is Effect.REPLACE for item in outcome.changes):
        return Reason.CANNOT_UPDATE
    return Reason.TRIGGERED if _is_triggered(bench, subject) else Reason.NONE


def _is_triggered(bench: Bench, subject: Subject) -> bool:
    """Tell whether something that `replace_triggered_by` names changes in this plan."""
    for trigger in subject.declaration.lifecycle.replace_triggered_by:
        with bench.scope.board.recording() as reads:
            try:
                trigger.evaluate(subject.scope)
            except EvaluationError as problem:
                bench.diagnostics.add(problem.diagnostic)
                continue
        names = [step for step in trigger.references[0].steps if isinstance(step, str)]
        attribute = names[1] if len(names) > 1 else ""
        for change in bench.changes.values():
            if any(read.covers(change.address) for read in reads) and _touches(change, attribute):
                return True
    return False


def _touches(change: Change, attribute: str) -> bool:
    if change.creates:
        return True
    return change.action is Action.UPDATE and (not attribute or attribute in change.changed)


def _note_drift(
    bench: Bench, subject: Subject, record: Record, current: Mapping[str, Value], machine: Instance
) -> None:
    """Remember what others changed: reported attributes whose recorded value is another one."""
    recorded = record.attributes
    differing: dict[str, Value] = {}
    for name, spec in subject.kind.schema.attributes.items():
        raw, now = recorded.get(name), current.get(name)
        if raw is now or (raw.__class__ is now.__class__ and raw == now) or stands_for(raw, now):
            continue
        was = unseal(raw, spec.type)
        if not unchanged(now, was, bench.facts.salt) and not (_is_empty(was) and _is_empty(now)):
            differing[name] = was
    if differing:
        bench.drift.append(
            Change(
                subject.address,
                Action.UPDATE,
                {**current, **differing},
                current,
                alias=record.alias,
                cloud_id=machine.cloud_id,
                changed=tuple(differing),
            )
        )


def _is_empty(value: Value) -> bool:
    return value is None or value == "" or (isinstance(value, (Mapping_, Sequence_)) and not len(value))


def _as_is(bench: Bench, subject: Subject, sighting: Present, current: dict[str, Value]) -> Change:
    price = decimal_price(subject.kind.hourly_price(current))
    fields = {**bench.origin(sighting, subject.alias), "imports": ""}
    return Change(
        subject.address, Action.NOOP, current, current, price_before=price, price_after=price,
        reads=subject.desired.reads, **fields,
    )  # fmt: skip


def _update(bench: Bench, subject: Subject, sighting: Present, current: dict[str, Value], outcome: Outcome) -> Change:
    record = sighting.record
    finish = _is_unfinished(record, sighting)
    price = decimal_price(subject.kind.hourly_price(current))
    if not (outcome.changes or outcome.notes or outcome.blocked or finish):
        if record is not None:
            _keep_books(bench, subject, sighting, record)
        return Change(
            subject.address, Action.NOOP, current, outcome.after, reads=subject.desired.reads,
            price_before=price, price_after=price, **bench.origin(sighting, subject.alias),
        )  # fmt: skip
    if finish:
        _expect(subject, outcome.after)
    changed = tuple(item.name for item in outcome.changes if item.effect in (Effect.UPDATE, Effect.POWER))
    power = _power(outcome)
    loses = power is Power.STOP and outcome.stop_loses_data
    action = Action.UPDATE if changed or finish else Action.NOOP
    if action is Action.NOOP and record is not None:
        _keep_books(bench, subject, sighting, record)
    return Change(
        subject.address,
        action,
        current,
        outcome.after,
        changed=changed,
        reasons={item.name: item.reason for item in outcome.changes if item.reason},
        power=power,
        power_loses_data=loses,
        finish=finish,
        notes=tuple(outcome.notes),
        blocked=_update_blocked(bench, subject, outcome, loses),
        reads=subject.desired.reads,
        price_before=price,
        price_after=decimal_price(subject.kind.hourly_price(outcome.after)),
        **bench.origin(sighting, subject.alias),
    )


def _is_unfinished(record: Record | None, sighting: Present) -> bool:
    """Tell whether a machine was never seen ready, and may still become so."""
    machine = sighting.instance
    if machine is not None and machine.status is LifecycleStatus.FAILED:
        return False
    if record is None:
        return machine is not None and machine.status is LifecycleStatus.PENDING
    return not record.settled


def _expect(subject: Subject, after: dict[str, Value]) -> None:
    """What a machine that is not ready yet does not have will be known once it is."""
    for name, spec in subject.kind.schema.attributes.items():
        if spec.computed and not spec.configurable and after.get(name) in (None, ""):
            after[name] = Unknown(spec.type, f"{subject.address}.{name}")


def _keep_books(bench: Bench, subject: Subject, sighting: Present, record: Record) -> None:
    """Note a row whose machine stays as it is, and whose protection, edges or provider block do not."""
    here = sighting.account or record.alias
    account = bench.account(here) or record.account
    protected = subject.address in bench.protected
    reads = subject.desired.recorded_reads
    view = bench.facts.views.get(here)
    seen = record.seen or (sighting.instance is not None and view is not None and record.cloud_id not in view.hidden)
    before = (record.protected, record.reads, record.alias, record.account, record.seen)
    if before != (protected, reads, here, account, seen):
        fresh = replace(record, protected=protected, reads=reads, alias=here, account=account, seen=seen)
        bench.bookkeeping.append(fresh)


def _power(outcome: Outcome) -> Power | None:
    if not any(item.effect is Effect.POWER for item in outcome.changes):
        return None
    return Power.STOP if outcome.after.get("power_state") == "stopped" else Power.START


def _update_blocked(bench: Bench, subject: Subject, outcome: Outcome, loses: bool) -> str:
    if outcome.blocked:
        return outcome.blocked
    if loses and subject.address in bench.protected:
        return "the stop would lose local data, and prevent_destroy is set"
    return "; ".join(f"{item.name}: {item.reason}" for item in outcome.changes if item.effect is Effect.ERROR)


def _replace(
    bench: Bench,
    subject: Subject,
    sighting: Present,
    current: dict[str, Value],
    outcome: Outcome,
    reason: Reason,
    moved: bool,
) -> Change:
    # a new machine is made as it is declared, also where changes of the old one were ignored
    made = _outcome_of_create(bench, subject, _inherited(subject.kind, subject.desired, current))
    first = bool(_flag(bench, subject, "create_before_destroy", default=False))
    if first:
        bench.create_first.add(subject.address)
    paths = tuple(item.name for item in outcome.changes if item.effect is Effect.REPLACE)
    reasons = {item.name: item.reason for item in outcome.changes if item.reason}
    if moved:
        paths = ("provider_name", *paths)
        reasons["provider_name"] = "another account"
    protected = "it must be replaced, and prevent_destroy is set" if subject.address in bench.protected else ""
    price = subject.kind.hourly_price
    return Change(
        subject.address,
        Action.REPLACE_CREATE_FIRST if first else Action.REPLACE,
        current,
        made.after,
        changed=tuple(n for n in made.after if not unchanged(made.after[n], current.get(n), bench.facts.salt)),
        replace_paths=paths,
        reasons=reasons,
        reason=reason,
        notes=(*outcome.notes, *made.notes),
        blocked=made.blocked or protected or bench.obstacle(made, subject.alias, replaces=True),
        reads=subject.desired.reads,
        price_before=decimal_price(price(current)),
        price_after=decimal_price(price(made.after)),
        **{**bench.origin(sighting, sighting.account or subject.alias), "target_alias": subject.alias},
    )


def _inherited(kind: Kind, desired: Desired, current: Mapping[str, Value]) -> Desired:
    """A replacement keeps what the configuration leaves open, such as a name that was computed once."""
    keep = {
        name: current[name]
        for name, spec in kind.schema.attributes.items()
        if spec.configurable and spec.kept and desired.attributes.get(name) is None and current.get(name) is not None
    }
    return Desired({**desired.attributes, **keep}, desired.reads) if keep else desired


def hold(
    bench: Bench, kind: Kind, address: Address, record: Record | None, alias: str, reason: str, desired: Desired
) -> Change:
    """Leave an address alone because nothing certain is known of it."""
    if record is not None:
        current = bench.current(kind, record, None, alias)
    else:
        current = {**dict.fromkeys(kind.schema.stored_names, Unknown(because=str(address))), **desired.attributes}
    price = decimal_price(kind.hourly_price(current)) if record is not None else Decimal(0)
    return Change(
        address,
        Action.NOOP,
        current if record is not None else None,
        current,
        alias=alias,
        account=bench.account(alias),
        record_key=record.key if record is not None else "",
        record_version=record.version if record is not None else 0,
        cloud_id=record.cloud_id if record is not None else "",
        ref_id=record.ref_id if record is not None else "",
        blocked=reason,
        reads=desired.reads,
        price_before=price,
        price_after=price,
    )
