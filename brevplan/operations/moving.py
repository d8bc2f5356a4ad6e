"""`brevplan state mv`: what is recorded gets another address, first at its machine and then in the state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brevplan.contract.model import CloudId
from brevplan.diagnostics import Diagnostic, Diagnostics, DiagnosticsError, failure, warning
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address, ModuleAddress, Target
from brevplan.engine.belonging import write_address
from brevplan.engine.identity import address_tag
from brevplan.engine.moves import Moves, OneMove, Relocated
from brevplan.engine.ports import ChangeIntent, IntentState, MoveRecords, Record, Role, Write
from brevplan.operations.planning import Request, parse_targets
from brevplan.operations.project import KINDS
from brevplan.operations.reaching import accounts_of
from brevplan.operations.surgery import Say, Surgery, by_reason, not_there, operating, some
from brevplan.operations.world import Outside


@dataclass(frozen=True, slots=True)
class Moved:
    """`blocks` are the `moved` blocks that say the same in the configuration: one as a rule."""

    source: Target
    target: Target
    blocks: str
    warnings: list[Diagnostic] = field(default_factory=list)


async def move(
    directory: Path, source: str, target: str, request: Request, world: Outside, say: Say, *, dry_run: bool = False
) -> Moved:
    """Move an instance, a block or a module; raise `DiagnosticsError` when that cannot be, and nothing was changed."""
    one, other = parse_targets([source, target], "state mv")
    _check_alike(one, other)
    with operating(directory, "state mv", request, world, say) as work:
        found = _relocated(work, one, other)
        if dry_run:
            return Moved(one, other, "")
        summary = f"{one} moved to {other}"
        warnings = await _rename(work, found, summary)
        work.finish(_writes(work, found), summary)
        return Moved(one, other, _blocks(one, other, found), [*warnings, *_moved_on(work, found)])


def _check_alike(source: Target, target: Target) -> None:
    if isinstance(source, ModuleAddress) and not isinstance(target, ModuleAddress):
        raise _invalid_target(source, target, "the target must also be a module")
    if isinstance(source, Address) and isinstance(target, Address):
        if source.is_data or target.is_data:
            raise failure("Invalid state move request", f"Cannot move {source}: the state holds no data sources.")
        if source.kind != target.kind:
            raise failure(
                "Invalid state move request", f"Cannot move {source} to {target}: resource types don't match."
            )
    elif isinstance(source, Address):
        raise _invalid_target(source, target, "the target must also be a resource")


def _invalid_target(source: Target, target: Target, why: str) -> DiagnosticsError:
    return failure("Invalid target address", f"Cannot move {source} to {target}: {why}.")


def _relocated(work: Surgery, source: Target, target: Target) -> Relocated:
    """Say what becomes of every row; raise `DiagnosticsError` when nothing moves, or its place is taken."""
    moves = OneMove(source, target, KINDS)
    addresses = {*(row.address for row in work.records), *(intent.address for intent in work.intents)}
    moving = {address for address in addresses if moves.touches(address)}
    if source == target and any(source.covers(address) for address in addresses):
        raise _taken(target)
    if not moving:
        if any(source.covers(address) for address in addresses):
            raise _invalid_target(
                source, target, "the source is a whole block (not an instance of it), so the target must also be one"
            )
        raise DiagnosticsError([not_there(work.records, source)])
    _check_free(source, target, {moves.forward(address) for address in moving}, _standing(work, moving))
    diagnostics = Diagnostics()
    found = moves.relocate(work.records, work.intents, work.workspace, diagnostics)
    diagnostics.raise_if_errors()
    return found


def _standing(work: Surgery, moving: Iterable[Address]) -> set[Address]:
    """Give the addresses that something has, or may have, and keeps."""
    intents = {intent.address for intent in work.intents if intent.state is IntentState.OPEN}
    return ({row.address for row in work.records} | intents).difference(moving)


def _check_free(source: Target, target: Target, new: set[Address], standing: set[Address]) -> None:
    if isinstance(target, ModuleAddress):
        depth = len(target.module)
        paths = {address.module[:depth] for address in new}
        if any(address.module[:depth] in paths for address in standing):
            raise _taken(target)
        return
    is_whole = isinstance(source, Address) and source.key is None and any(address.key is not None for address in new)
    if new & standing or (is_whole and target.key is None and any(target.covers(address) for address in standing)):
        raise _taken(target)


def _taken(target: Target) -> DiagnosticsError:
    what = "module" if isinstance(target, ModuleAddress) else "resource"
    return failure(
        "Invalid target address",
        f"Cannot move to {target}: there is already a {what} at that address in the current state.",
        hint="brevplan state list shows what there is.",
    )


async def _rename(work: Surgery, found: Relocated, summary: str) -> list[Diagnostic]:
    """Rewrite the address beside the mark of every machine that moves; warn where that cannot be.

    This comes before the rows: a run that dies in between is repeated, and a recorded machine is known by its id.
    """
    before = {record.key: record.address for record in work.records}
    moved = [
        record
        for key, record in found.rewritten
        if record.address != before[key] and record.cloud_id and record.role is not Role.DESTROYING
    ]

    async def rename(account: Account, record: Record) -> None:
        await write_address(account, CloudId(record.cloud_id), work.workspace, record.address)

    async with accounts_of(moved, work.project, work.request, work.workspace, work.world) as reached:
        work.begin(summary)
        problems = await reached.each(moved, rename)
    return [
        _stale([(row, address_tag(work.workspace, before[row.key])) for row in rows], reason)
        for reason, rows in by_reason(moved, problems)
    ]


def _stale(rows: Sequence[tuple[Record, str]], reason: str) -> Diagnostic:
    names = some([f"{row.address} ({row.cloud_id} at {row.alias} bears the tag {tag})" for row, tag in rows])
    return warning(
        "Machine still bears its old address",
        f"{names}: {reason.rstrip('.')}.",
        hint="The move is done. Should the state be lost, only the moved block tells whose machine it is.",
    )


def _writes(work: Surgery, found: Relocated) -> list[Write]:
    changed = [new for old, new in zip(work.intents, found.intents, strict=True) if new != old]
    return [MoveRecords(tuple(found.rewritten)), *map(ChangeIntent, changed)]


def _blocks(source: Target, target: Target, found: Relocated) -> str:
    from brevplan.lang.writer import Code, write_block  # it brings the parser along

    pairs: list[tuple[Target, Target]] = [(source, target)]
    if isinstance(source, ModuleAddress) and target.module[: len(source.module)] == source.module:
        # the outer call is still declared, and no block can say that it is called otherwise
        pairs = [(old, new) for new, old in sorted(found.moved.items())]
    return "\n".join(write_block("moved", [], {"from": Code(str(old)), "to": Code(str(new))}) for old, new in pairs)


def _moved_on(work: Surgery, found: Relocated) -> Sequence[Diagnostic]:
    """Warn of `moved` blocks that the next plan would follow from the new address on."""
    moves = Moves(work.project.config, KINDS)
    ahead = ((address, moves.source_of(address)) for address in sorted(found.moved))
    return [
        warning(
            "A moved block leads on from here",
            f"{address} is its name now, and this block says that it is called otherwise.",
            move.span,
            hint="Take that block out, or the next apply moves it on.",
        )
        for address, move in ahead
        if move is not None
    ]
