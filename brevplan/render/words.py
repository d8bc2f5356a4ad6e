"""The words of a plan: what is said of one change, in Terraform's vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from brevplan.engine.address import path_text
from brevplan.engine.change import POWER_ATTRIBUTES, Action, Change, Power, Reason
from brevplan.engine.kind import Schema
from brevplan.lang.printing import print_value, quote
from brevplan.lang.values import Unknown, Value
from brevplan.render.body import alike
from brevplan.render.leaves import mark_sensitive
from brevplan.render.money import hourly, price_step
from brevplan.render.paint import clean

_NAMED: Final = 3
"""How many addresses of one and the same note are named."""


def some(addresses: list[str]) -> str:
    """Name the first of many addresses, and count the others."""
    if len(addresses) <= _NAMED + 1:
        return ", ".join(addresses)
    return f"{', '.join(addresses[:_NAMED])} and {len(addresses) - _NAMED:,} more"


def address_of(change: Change) -> str:
    """Name what a change is about: a machine beside the current one by its own name, what only moves by its old one."""
    if change.action is Action.NOOP and not change.imports and change.moved_from is not None:
        return str(change.moved_from)
    return f"{change.address} (deposed {change.deposed})" if change.deposed else str(change.address)


def heading(change: Change) -> str:
    """Say in Terraform's words what happens."""
    match change.action:
        case Action.CREATE:
            return "will be created"
        case Action.DELETE:
            return "will be destroyed"
        case Action.FORGET:
            return "will no longer be managed by brevplan, but will not be destroyed"
        case Action.NOOP if not change.imports:
            return f"has moved to {change.address}"
        case Action.NOOP:
            return "will be imported" if change.asked else "will be adopted: found by its mark"
    if change.is_replace:
        if change.reason is Reason.REQUESTED:
            return "will be replaced, as requested"
        if change.reason is Reason.TRIGGERED:
            return "will be replaced, because of replace_triggered_by"
        return "must be replaced"
    if change.is_only_power:
        return "will be started" if change.power is Power.START else "will be stopped"
    if change.finish:
        return "will finish creating"
    if change.power is not None:
        return f"will be updated in-place and {'started' if change.power is Power.START else 'stopped'}"
    return "will be updated in-place"


def circumstances(change: Change) -> Iterator[str]:
    """Give the reasons and warnings that stand in parentheses under the heading."""
    if change.imports:
        # a change says in its heading what it is; that the machine is adopted stands here
        is_told = change.action is Action.NOOP or change.asked
        yield f'{"imported from" if is_told else "adopted: found by its mark as"} "{clean(change.imports)}"'
    if change.moved_from is not None and (change.imports or change.action is not Action.NOOP):
        yield f"moved from {change.moved_from}"
    if change.gone:
        was = change.cloud_id or change.ref_id or change.record_key
        yield f"it is gone; it was {clean(was)}" if was else "it is gone"
    if change.finish:
        yield "an earlier run made it and did not see it ready"
    if change.power_loses_data:
        yield "WARNING: the stop loses the data on its local disks"
    if change.action is Action.DELETE and not change.deposed:
        yield from _deletion(change)
    if change.deposed:
        yield "left over from an earlier run: it is no longer the machine of its address"


def _deletion(change: Change) -> Iterator[str]:
    key = change.address.key
    match change.reason:
        case Reason.NO_MODULE:
            yield f"because {path_text(change.address.module)} is not in configuration"
        case Reason.NO_RESOURCE_CONFIG:
            yield f"because {change.address.block} is not in configuration"
        case Reason.COUNT_INDEX:
            yield f"because index [{key}] is out of range for count"
        case Reason.EACH_KEY:
            yield f"because key [{quote(str(key))}] is not in for_each map"
        case Reason.WRONG_REPETITION:
            uses = "does not use count" if isinstance(key, int) else "does not use for_each"
            yield f"because resource {'uses count or for_each' if key is None else uses}"


def differing(change: Change) -> frozenset[str]:
    """Name the attributes to show of an update or a replacement.

    Beside those that differ by decision there are those that follow: an address that is given anew at a start.
    """
    before, after = change.before or {}, change.after or {}
    follow = {
        name
        for name, value in after.items()
        if before.get(name) is not None and (isinstance(value, Unknown) or name in POWER_ATTRIBUTES)
    }
    moved = {name for name in follow if not alike(before.get(name), after.get(name))}
    return frozenset({*change.changed, *moved})


def price_of(change: Change) -> str:
    """Say what a change does to the price; an empty text when nothing."""
    before, after = change.price_before, change.price_after
    if change.creates and not change.destroys:
        return hourly(after) if after != 0 else ""
    if change.action is Action.FORGET:
        return f"goes on costing {hourly(before)}" if before else ""
    if change.action is Action.DELETE:
        return f"frees {hourly(before)}" if before else ""
    return price_step(before, after) if before != after or (change.imports and after) else ""


def drift_note(change: Change, schema: Schema | None) -> str:
    """Say in one line what others did to a resource."""
    if change.after is None:
        return "deleted outside of brevplan"
    specs = schema.attributes if schema is not None else {}
    before, after = mark_sensitive(change.before or {}, specs), mark_sensitive(change.after, specs)
    steps = [f"{name} {_short(before.get(name))} -> {_short(after.get(name))}" for name in change.changed]
    return f"changed outside of brevplan: {', '.join(steps)}"


def _short(value: Value) -> str:
    return clean(print_value(value, short=True))
