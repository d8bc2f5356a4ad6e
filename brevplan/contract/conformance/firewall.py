"""The items of a firewall, on a machine of their own."""

from __future__ import annotations

from typing import Final

from brevplan.contract.client import Capability, ModifyFirewall
from brevplan.contract.conformance import host
from brevplan.contract.conformance.item import Item, NotApplicable, expect, expect_equal
from brevplan.contract.conformance.launching import rules
from brevplan.contract.conformance.lifecycle import BEFORE, CREATE, TERMINATE
from brevplan.contract.conformance.reporting import same_rules
from brevplan.contract.conformance.scene import Scene
from brevplan.contract.model import FirewallPattern, FirewallRule, FirewallRules

_NO_RULES: Final = FirewallRules()


async def _x24(scene: Scene) -> None:
    if Capability.MODIFY_FIREWALL not in scene.traits.capabilities:
        pattern = scene.traits.firewall_pattern
        expect(pattern is not FirewallPattern.NATIVE, "the pattern is native, and rules cannot be changed")
        raise NotApplicable(f"the pattern is {pattern}: rules are given at create")
    client, machine = scene.client, scene.machine
    assert isinstance(client, ModifyFirewall), "X-20 has looked at that"
    port, reach = scene.setup.port, scene.traits.firewall
    opened = rules(reach, FirewallRule(from_port=port, to_port=port, protocol="tcp"))
    closed = rules(reach)
    for _ in range(2):
        await scene.call(lambda: client.replace_firewall_rules(machine.cloud_id, opened))
        await _expect_rules(scene, opened)
    expect(all(rule.id for rule in _rules(scene).ingress), "a rule has no id")
    is_tried = scene.setup.hosts is not None and reach.ports
    if is_tried:
        await host.open_to_all(scene)
    await scene.call(lambda: client.replace_firewall_rules(machine.cloud_id, closed))
    await _expect_rules(scene, closed)
    if is_tried:
        await host.blocked(scene)


def _rules(scene: Scene) -> FirewallRules:
    return scene.machine.firewall_rules or _NO_RULES


async def _expect_rules(scene: Scene, wanted: FirewallRules) -> None:
    deadline = scene.clock.monotonic() + max(scene.setup.limits.shown, scene.traits.grace_window_s)
    while True:
        await scene.read()
        if same_rules(_rules(scene), wanted):
            expect_equal(len(_rules(scene).ingress), len(wanted.ingress), "the number of rules")
            return
        expect(scene.clock.monotonic() < deadline, f"the rules are {_rules(scene)}, not {wanted}")
        await scene.clock.sleep(scene.tick)


async def _c60(scene: Scene) -> None:
    host.hosts_of(scene)
    await host.ssh_port_open(scene)


ITEMS: Final = (
    *BEFORE,
    *CREATE,
    *host.REACHED,
    *host.FIREWALL,
    Item("C-60", "its SSH port can be reached", _c60, launches=True),
    Item("X-24", "rules can be put, put again and taken away", _x24, launches=True),
    *TERMINATE,
)
"""Of the published numbers, C-56 to C-59 are the choice, the create, the SSH and the checks that stand here."""
