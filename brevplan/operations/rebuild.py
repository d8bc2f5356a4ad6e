"""`brevplan rebuild`: a lost or damaged state is restored from configuration and clouds. It writes only the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from brevplan.contract.client import UpdateTags
from brevplan.contract.errors import CloudError
from brevplan.contract.model import DEAD, Instance
from brevplan.diagnostics import Diagnostic, DiagnosticsError, error, failure, warning
from brevplan.engine.address import Address
from brevplan.engine.belonging import write_address
from brevplan.engine.change import Action, Change
from brevplan.engine.discovery import project_of
from brevplan.engine.identity import address_tag
from brevplan.engine.observed import workspace_in
from brevplan.engine.outputs import store_output
from brevplan.engine.ports import DropRecord, PutOutputs, Record, Write
from brevplan.engine.rebuilt import Rebuilt, Restored, counted
from brevplan.lang.values import has_unknown
from brevplan.operations.adopting import recorded_rows
from brevplan.operations.importing import block_to_keep
from brevplan.operations.mapping import Mapper, Wish
from brevplan.operations.planning import Planned, Request, planned
from brevplan.operations.project import KINDS, Project
from brevplan.operations.recording import Writable, writable
from brevplan.operations.world import Outside

_LOST_WITHOUT_TAGS: Final = ("name", "tags", "user_data", "image_id")


async def rebuild(
    project: Project, request: Request, world: Outside, wishes: Sequence[Wish], say: Callable[[str], None]
) -> Rebuilt:
    """Record every machine of ours that leads to a declared address; raise `DiagnosticsError`."""
    with writable(project, request, world, "rebuild", say, mending=True) as state:
        rows = state.store.records() if state.store is not None else []
        mapper = Mapper(wishes, rows)
        async with planned(
            project, request, world, state.store, writing=state.store is not None, taking=mapper
        ) as found:
            _check_sight(found)
            _check_name(found)
            # binding what a dead run had begun has written rows of its own
            rows = state.store.records() if state.store is not None else []
            result = _result(found, {wish.address for wish in wishes})
            result.warnings += _put_aside(state)
            await _rewrite_tags(found, result)
            _write(state, found, result, mapper, rows)
            return result


def _check_sight(found: Planned) -> None:
    """Refuse to write anything when no account could be looked at; raise `DiagnosticsError`."""
    problems = _unverified(found)
    if problems and all(view.unverified for view in found.facts.views.values()):
        raise DiagnosticsError(problems)


def _unverified(found: Planned) -> list[Diagnostic]:
    views = found.facts.views
    told = {view.fingerprint: view.unverified for _, view in sorted(views.items(), reverse=True) if view.unverified}
    return [
        error("Account cannot be looked at", f"{reason}.", hint="Nothing was recorded of it: rebuild again later.")
        for reason in told.values()
    ]


def _check_name(found: Planned) -> None:
    """Refuse to guess which project's machines are ours; raise `DiagnosticsError`."""
    if found.facts.project:
        return
    seen = sorted({project_of(machine) for _, machine in _machines(found)} - {""})
    example = seen[0] if len(seen) == 1 else "a-name-of-your-own"
    there = f" Machines are there of: {', '.join(seen)}." if seen else ""
    raise failure(
        "No project",
        f"The name of the project was known to the state alone, and machines are found by it.{there}",
        hint=f'Add to the configuration: brevplan {{ project = "{example}" }}',
    )


def _machines(found: Planned) -> Iterable[tuple[str, Instance]]:
    for alias, view in sorted(found.facts.views.items()):
        yield from ((alias, machine) for machine in view.machines.values() if machine.status not in DEAD)


# what is to be recorded


def _result(found: Planned, mapped: set[Address]) -> Rebuilt:
    result = Rebuilt(warnings=list(found.diagnostics), problems=_unverified(found))
    facts, plan = found.facts, found.folded.plan
    adopted = {(change.account, change.cloud_id) for change in plan.changes if change.imports}
    for change in sorted(plan.changes, key=lambda change: change.address):
        address = change.address
        if change.deposed or address not in found.folded.contexts:
            continue
        if not KINDS[address.kind].needs_provider:
            if address not in facts.records and change.after is not None and not _is_open(change):
                result.kept_in_state.append(address)
        elif change.imports:
            result.restored.append(_restored(found, change, mapped))
        elif address not in facts.records and (marked := _unclaimed(found, address, adopted)):
            result.doubled[address] = marked
        elif change.action is Action.CREATE:
            result.missing.append(address)
    doubles = {(alias, machine.cloud_id) for marked in result.doubled.values() for alias, machine in marked}
    result.orphans = [note for note in plan.orphans if (note.alias, note.cloud_id) not in doubles]
    result.workspaces = _other_workspaces(found)
    result.unreported = _unreported(found, result)
    return result


