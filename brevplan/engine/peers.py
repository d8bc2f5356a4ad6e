"""Rules among the machines that list a firewall: which of them change when others come and go. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from brevplan.engine.address import Address
from brevplan.engine.bench import Bench
from brevplan.engine.change import Action, Change, Mode
from brevplan.lang.values import Sequence_, Unknown, Value, reveal

_ADDRESSES = ("public_ip", "private_ip")


def follow_members(bench: Bench) -> None:
    """Let the plan say which machines get other rules because members of their firewalls come, go or move."""
    if not bench.following or bench.options.mode is not Mode.NORMAL or bench.options.offline:
        return
    touched: dict[str, set[Address]] = {}
    for change in bench.changes.values():
        for firewall in _left(change) | _joined(change):
            touched.setdefault(firewall, set()).add(change.address)
    for address, firewalls in bench.following.items():
        causes: set[Address] = set().union(*(touched.get(firewall, set()) for firewall in firewalls))
        change = bench.changes[address]
        if causes - {address} and change.after is not None and not change.blocked:
            bench.changes[address] = _following(change)


def _following(change: Change) -> Change:
    after = {**(change.after or {}), "firewall_rules": Unknown(because="the peers of its firewalls")}
    if change.creates:
        return replace(change, after=after, follows=("firewall_rules",))
    names = tuple(dict.fromkeys((*change.changed, "firewall_rules")))
    return replace(change, action=Action.UPDATE, after=after, changed=names, follows=("firewall_rules",))


def _joined(change: Change) -> set[str]:
    """Give the firewalls that get a member by a change, or one with another address."""
    before, after = _firewalls(change.before), _firewalls(change.after)
    moves = change.creates or any(isinstance((change.after or {}).get(name), Unknown) for name in _ADDRESSES)
    return after if moves else after - before


def _left(change: Change) -> set[str]:
    """Give the firewalls that lose a member by a change."""
    before = _firewalls(change.before)
    if change.destroys or change.action is Action.FORGET:
        return before
    return before - _firewalls(change.after) if change.after is not None else set()


def _firewalls(attributes: Mapping[str, Value] | None) -> set[str]:
    listed = reveal((attributes or {}).get("firewalls"))
    return {item for item in listed.items if isinstance(item, str)} if isinstance(listed, Sequence_) else set()
