"""Firewall rules as a security group has them. Pure: what is wanted and what is there, and what tells them apart.

A security group knows single permissions: one direction, one protocol, one range. Which of them belong to one rule of
the contract is written into their descriptions, `brevplan` and a digest of each rule, so that rules come back as they
were asked for. `ssh` and `dns` stand for what is let through without a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import ip_network
from typing import Any, Final

from msgspec import Struct

from brevplan.contract.model import FirewallRule, FirewallRules

ANYWHERE: Final = ("0.0.0.0/0", "::/0")
SSH_PORT: Final = 22
DNS_PORT: Final = 53

_PROTOCOLS: Final = ("tcp", "udp")
_PREFIX: Final = "brevplan"
_EVERYTHING: Final = "-1"
_LONGEST: Final = 255
"""Characters that a description may have."""


class GroupRule(Struct, rename="pascal"):
    """A permission as DescribeSecurityGroupRules has it. Ports are -1 where every port is meant."""

    security_group_rule_id: str = ""
    group_id: str = ""
    is_egress: bool = False
    ip_protocol: str = ""
    from_port: int | None = -1
    to_port: int | None = -1
    cidr_ipv4: str | None = None
    cidr_ipv6: str | None = None
    prefix_list_id: str | None = None
    referenced_group_info: dict[str, Any] | None = None
    description: str | None = ""


class GroupRules(Struct, rename="pascal"):
    security_group_rules: list[GroupRule]


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One permission. Protocol `-1` is everything, whatever the ports."""

    is_egress: bool
    protocol: str
    low: int
    high: int
    source: str

    def api(self, description: str = "") -> dict[str, Any]:
        """Give it in the form of a request."""
        kind, name = ("Ipv6Ranges", "CidrIpv6") if ":" in self.source else ("IpRanges", "CidrIp")
        spec: dict[str, Any] = {name: self.source}
        if description:
            spec["Description"] = description
        ports = {} if self.protocol == _EVERYTHING else {"FromPort": self.low, "ToPort": self.high}
        return {"IpProtocol": self.protocol, **ports, kind: [spec]}


ALL_OUT: Final = Permission(True, _EVERYTHING, -1, -1, ANYWHERE[0])
ALL_OUT_6: Final = Permission(True, _EVERYTHING, -1, -1, ANYWHERE[1])


@dataclass(frozen=True, slots=True)
class Difference:
    """What makes a group's permissions those that are wanted: in this order, so that nothing closes in between."""

    add: tuple[tuple[Permission, str], ...] = ()
    describe: tuple[tuple[Permission, str], ...] = ()
    revoke: tuple[GroupRule, ...] = ()


def wanted(rules: FirewallRules) -> dict[Permission, str]:
    """Give the permissions of rules, each with its description.

    SSH is open to anywhere unless a rule covers it. Whoever restricts what goes out keeps DNS.
    """
    found: dict[Permission, set[str]] = {}
    for rule in rules.ingress:
        for permission in _permissions(rule, is_egress=False):
            found.setdefault(permission, set()).add(_digest(rule))
    if not any(_covers_ssh(rule) for rule in rules.ingress):
        for source in ANYWHERE:
            found.setdefault(Permission(False, "tcp", SSH_PORT, SSH_PORT, source), set()).add("ssh")
    if rules.egress is None:
        found[ALL_OUT] = found[ALL_OUT_6] = set()
    for rule in rules.egress or ():
        for permission in _permissions(rule, is_egress=True):
            found.setdefault(permission, set()).add(_digest(rule))
    if rules.egress is not None:
        for protocol in _PROTOCOLS:
            for source in ANYWHERE:
                found.setdefault(Permission(True, protocol, DNS_PORT, DNS_PORT, source), set()).add("dns")
    return {permission: _description(permission, words) for permission, words in found.items()}


def difference(rules: FirewallRules, present: Iterable[GroupRule]) -> Difference:
    """Compare what is wanted with what a group has."""
    goal = wanted(rules)
    there: dict[Permission, GroupRule] = {}
    surplus: list[GroupRule] = []
    for rule in present:
        permission = _permission(rule)
        if permission is None or permission not in goal or permission in there:
            surplus.append(rule)
        else:
            there[permission] = rule
    lacking = [(permission, goal[permission]) for permission in sorted(goal.keys() - there.keys())]
    renamed = [
        (permission, goal[permission])
        for permission, rule in sorted(there.items())
        if goal[permission] and (rule.description or "") != goal[permission]
    ]
    return Difference(tuple(lacking), tuple(renamed), tuple(surplus))


def fresh(group_id: str) -> GroupRule:
    """Give the one permission that a new group has."""
    return GroupRule(group_id=group_id, is_egress=True, ip_protocol=_EVERYTHING, cidr_ipv4=ANYWHERE[0])