def _is_open(change: Change) -> bool:
    return bool(change.blocked) or any(map(has_unknown, (change.after or {}).values()))


def _unclaimed(found: Planned, address: Address, adopted: set[tuple[str, str]]) -> list[tuple[str, Instance]]:
    """Give the machines that bear the mark of an address, where they are more than one."""
    marked = [
        (alias, machine)
        for alias, machine in found.facts.marked(address)
        if (found.facts.views[alias].fingerprint, machine.cloud_id) not in adopted
    ]
    return marked if len(marked) > 1 else []


def _restored(found: Planned, change: Change, mapped: set[Address]) -> Restored:
    address = change.address
    machine = found.facts.views[change.alias].machines[change.cloud_id]
    tag = machine.address
    if address in mapped:
        how = "as told by -map"
    elif change.asked:
        how = "named by an import block"
    elif tag and tag != address_tag(found.facts.workspace, address):
        how = f"found by its mark, as {tag} before"
    else:
        how = "found by its mark"
    client = found.accounts[change.alias].client
    is_retagged = address in mapped and project_of(machine) == found.facts.project and isinstance(client, UpdateTags)
    block = block_to_keep(found, address) if address in mapped and not is_retagged else ""
    return Restored(address, change.alias, machine, how, block)


def _other_workspaces(found: Planned) -> list[str]:
    facts = found.facts
    tags = {machine.address for _, machine in _machines(found) if project_of(machine) == facts.project}
    return sorted({workspace_in(tag) for tag in tags if tag} - {facts.workspace})


def _unreported(found: Planned, result: Rebuilt) -> dict[str, list[str]]:
    """Tell what was declared of the machines, and could not be compared with the cloud."""
    changes = {change.address: change.after or {} for change in found.folded.plan.changes}
    lost: dict[str, set[str]] = {}
    for item in result.restored:
        reports = found.accounts[item.alias].traits.reports
        names = [n for n in _LOST_WITHOUT_TAGS if n not in reports and changes[item.address].get(n) not in (None, "")]
        lost.setdefault(item.alias, set()).update(names)
    return {alias: sorted(names) for alias, names in sorted(lost.items()) if names}


# writing


def _put_aside(state: Writable) -> list[Diagnostic]:
    problem, target = state.damage, state.put_aside()
    if problem is None or target is None:
        return []
    return [warning(problem.summary, f"{problem.detail} It was moved to {_shown(target)}, and a new one was made.")]


def _shown(path: Path) -> str:
    return path.name


async def _rewrite_tags(found: Planned, result: Rebuilt) -> None:
    """Write the address beside the marks of machines that were mapped, so that a lost state finds them there."""
    for item in result.restored:
        tag = address_tag(found.facts.workspace, item.address)
        is_ours = project_of(item.machine) == found.facts.project
        if item.how != "as told by -map" or not is_ours or item.machine.address == tag:
            continue
        try:
            await write_address(found.accounts[item.alias], item.machine.cloud_id, found.facts.workspace, item.address)
        except CloudError as problem:
            text = f"{item.machine.cloud_id} still bears the name {item.machine.address or 'of before'}: {problem}."
            result.warnings.append(warning("Tag could not be written", text))


def _write(state: Writable, found: Planned, result: Rebuilt, mapper: Mapper, rows: Sequence[Record]) -> None:
    is_new = state.store is None
    salt = state.ready().meta().salt
    outputs = _outputs(found, salt)
    addresses = [*(item.address for item in result.restored), *result.kept_in_state]
    if not (is_new or addresses or outputs):
        return
    writes: list[Write] = [DropRecord(record.key) for record in mapper.replaced]
    writes += recorded_rows(found, addresses, rows, salt)
    if outputs:
        writes.append(PutOutputs(found.facts.workspace, {**found.facts.prior_outputs, **outputs}))
    state.record(found.facts.workspace, counted(result), writes)


def _outputs(found: Planned, salt: str) -> dict[str, Any]:
    """Give the outputs that the state lacks, unless something differs: the values would be those of later."""
    plan = found.folded.plan
    if any(change.action not in (Action.NOOP, Action.CREATE) for change in plan.changes):
        return {}
    return {
        name: store_output(output.after, salt, sensitive=output.sensitive)
        for name, output in plan.outputs.items()
        if output.action is Action.CREATE and not has_unknown(output.after)
    }
