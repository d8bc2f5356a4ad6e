"""Rules of the native firewall: what is refused, and how they are named."""

from __future__ import annotations

import pytest

from brevplan.contract.errors import DuplicateFirewallRule, Rejected
from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.simcloud.firewall import named

HTTPS = FirewallRule(from_port=443, to_port=443, ip_ranges=("10.0.0.0/8",))


def test_named_gives_the_same_rule_the_same_id() -> None:
    once = named(FirewallRules(ingress=(HTTPS,)))
    assert once.ingress[0].id
    assert named(once) == once


def test_named_tells_the_sides_apart() -> None:
    both = named(FirewallRules(ingress=(HTTPS,), egress=(HTTPS,)))
    assert both.egress is not None
    assert both.ingress[0].id != both.egress[0].id


def test_named_keeps_open_egress_apart_from_closed() -> None:
    assert named(FirewallRules()).egress is None
    assert named(FirewallRules(egress=())).egress == ()


def test_named_of_a_rule_given_twice_raises() -> None:
    with pytest.raises(DuplicateFirewallRule, match="port 443"):
        named(FirewallRules(ingress=(HTTPS, HTTPS)))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (FirewallRule(from_port=0, to_port=1), "ports 0-1"),
        (FirewallRule(from_port=9, to_port=8), "the lower one first"),
        (FirewallRule(from_port=1, to_port=65536), "65535"),
        (FirewallRule(from_port=1, to_port=1, protocol="gre"), "gre"),
        (FirewallRule(from_port=1, to_port=1, ip_ranges=("10.0.0.0/99",)), "10.0.0.0/99"),
    ],
)
def test_named_of_a_rule_without_meaning_raises(rule: FirewallRule, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        named(FirewallRules(ingress=(rule,)))
