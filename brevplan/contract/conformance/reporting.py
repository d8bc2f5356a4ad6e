"""What get and list say of a machine is what was asked for, wherever the client claims that they do."""

from __future__ import annotations

from typing import Final

from brevplan.contract.conformance.item import Item, NotApplicable, Skipped, expect, few
from brevplan.contract.conformance.scene import Scene
from brevplan.contract.model import HALTED, CreateInstanceAttrs, FirewallRule, FirewallRules, Instance

_UNSET: Final = (None, "")


async def _p9(scene: Scene) -> str:
    return _judge(scene, await scene.read(), "get")


async def _p10(scene: Scene) -> str:
    cloud_id = scene.machine.cloud_id
    found = [one for one in await scene.list() if one.cloud_id == cloud_id]
    if not found:
        raise Skipped("the list does not hold the machine")
    return _judge(scene, found[0], "the list")


def _judge(scene: Scene, machine: Instance, where: str) -> str:
    names = sorted(scene.traits.reports)
    if not names:
        raise NotApplicable("it claims to report nothing")
    judged = {name: difference(name, scene.asked, machine) for name in names}
    wrong = [f"{name} {reason}" for name, reason in judged.items() if reason]
    expect(not wrong, f"in {where}: {few(wrong, len(wrong))}")
    return f"{len(names)} attributes"


def difference(name: str, asked: CreateInstanceAttrs, machine: Instance) -> str:
    """Say how an attribute differs from what was asked for; empty when it does not, or was left to the provider."""
    if name == "power_state":
        return f"is {machine.status}, not running" if machine.status in HALTED else ""
    if name == "firewall_rules":
        rules = machine.firewall_rules
        same = rules is not None and same_rules(rules, asked.firewall_rules)
        return "" if same else f"is {rules}, not {asked.firewall_rules}"
    if not hasattr(asked, name) or not hasattr(machine, name):
        return "is no attribute that can be reported"
    wanted, given = getattr(asked, name), getattr(machine, name)
    if name == "public_key":
        wanted, given = wanted.split()[:2], given.split()[:2]
    return "" if wanted in _UNSET or given == wanted else f"is {given!r}, not {wanted!r}"


def same_rules(one: FirewallRules, other: FirewallRules) -> bool:
    """Compare what rules mean: their ids, order and descriptions are the provider's."""
    return _meaning(one.ingress) == _meaning(other.ingress) and (
        one.egress == other.egress
        if one.egress is None or other.egress is None
        else _meaning(one.egress) == _meaning(other.egress)
    )


def _meaning(rules: tuple[FirewallRule, ...]) -> set[tuple[int, int, frozenset[str], str]]:
    return {(rule.from_port, rule.to_port, frozenset(rule.ip_ranges), rule.protocol) for rule in rules}


async def _p11(scene: Scene) -> None:
    machine = scene.machine
    lacking = [name for name in sorted(scene.traits.promises) if not getattr(machine, name, "")]
    expect(not lacking, f"promised, and not there once it runs: {few(lacking)}")


ITEMS: Final = (
    Item("P-9", "get says of it what was asked for, where it is claimed", _p9, launches=True),
    Item("P-10", "the list says so too", _p10, launches=True),
    Item("P-11", "a running machine has the addresses that are promised", _p11, launches=True),
)