def observed(present: Sequence[GroupRule]) -> FirewallRules:
    """Give the rules that a group's permissions make: those that were asked for as they were, all else one by one."""
    ingress = [rule for rule in present if not rule.is_egress]
    egress = [rule for rule in present if rule.is_egress]
    is_open = any(_permission(rule) == ALL_OUT for rule in egress)
    return FirewallRules(ingress=_rules(ingress), egress=None if is_open else _rules(egress))


def _rules(present: Sequence[GroupRule]) -> tuple[FirewallRule, ...]:
    by_word: dict[str, list[GroupRule]] = {}
    for rule in present:
        for word in _words(rule):
            by_word.setdefault(word, []).append(rule)
    found: list[FirewallRule] = []
    explained: set[str] = set()
    for word, members in sorted(by_word.items()):
        if word in ("ssh", "dns"):
            if all(_is_implied(word, rule) for rule in members):
                explained.update(rule.security_group_rule_id for rule in members)
            continue
        made = _joined(members)
        if _digest(made) == word:
            found.append(made)
            explained.update(rule.security_group_rule_id for rule in members)
    # somebody else's permissions, and what is left of a rule of which a part was taken away
    found += [_joined([rule]) for rule in present if rule.security_group_rule_id not in explained]
    return tuple(sorted(found, key=lambda rule: (rule.from_port, rule.to_port, rule.protocol, rule.ip_ranges)))


def _is_implied(word: str, rule: GroupRule) -> bool:
    port = SSH_PORT if word == "ssh" else DNS_PORT
    return rule.from_port == rule.to_port == port and _source(rule) in ANYWHERE


def _joined(members: Sequence[GroupRule]) -> FirewallRule:
    """Make one rule of permissions that differ in protocol and range alone."""
    first = members[0]
    every = first.ip_protocol == _EVERYTHING
    protocols = {rule.ip_protocol for rule in members}
    ranges = tuple(sorted({_source(rule) for rule in members}))
    return FirewallRule(
        from_port=1 if every else first.from_port or 0,
        to_port=65535 if every else first.to_port or 0,
        ip_ranges=() if set(ranges) >= set(ANYWHERE) else ranges,
        protocol="" if every or protocols >= set(_PROTOCOLS) else first.ip_protocol,
        id=min(rule.security_group_rule_id for rule in members),
    )


def _permissions(rule: FirewallRule, *, is_egress: bool) -> list[Permission]:
    return [
        Permission(is_egress, protocol, rule.from_port, rule.to_port, source)
        for protocol in ((rule.protocol,) if rule.protocol else _PROTOCOLS)
        for source in sorted({_network(text) for text in rule.ip_ranges} or set(ANYWHERE))
    ]


def _permission(rule: GroupRule) -> Permission | None:
    """Read a permission about addresses; None for those about groups and lists of prefixes."""
    source = rule.cidr_ipv4 or rule.cidr_ipv6
    if not source:
        return None
    every = rule.ip_protocol == _EVERYTHING
    low, high = (-1, -1) if every else (rule.from_port or 0, rule.to_port or 0)
    return Permission(rule.is_egress, rule.ip_protocol, low, high, source)


def _source(rule: GroupRule) -> str:
    group = str((rule.referenced_group_info or {}).get("GroupId") or "")
    return rule.cidr_ipv4 or rule.cidr_ipv6 or rule.prefix_list_id or group


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


def _covers_ssh(rule: FirewallRule) -> bool:
    return rule.protocol in ("", "tcp") and rule.from_port <= SSH_PORT <= rule.to_port


def _digest(rule: FirewallRule) -> str:
    """Give eight letters for what a rule means, however its ranges are written."""
    ranges = sorted({_plain(text) for text in rule.ip_ranges} or ANYWHERE)
    text = f"{rule.protocol} {rule.from_port}-{rule.to_port} {' '.join(ranges)}"
    return blake2s(text.encode(), digest_size=4).hexdigest()


def _plain(text: str) -> str:
    try:
        return _network(text)
    except ValueError:
        return text  # a group's or a list's id


def _description(permission: Permission, words: set[str]) -> str:
    text = " ".join([_PREFIX, *sorted(words)]) if words else ""
    if len(text) > _LONGEST:
        raise ValueError(
            f"{len(words)} rules open {permission.protocol} {permission.low} to {permission.source}, "
            "which is more than can be told apart: join some of them"
        )
    return text


def _words(rule: GroupRule) -> list[str]:
    prefix, _, rest = (rule.description or "").partition(" ")
    return rest.split() if prefix == _PREFIX else []


def by_group(rules: Iterable[GroupRule]) -> Mapping[str, list[GroupRule]]:
    """Sort permissions by their group."""
    found: dict[str, list[GroupRule]] = {}
    for rule in rules:
        found.setdefault(rule.group_id, []).append(rule)
    return found
