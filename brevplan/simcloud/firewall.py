"""The simulated cloud's native firewall: checks rules and names them. Pure.

A rule's id follows from its content, so that the same rule keeps its id and putting the same rules again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2s

import msgspec
from msgspec.structs import replace

from brevplan.contract.errors import DuplicateFirewallRule, Rejected
from brevplan.contract.model import FirewallRule, FirewallRules

_PROTOCOLS = ("", "tcp", "udp")


def named(rules: FirewallRules) -> FirewallRules:
    """Give the rules with their ids; raise for what no firewall could mean and for the same rule twice."""
    return FirewallRules(
        ingress=_side("in", rules.ingress),
        egress=None if rules.egress is None else _side("out", rules.egress),
    )


def _side(side: str, rules: Iterable[FirewallRule]) -> tuple[FirewallRule, ...]:
    found: dict[str, FirewallRule] = {}
    for rule in rules:
        _check(rule)
        identity = _identity(side, rule)
        if identity in found:
            raise DuplicateFirewallRule(f"the rule for {_ports(rule)} is given twice")
        found[identity] = replace(rule, id=identity)
    return tuple(found.values())


def _identity(side: str, rule: FirewallRule) -> str:
    meaning = msgspec.json.encode((side, rule.from_port, rule.to_port, sorted(rule.ip_ranges), rule.protocol))
    return f"fwr-{blake2s(meaning, digest_size=8).hexdigest()}"


def _check(rule: FirewallRule) -> None:
    if not 1 <= rule.from_port <= rule.to_port <= 65535:
        raise Rejected(f"{_ports(rule)} is not a range of ports: from 1 to 65535, the lower one first")
    if rule.protocol not in _PROTOCOLS:
        raise Rejected(f'"{rule.protocol}" is not a protocol: tcp, udp, or none for both')
    for text in rule.ip_ranges:
        _check_range(text)


def _check_range(text: str) -> None:
    from ipaddress import ip_network  # Here, because it is slow to import and many runs name no range.

    try:
        ip_network(text, strict=False)
    except ValueError:
        raise Rejected(f'"{text}" is not a range of addresses, such as 10.0.0.0/8') from None


def _ports(rule: FirewallRule) -> str:
    return f"port {rule.from_port}" if rule.from_port == rule.to_port else f"ports {rule.from_port}-{rule.to_port}"
