"""Firewall rules as a machine has them: lines such as `tcp 443 from anywhere`, easy to read, to compare and to diff."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from brevplan.contract.client import FirewallReach
from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.lang.types import STRING
from brevplan.lang.values import List, Mapping_, Object, Sequence_, Unknown, Value, has_unknown, reveal, reveal_deep

ANYWHERE: Final = "anywhere"
EVERYTHING: Final = frozenset({"0.0.0.0/0", "::/0"})
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SSH_PORT: Final = 22
FIRST_PORT: Final = 1
LAST_PORT: Final = 65535

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
        """Read an `ingress` or `egress` block whose values are known and valid. Among peers every port is open."""
        low, high = block.get("from_port"), block.get("to_port")
        if low is None:
            low, high = FIRST_PORT, LAST_PORT
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

    def inexact(self, direction: str, reach: FirewallReach) -> str:
        """Say why a firewall of this reach cannot enforce the rule exactly; an empty text when it can."""
        if direction == "egress" and not reach.egress:
            return "outgoing connections cannot be restricted"
        if not reach.ipv6 and any(_is_ipv6(text) for text in self.ranges if text not in PRIVATE):
            return "there are no rules for IPv6"
        if not reach.networks and (not self.ranges or not all(_is_single(text) for text in self.ranges)):
            return "only single addresses can be let in, such as 203.0.113.7/32"
        if not reach.ports and not self.opens_every_port:
            return "who is let in reaches every port, as with from_port = 1 and to_port = 65535"
        if self._is_too_wide(reach):
            return f"a rule opens {reach.most_ports} ports at most, or all of them"
        return ""

    def enforced(self, reach: FirewallReach) -> Rule | None:
        """Give what a firewall of this reach makes of the rule; None when that is nothing."""
        left = self.ranges
        if not reach.ipv6:
            left = tuple(text for text in left if not _is_ipv6(text))
        if not reach.networks:
            left = tuple(text for text in left if _is_single(text))
        if self._is_too_wide(reach):
            return None
        if not left and (self.ranges or not reach.networks):
            return None
        return replace(self, ranges=left) if reach.ports else Rule(FIRST_PORT, LAST_PORT, "", left)

    def _is_too_wide(self, reach: FirewallReach) -> bool:
        is_everything = (self.low, self.high) == (FIRST_PORT, LAST_PORT)
        return not is_everything and self.high - self.low >= reach.most_ports

    def contract(self) -> FirewallRule:
        return FirewallRule(from_port=self.low, to_port=self.high, ip_ranges=self.ranges, protocol=self.protocol)

    @property
    def opens_every_port(self) -> bool:
        return (self.low, self.high, self.protocol) == (FIRST_PORT, LAST_PORT, "")

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


WHOLE_REACH: Final = FirewallReach()

Peers = Mapping[str, frozenset[str]]
"""The addresses of the machines that list a firewall, by the firewall's id."""

NO_PEERS: Final[Peers] = {}


def effective(
    firewalls: tuple[Value, ...],
    reach: FirewallReach = WHOLE_REACH,
    peers: Callable[[], Peers] = lambda: NO_PEERS,
    own: frozenset[str] = frozenset(),
) -> Value:
    """Give the rules that a machine listing these firewalls has: theirs, and SSH where none of them covers it.

    `own` are the machine's own addresses, which need no rule.
    """
    if not has_peers(firewalls):
        return _effective(firewalls, reach)
    others = {name: found - own for name, found in peers().items()}
    return _with_peers(firewalls, reach, others)


@lru_cache(maxsize=256)
def _effective(firewalls: tuple[Value, ...], reach: FirewallReach) -> Value:
    return _with_peers(firewalls, reach, NO_PEERS)


