"""Firewall rules as attributes: the form that plans show and compare, and its way to the contract and back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final

from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Mapping_, Object, Sequence_, Tuple, Unknown, Value, has_unknown, reveal

ANYWHERE: Final = ("0.0.0.0/0", "::/0")
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SSH_PORT: Final = 22


def expand_ranges(value: Value) -> tuple[str, ...]:
    """Give the address ranges of a rule, `private` spelled out, none at all meaning anywhere; sorted."""
    value = reveal(value)
    if value is None:
        return ANYWHERE
    texts = [value] if isinstance(value, str) else [item for item in value.items if isinstance(item, str)]  # type: ignore[union-attr]
    found: list[str] = []
    for text in texts:
        found.extend(PRIVATE if text == "private" else (str(ipaddress.ip_network(text, strict=False)),))
    return tuple(sorted(set(found))) or ANYWHERE


def wrong_ranges(value: Value) -> str:
    """Say what is wrong with the `ip_ranges` of a rule; an empty text when nothing is."""
    if isinstance(value, str):
        texts: list[Value] = [value]
    elif isinstance(value, Sequence_):
        texts = list(value.items)
    else:
        return 'a list of CIDR ranges is needed, or "private"'
    for text in texts:
        if not isinstance(text, str):
            return "a list of texts is needed"
        if text == "private":
            continue
        try:
            ipaddress.ip_network(text, strict=True)
        except ValueError as problem:
            return f'"{text}" is not an address range: {_plain(problem, text)}'
    return ""


def _plain(problem: ValueError, text: str) -> str:
    if "host bits" in str(problem):
        return f"it has host bits set; write {ipaddress.ip_network(text, strict=False)}"
    return "write one such as 203.0.113.0/24 or 2001:db8::/32"


def wrong_port(value: Value) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        return "a port is a whole number from 1 to 65535"
    return ""


def rule_object(rule: Mapping[str, Value]) -> Object:
    """Give a rule in the one form that is compared: every field there, ranges spelled out."""
    from_port = rule.get("from_port")
    to_port = rule.get("to_port")
    ranges = rule.get("ip_ranges")
    return Object(
        {
            "protocol": rule.get("protocol") or "",
            "from_port": from_port,
            "to_port": from_port if to_port is None else to_port,
            "ip_ranges": ranges if has_unknown(ranges) else List(expand_ranges(ranges), STRING),
        }
    )


def effective(firewalls: Iterable[Value]) -> Value:
    """Give the rules that a machine listing these firewalls has: theirs, and SSH where none of them covers it."""
    ingress: list[Value] = []
    egress: list[Value] = []
    limited = False
    for firewall in firewalls:
        value = reveal(firewall)
        if not isinstance(value, Mapping_):
            return Unknown(because="firewalls")
        for name, target in (("ingress", ingress), ("egress", egress)):
            rules = reveal(value.items.get(name))
            if isinstance(rules, Unknown):
                return Unknown(because="firewalls")
            for rule in rules.items if isinstance(rules, Sequence_) else ():
                if isinstance(rule, Mapping_):
                    target.append(rule_object(rule.items))
                    limited = limited or name == "egress"
    if not any(_covers_ssh(rule) for rule in ingress):
        ingress.append(ssh_rule())
    return Object({"ingress": Tuple(_ordered(ingress)), "egress": Tuple(_ordered(egress)) if limited else None})


def ssh_rule() -> Object:
    return rule_object({"protocol": "tcp", "from_port": SSH_PORT, "to_port": SSH_PORT})


def _covers_ssh(rule: Value) -> bool:
    assert isinstance(rule, Object)
    low, high = rule["from_port"], rule["to_port"]
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    return rule["protocol"] in ("", "tcp") and low <= SSH_PORT <= high


def _ordered(rules: list[Value]) -> list[Value]:
    unique: dict[str, Value] = {}
    for rule in rules:
        unique.setdefault(repr(rule), rule)
    return sorted(unique.values(), key=_rule_order)


def _rule_order(rule: Value) -> tuple[str, ...]:
    assert isinstance(rule, Object)
    low, high = rule["from_port"], rule["to_port"]
    numbers = tuple(f"{port:05d}" if isinstance(port, int) else "~" for port in (low, high))
    return (*numbers, str(rule["protocol"]), repr(rule["ip_ranges"]))


def to_contract(value: Value) -> FirewallRules:
    """Give known rules in the contract's form."""
    value = reveal(value)
    if not isinstance(value, Mapping_):
        return FirewallRules(ingress=(FirewallRule(from_port=SSH_PORT, to_port=SSH_PORT, protocol="tcp"),))
    egress = value.items.get("egress")
    return FirewallRules(
        ingress=tuple(map(_contract_rule, _items(value.items.get("ingress")))),
        egress=tuple(map(_contract_rule, _items(egress))) if egress is not None else None,
    )


def _items(value: Value) -> tuple[Value, ...]:
    return value.items if isinstance(value, Sequence_) else ()


def _contract_rule(rule: Value) -> FirewallRule:
    assert isinstance(rule, Mapping_)
    ranges = tuple(str(item) for item in _items(rule.items["ip_ranges"]))
    from_port, to_port = rule.items["from_port"], rule.items["to_port"]
    assert isinstance(from_port, int)
    assert isinstance(to_port, int)
    return FirewallRule(
        from_port=from_port,
        to_port=to_port,
        ip_ranges=() if ranges == ANYWHERE else ranges,
        protocol=str(rule.items["protocol"] or ""),
    )


def from_contract(rules: FirewallRules) -> Object:
    """Give the rules that a provider reports in the form that is compared."""
    return Object(
        {
            "ingress": Tuple(_ordered([_observed_rule(rule) for rule in rules.ingress])),
            "egress": Tuple(_ordered([_observed_rule(rule) for rule in rules.egress]))
            if rules.egress is not None
            else None,
        }
    )


def _observed_rule(rule: FirewallRule) -> Object:
    return rule_object(
        {
            "protocol": rule.protocol,
            "from_port": rule.from_port,
            "to_port": rule.to_port,
            "ip_ranges": List(rule.ip_ranges, STRING) if rule.ip_ranges else None,
        }
    )
