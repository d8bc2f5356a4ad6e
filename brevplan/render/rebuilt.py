"""What `rebuild` shows: what was recorded, what was left and why, and what is not there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from decimal import Decimal

from brevplan.contract.model import Instance
from brevplan.engine.address import Address
from brevplan.engine.rebuilt import Rebuilt, Restored, counted
from brevplan.render.money import hourly
from brevplan.render.paint import clean


def render_rebuilt(result: Rebuilt) -> Iterator[str]:
    """Give the whole report, the summary last."""
    yield from _recorded(result)
    yield from _left(result)
    if result.missing:
        yield "Declared and not there, to be created by the next apply:"
        yield from (f"  {address}" for address in result.missing)
        yield ""
    for workspace in map(clean, result.workspaces):
        yield f"Machines of the workspace {workspace} stand here too: BREVPLAN_WORKSPACE={workspace} brevplan rebuild"
        yield ""
    for alias, names in result.unreported.items():
        yield f"Not told by {alias}, and taken for what is declared: {', '.join(names)}"
        yield ""
    left = f", {result.left} left (see above)" if result.left else ""
    yield f"Rebuilt: {counted(result)}{left}"


def _recorded(result: Rebuilt) -> Iterator[str]:
    if not (result.restored or result.kept_in_state):
        yield from (
            ()
            if result.left or result.problems
            else ("There was nothing to record: no machine without a row leads to a declared address.", "")
        )
        return
    yield "Recorded:"
    yield from (f"  {address}: as it is declared" for address in result.kept_in_state)
    yield from map(_restored, result.restored)
    yield ""
    blocks = [item.block for item in result.restored if item.block]
    if blocks:
        yield "No mark leads there. Keep this in the configuration, so that it is found again if the state is lost:"
        for block in blocks:
            yield ""
            yield from block.splitlines()
        yield ""


def _restored(item: Restored) -> str:
    return f"  {item.address}: {clean(item.machine.cloud_id)} at {item.alias}, {clean(item.how)}"


def _left(result: Rebuilt) -> Iterator[str]:
    if not result.left:
        return
    yield "Left as they are:"
    for address, machines in result.doubled.items():
        yield from _doubled(address, machines)
    for note in result.orphans:
        marked = f", marked as {clean(note.address)}" if note.address else ""
        yield _machine("  * ", note.cloud_id, note.ref_id, note.alias, note.hourly) + marked
        ref = shlex.quote(clean(note.cloud_id))
        yield f"    -map={ref}=ADDRESS records it where it belongs; brevplan apply -reap={ref} destroys it"
    yield ""


def _doubled(address: Address, machines: list[tuple[str, Instance]]) -> Iterator[str]:
    yield f"  * {address}: {len(machines)} machines bear its mark, and none was taken"
    for alias, machine in machines:
        yield _machine("      ", machine.cloud_id, machine.ref_id, alias, machine.hourly_price)
    # made to be pasted: what a cloud reports must not be a command of its own
    first, second = (clean(machine.cloud_id) for _, machine in machines[:2])
    option = shlex.quote(f"-map={first}={address}")
    yield f"    {option} records that one; brevplan apply -reap={shlex.quote(second)} destroys the other"


def _machine(prefix: str, cloud_id: str, ref_id: str, alias: str, price: Decimal | None) -> str:
    facts = ", ".join(clean(fact) for fact in (ref_id, alias) if fact)
    return f"{prefix}{clean(cloud_id)} ({facts}): {hourly(price)}"
