"""`brevplan state rm` and `state unprotect`: what is recorded is let go, or no longer kept from its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from brevplan.contract.model import CloudId
from brevplan.diagnostics import Diagnostic, warning
from brevplan.engine.accounts import Account
from brevplan.engine.address import Address, Target
from brevplan.engine.belonging import forgotten, take_mark_off
from brevplan.engine.config import Config, Declaration
from brevplan.engine.ports import ChangeIntent, DropRecord, IntentState, PutRecord, Record, Role, SetRole, Write
from brevplan.lang import ast
from brevplan.operations.planning import Request, parse_targets
from brevplan.operations.reaching import accounts_of
from brevplan.operations.surgery import Say, Surgery, by_reason, named, operating, some
from brevplan.operations.world import Outside


@dataclass(frozen=True, slots=True)
class Removed:
    names: list[str]
    """What was let go, as `state list` calls it."""
    warnings: list[Diagnostic] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unprotected:
    addresses: list[Address]
    untouched: list[Address]
    """Those that were not protected."""
    warnings: list[Diagnostic] = field(default_factory=list)


async def remove(
    directory: Path, names: Sequence[str], request: Request, world: Outside, say: Say, *, dry_run: bool = False
) -> Removed:
    """Forget instances, blocks and modules, which go on running; raise `DiagnosticsError` for names of nothing."""
    targets = parse_targets(names, "state rm")
    with operating(directory, "state rm", request, world, say) as work:
        rows = named(work.records, targets)
        if dry_run:
            return Removed(list(map(shown, rows)))
        summary = _summary(rows, "removed")
        writes, warnings = await _let_go(work, rows, summary)
        work.finish(writes, summary)
        stays = _what_stays(work, targets, rows)
        return Removed(list(map(shown, rows)), [*warnings, *stays, *_declared(work, rows)])


def unprotect(directory: Path, names: Sequence[str], request: Request, world: Outside, say: Say) -> Unprotected:
    """Take away the recorded prevent_destroy; raise `DiagnosticsError` for names of nothing."""
    targets = parse_targets(names, "state unprotect")
    with operating(directory, "state unprotect", request, world, say) as work:
        rows = named(work.records, targets)
        armed = [row for row in rows if row.protected]
        attempts = [
            intent
            for intent in work.intents
            if intent.protected and any(target.covers(intent.address) for target in targets)
        ]
        writes: list[Write] = [PutRecord(replace(row, protected=False)) for row in armed]
        writes += [ChangeIntent(replace(intent, protected=False)) for intent in attempts]
        if writes:
            work.finish(writes, _summary(armed, "unprotected"))
        still = _still_protected(work.project.config, [row.address for row in rows])
        return Unprotected([row.address for row in armed], [row.address for row in rows if not row.protected], still)


def shown(record: Record) -> str:
    address = str(record.address)
    return address if record.role is Role.CURRENT else f"{address} ({record.role.value} {record.key})"


def _summary(rows: Sequence[Record], what: str) -> str:
    return f"{some(list(map(shown, rows)))} {what}"


async def _let_go(work: Surgery, rows: Sequence[Record], summary: str) -> tuple[list[Write], list[Diagnostic]]:
    """Take the marks off; a machine that keeps its mark is remembered as one that is not ours.

    That is written first: a run that dies in between leaves no machine managed that bears no mark.
    """
    machines = [row for row in rows if row.cloud_id]
    unclean: set[str] = set()

    async def clean(account: Account, row: Record) -> None:
        if not await take_mark_off(account, CloudId(row.cloud_id)):
            unclean.add(row.key)

    async with accounts_of(machines, work.project, work.request, work.workspace, work.world) as reached:
        work.begin(summary, [SetRole(row.key, Role.FORGOTTEN) for row in machines])
        problems = await reached.each(machines, clean)
    unclean.update(row.key for row, problem in zip(machines, problems, strict=True) if problem)
    writes: list[Write] = [
        forgotten(row.key, is_clean=row.key not in unclean) if row.cloud_id else DropRecord(row.key) for row in rows
    ]
    return writes, [_kept_mark(found, reason) for reason, found in by_reason(machines, problems)]


def _kept_mark(rows: Sequence[Record], reason: str) -> Diagnostic:
    names = some([f"{row.address} ({row.cloud_id} at {row.alias})" for row in rows])
    return warning(
        "Machine still bears its mark",
        f"{names}: {reason.rstrip('.')}.",
        hint="It is forgotten all the same, and this state remembers that. With the state lost, or from another clone, "
        "a plan would take it for one of the project's.",
    )


def _what_stays(work: Surgery, targets: Sequence[Target], rows: Sequence[Record]) -> list[Diagnostic]:
    """Tell what the same names stand for beside what was removed."""
    keys = {row.key for row in rows}
    named_too = (row for row in work.records if any(target.covers(row.address) for target in targets))
    left = [
        warning(
            "Something of that name stays in the state",
            f"{shown(row)} is a machine that is about to be ended: the next apply goes on with that.",
            hint="To let it go as well, run the same command again.",
        )
        for row in sorted(named_too, key=lambda row: (row.address, row.key))
        if row.key not in keys
    ]
    attempts = (
        intent
        for intent in work.intents
        if intent.state is IntentState.OPEN and any(target.covers(intent.address) for target in targets)
    )
    return left + [
        warning(
            "Something of that name stays in the state",
            f"{intent.address}: it is not known yet whether a launch made a machine ({intent.ref_id}).",
            hint="The next plan or apply looks for it, and records what it finds.",
        )
        for intent in sorted(attempts, key=lambda intent: (intent.address, intent.ref_id))
    ]


def _declared(work: Surgery, rows: Sequence[Record]) -> list[Diagnostic]:
    """Warn of blocks of which the next apply would make what was let go a second time."""
    blocks = {}
    for row in rows:
        block = work.project.config.declaration(row.address)
        if block is not None and row.role is Role.CURRENT and row.cloud_id and _may_declare(block, row.address):
            blocks[row.address.block] = block
    return [
        warning(
            "Still declared",
            f"{address} is still in the configuration: the next apply makes a machine where the state has none.",
            block.span,
            hint="Take what you let go out of the configuration as well, unless that is what you want.",
        )
        for address, block in sorted(blocks.items())
    ]


def _may_declare(block: Declaration, address: Address) -> bool:
    """Tell whether a block declares an instance, as far as its text says."""
    count = block.count.node if block.count is not None else None
    if isinstance(count, ast.Literal) and isinstance(count.value, int) and isinstance(address.key, int):
        return address.key < count.value
    return True


def _still_protected(config: Config, addresses: Sequence[Address]) -> list[Diagnostic]:
    """Warn of blocks that arm the protection again."""
    found = {}
    for address in addresses:
        block = config.declaration(address)
        flag = block.lifecycle.prevent_destroy if block is not None else None
        if flag is not None and not (isinstance(flag.node, ast.Literal) and flag.node.value is False):
            found[address.block] = flag.node.span
    return [
        warning(
            "prevent_destroy is still in the configuration",
            f"The next apply protects {address} again, unless it is false.",
            span,
            hint="Set it to false, or take it out.",
        )
        for address, span in sorted(found.items())
    ]
