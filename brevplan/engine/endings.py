"""What is proposed for what is no longer wanted: destroys of the undeclared, of leftovers, and of reaped orphans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from brevplan.contract.model import Instance
from brevplan.engine.address import Address, ModulePath
from brevplan.engine.bench import Bench
from brevplan.engine.change import Action, Change, Mode, Reason, decimal_price
from brevplan.engine.discovery import tagged_address
from brevplan.engine.expand import mode_of
from brevplan.engine.kind import Kind
from brevplan.engine.moves import Removals
from brevplan.engine.observed import Absent, Ambiguous, Present, Sighting, Unverified, found, sight
from brevplan.engine.ports import Record, Role
from brevplan.engine.scope import ModuleScope


def propose_end(
    bench: Bench,
    kind: Kind,
    address: Address,
    sighting: Sighting,
    alias: str,
    reason: Reason,
    protect: bool | None = None,
) -> Change:
    """Plan the end of what is at an address. `protect` None leaves it to what is recorded."""
    match sighting:
        case Absent(record=record):
            key = record.key if record is not None else ""
            return Change(address, Action.NOOP, None, None, record_key=key, gone=True)
        case Unverified(record=record):
            return _left(bench, kind, address, record, alias, f"unverified: {sighting.reason}")
        case Ambiguous():
            return _left(bench, kind, address, None, alias, "several machines bear the mark of this address")
    record, machine = sighting.record, sighting.instance
    # what is ended is not taken in first, whoever made it
    fields = {**bench.origin(sighting, alias), "imports": ""}
    current = bench.current(kind, record, machine, fields["alias"])
    if protect is None:
        protect = record is not None and record.protected
    return Change(
        address,
        Action.DELETE,
        current,
        None,
        reason=reason,
        blocked="prevent_destroy is set" if protect else "",
        reads=recorded_reads(record),
        price_before=decimal_price(kind.hourly_price(current)),
        **fields,
    )


def _left(bench: Bench, kind: Kind, address: Address, record: Record | None, alias: str, reason: str) -> Change:
    current = bench.current(kind, record, None, alias) if record is not None else None
    price = decimal_price(kind.hourly_price(current)) if current is not None else Decimal(0)
    return Change(
        address,
        Action.NOOP,
        current,
        current,
        alias=alias,
        account=bench.account(alias),
        record_key=record.key if record is not None else "",
        blocked=reason,
        price_before=price,
        price_after=price,
    )


def propose_undeclared(bench: Bench) -> Iterator[Record]:
    """Plan the end of what is recorded and no longer declared; give the rows that only need forgetting."""
    failed = bench.scope.board.failed_blocks()
    removals = Removals(bench.config)
    left = [item for item in bench.facts.records.items() if item[0] not in bench.changes]
    for address, record in sorted(left, key=lambda item: item[0]):
        kind = bench.inputs.kinds.get(address.kind)
        if kind is None or address.block in failed or not _is_certain(bench.scope, address.module):
            continue
        if removals.forgets(address):
            bench.changes[address] = _let_go(bench, kind, record)
            continue
        sighting = sight(bench.facts, address, record.alias) if kind.needs_provider else Present(record, None)
        reason = Reason.NONE if bench.options.mode is Mode.DESTROY else _reason(bench, address)
        change = propose_end(bench, kind, address, sighting, record.alias, reason)
        if change.action is Action.NOOP and not change.blocked:
            yield record
        else:
            moved_from = bench.facts.moved.get(address) if bench.options.mode is Mode.NORMAL else None
            bench.changes[address] = replace(change, moved_from=moved_from)


def _is_certain(scope: ModuleScope, path: ModulePath) -> bool:
    """Tell whether it is known how often the modules on a path are called: one with a mistake declares anything."""
    for depth, (name, _) in enumerate(path):
        outer = scope.board.modules.get(path[:depth])
        if outer is None:
            return True  # an outer module is not called any more
        if name in outer.config.calls and (path[:depth], name) not in scope.board.calls:
            return False
    return True


def _let_go(bench: Bench, kind: Kind, record: Record) -> Change:
    """Plan to forget what a `removed` block gives up; whether it still is there does not matter."""
    current = bench.current(kind, record, None, record.alias)
    view = bench.facts.view_of(record)
    alias = view.alias if view is not None else record.alias
    return Change(
        record.address,
        Action.FORGET,
        current,
        None,
        price_before=decimal_price(kind.hourly_price(current)),
        **bench.origin(Present(record, None), alias),
    )


def _reason(bench: Bench, address: Address) -> Reason:
    if address.module not in bench.scope.board.modules:
        return Reason.NO_MODULE
    declaration = bench.config.declaration(address)
    if declaration is None:
        return Reason.NO_RESOURCE_CONFIG
    mode = mode_of(declaration)
    given = {type(None): "single", int: "count", str: "for_each"}[type(address.key)]
    if mode != given:
        return Reason.WRONG_REPETITION
    return Reason.COUNT_INDEX if mode == "count" else Reason.EACH_KEY


def propose_leftovers(bench: Bench) -> Iterator[Change | Record]:
    """Plan the end of machines that are no longer current; a row that is done with is given back."""
    for record in bench.facts.deposed:
        kind = bench.inputs.kinds.get(record.kind)
        if kind is not None:
            yield _leftover(bench, kind, record)
    for intent, alias, machine in bench.facts.surfaced():
        current = bench.changes.get(intent.address)
        if current is None or current.cloud_id != machine.cloud_id:
            yield _stray(bench, intent.address, alias, machine)
    for orphan in bench.reaped():
        yield _stray(bench, _tagged_address(orphan.instance), orphan.alias, orphan.instance)


def _leftover(bench: Bench, kind: Kind, record: Record) -> Change | Record:
    view = bench.facts.view_of(record)
    machine = found(view, record) if view is not None else None
    if view is not None and (record.cloud_id in view.gone or (machine is None and record.cloud_id in view.machines)):
        return record
    alias = view.alias if view is not None else record.alias
    blocked = ""
    if view is None:
        blocked = f'its provider "{record.alias}" is not configured'
    elif machine is None and bench.facts.refreshed:
        blocked = f"unverified: {view.unverified or 'it could not be looked up'}"
    current = bench.current(kind, record, machine, alias)
    return Change(
        record.address,
        Action.DELETE,
        current,
        None,
        deposed=record.ref_id or record.cloud_id,
        unfinished=record.role is Role.DESTROYING,
        notes=("an earlier destroy of it is not finished",) if record.role is Role.DESTROYING else (),
        blocked=blocked,
        reads=recorded_reads(record),
        price_before=decimal_price(kind.hourly_price(current)),
        **bench.origin(Present(record, None), alias),
    )


def _stray(bench: Bench, address: Address, alias: str, machine: Instance) -> Change:
    kind = bench.inputs.kinds[address.kind]
    current = kind.observe(machine, bench.facts.views[alias].traits)
    return Change(
        address,
        Action.DELETE,
        current,
        None,
        alias=alias,
        account=bench.account(alias),
        deposed=machine.ref_id,
        cloud_id=machine.cloud_id,
        ref_id=machine.ref_id,
        price_before=decimal_price(kind.hourly_price(current)),
    )


def recorded_reads(record: Record | None) -> frozenset[Address]:
    return frozenset(map(Address.parse, record.reads)) if record is not None else frozenset()


def _tagged_address(machine: Instance) -> Address:
    """Read the address beside an orphan's mark; one that has none is called by its name."""
    return tagged_address(machine) or Address("instance", machine.name or "unknown")
