"""Firewall rules as a machine has them: lines such as `tcp 443 from anywhere`, easy to read, to compare and to diff."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Mapping_, Object, Sequence_, Unknown, Value, has_unknown, reveal, reveal_deep

ANYWHERE: Final = "anywhere"
EVERYTHING: Final = frozenset({"0.0.0.0/0", "::/0"})
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SSH_PORT: Final = 22

_LINE: Final = re.compile(r"(tcp\+udp|tcp|udp) (\d+)(?:-(\d+))? (?:from|to) (.+)\Z")


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Ports `low` to `high`, both included, for one direction. No ranges mean anywhere; an empty protocol both."""

    low: int
    high: int
    protocol: str = ""
    ranges: tuple[str, ...] = ()

    @classmethod
    def declared(cls, block: Mapping[str, Value]) -> Rule:
        """Read an `ingress` or `egress` block whose values are known and valid."""
        low = block["from_port"]
        high = block.get("to_port")
        assert isinstance(low, int)
        return cls(
            low,
            high if isinstance(high, int) else low,
            str(block.get("protocol") or ""),
            expand_ranges(block.get("ip_ranges")),
        )

    @classmethod
    def parse(cls, line: str) -> Rule:
        """Read what `line` wrote; raise `ValueError` for anything else."""
        found = _LINE.match(line)
        if found is None:
            raise ValueError(f'"{line}" is not a firewall rule')
        ranges = () if found[4] == ANYWHERE else tuple(found[4].split(", "))
        low = int(found[2])
        return cls(low, int(found[3] or low), "" if "+" in found[1] else found[1], ranges)

    @classmethod
    def observed(cls, rule: FirewallRule) -> Rule:
        return cls(rule.from_port, rule.to_port, rule.protocol, _normal(rule.ip_ranges))

    def line(self, direction: str) -> str:
        """Write the rule; `direction` is `from` for ingress and `to` for egress."""
        ports = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return f"{self.protocol or 'tcp+udp'} {ports} {direction} {', '.join(self.ranges) or ANYWHERE}"

    def contract(self) -> FirewallRule:
        return FirewallRule(from_port=self.low, to_port=self.high, ip_ranges=self.ranges, protocol=self.protocol)

    @property
    def covers_ssh(self) -> bool:
        return self.protocol in ("", "tcp") and self.low <= SSH_PORT <= self.high


SSH: Final = Rule(SSH_PORT, SSH_PORT, "tcp")


def expand_ranges(value: Value) -> tuple[str, ...]:
    """Give the address ranges of a rule, `private` spelled out; none at all for anywhere."""
    value = reveal_deep(value)
    texts = [value] if isinstance(value, str) else list(value.items) if isinstance(value, Sequence_) else []
    found: list[str] = []
    for text in texts:
        found.extend(PRIVATE if text == "private" else (str(text),))
    return _normal(found)


def _normal(ranges: Iterable[str]) -> tuple[str, ...]:
    plain = {str(ipaddress.ip_network(text, strict=False)) for text in ranges}
    return () if plain >= EVERYTHING else tuple(sorted(plain))


def wrong_ranges(value: Value) -> str:
    """Say what is wrong with the `ip_ranges` of a rule; an empty text when nothing is."""
    if isinstance(value, str):
        texts: list[Value] = [value]
    elif isinstance(value, Sequence_):
        texts = list(value.items)
    else:
        return 'a list of CIDR ranges is needed, or "private"'
    if not texts:
        return "an empty list lets nobody in; leave the rule out, or the argument for anywhere"
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


@lru_cache(maxsize=256)
def effective(firewalls: tuple[Value, ...]) -> Value:
    """Give the rules that a machine listing these firewalls has: theirs, and SSH where none of them covers it."""
    ingress: set[Rule] = set()
    egress: set[Rule] = set()
    for firewall in firewalls:
        value = reveal(firewall)
        if not isinstance(value, Mapping_) or has_unknown(value):
            return Unknown(because="firewalls")
        ingress.update(_declared(value, "ingress"))
        egress.update(_declared(value, "egress"))
    if not any(rule.covers_ssh for rule in ingress):
        ingress.add(SSH)
    return _object(ingress, egress or None)


def _declared(firewall: Mapping_, name: str) -> Iterable[Rule]:
    blocks = reveal(firewall.items.get(name))
    for block in blocks.items if isinstance(blocks, Sequence_) else ():
        bare = reveal_deep(block)
        if isinstance(bare, Mapping_):
            yield Rule.declared(bare.items)


def _object(ingress: Iterable[Rule], egress: Iterable[Rule] | None) -> Object:
    return _shared(tuple(sorted(ingress)), tuple(sorted(egress)) if egress is not None else None)


@lru_cache(maxsize=1024)
def _shared(ingress: tuple[Rule, ...], egress: tuple[Rule, ...] | None) -> Object:
    """Give one object for the same rules wherever they come from, so that most comparisons end at a glance."""
    return Object(
        {
            "ingress": List([rule.line("from") for rule in ingress], STRING),
            "egress": List([rule.line("to") for rule in egress], STRING) if egress is not None else None,
        }
    )


def to_contract(value: Value) -> FirewallRules:
    """Give known rules in the contract's form; none at all leave SSH open."""
    bare = reveal_deep(value)
    if not isinstance(bare, Mapping_):
        return FirewallRules(ingress=(SSH.contract(),))
    egress = bare.items.get("egress")
    return FirewallRules(
        ingress=_rules(bare.items.get("ingress")), egress=_rules(egress) if egress is not None else None
    )


def _rules(lines: Value) -> tuple[FirewallRule, ...]:
    return tuple(Rule.parse(str(line)).contract() for line in (lines.items if isinstance(lines, Sequence_) else ()))


@lru_cache(maxsize=1024)
def from_contract(rules: FirewallRules) -> Object:
    """Give the rules that a provider reports in the form that is compared."""
    return _object(
        map(Rule.observed, rules.ingress), map(Rule.observed, rules.egress) if rules.egress is not None else None
    )