def _with_peers(firewalls: tuple[Value, ...], reach: FirewallReach, peers: Peers) -> Value:
    ingress: set[Rule] = set()
    egress: set[Rule] = set()
    among: set[Rule] = set()
    for firewall in firewalls:
        value = reveal(firewall)
        if not isinstance(value, Mapping_) or has_unknown(value):
            return Unknown(because="firewalls")
        ingress.update(_declared(value, "ingress"))
        egress.update(_declared(value, "egress"))
        among.update(_among_peers(value, peers))
    restricts = bool(egress) and reach.egress
    # what lets peers in everywhere says nothing of who may log in: else a cluster would shut its owner out
    if not any(rule.covers_ssh for rule in ingress):
        ingress.add(SSH)
    ingress |= among
    return _object(_listed(_enforced(ingress, reach), reach), _enforced(egress, reach) if restricts else None)


def _enforced(rules: Iterable[Rule], reach: FirewallReach) -> list[Rule]:
    kept = (rule.enforced(reach) for rule in rules)
    return [rule for rule in kept if rule is not None]


def _listed(rules: list[Rule], reach: FirewallReach) -> list[Rule]:
    """Give one rule for all, where a firewall is a list of addresses: that is how it is read back."""
    if reach.ports or reach.networks:
        return rules
    ranges = _normal({*reach.always, *(text for rule in rules for text in rule.ranges)})
    return [Rule(FIRST_PORT, LAST_PORT, "", ranges)] if ranges else []


def has_peers(firewalls: tuple[Value, ...]) -> bool:
    """Tell whether a rule of these firewalls is about the machines that list them."""
    return bool(followed(firewalls))


@lru_cache(maxsize=256)
def followed(firewalls: tuple[Value, ...]) -> frozenset[str]:
    """Give the ids of those firewalls with a rule that is about the machines that list them."""
    return frozenset(
        str(found.items["id"])
        for found in map(reveal, firewalls)
        if isinstance(found, Mapping_) and any(map(_is_among_peers, _blocks(found, "ingress")))
    )


def names_somebody(rules: Value) -> bool:
    """Tell whether effective rules let in somebody by an address; what is not known yet may."""
    if has_unknown(rules):
        return True
    return any(rule.ip_ranges for rule in to_contract(rules).ingress)


def inexact_rules(firewall: Value, reach: FirewallReach) -> list[tuple[str, str]]:
    """Give the rules of a firewall that cannot be enforced exactly, as `ingress[0]`, each with the reason."""
    if has_unknown(firewall):
        return []
    found = []
    for direction in ("ingress", "egress"):
        for position, block in enumerate(_blocks(firewall, direction)):
            rule = Rule.declared(block)
            # the addresses of peers are single ones, whatever they are
            is_exact = _is_among_peers(block) and (reach.ports or rule.opens_every_port)
            reason = "" if is_exact else rule.inexact(direction, reach)
            if reason:
                found.append((f"{direction}[{position}]", reason))
    return found


def _declared(firewall: Mapping_, name: str) -> list[Rule]:
    return [Rule.declared(block) for block in _blocks(firewall, name) if not _is_among_peers(block)]


def _among_peers(firewall: Mapping_, peers: Peers) -> list[Rule]:
    others = [text for text in peers.get(str(firewall.items.get("id")), ()) if _is_address(text)]
    among = [Rule.declared(block) for block in _blocks(firewall, "ingress") if others and _is_among_peers(block)]
    return [replace(rule, ranges=_normal(others)) for rule in among]


def _is_among_peers(block: Mapping[str, Value]) -> bool:
    return reveal(block.get("peers")) is True


def _blocks(firewall: Value | Mapping_, name: str) -> list[Mapping[str, Value]]:
    value = firewall if isinstance(firewall, Mapping_) else reveal(firewall)
    blocks = reveal(value.items.get(name)) if isinstance(value, Mapping_) else None
    bare = [reveal_deep(block) for block in (blocks.items if isinstance(blocks, Sequence_) else ())]
    return [block.items for block in bare if isinstance(block, Mapping_)]


def _is_ipv6(text: str) -> bool:
    return ":" in text


def _is_address(text: str) -> bool:
    """Tell an address from a name: some clouds give a name in its place, and a rule cannot be about one."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_single(text: str) -> bool:
    return text.endswith("/128" if _is_ipv6(text) else "/32")


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
