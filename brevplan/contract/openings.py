"""What a host's own firewall lets through: the contract's rules, checked and in one form, SSH among them.

Everything here ends up in a script that runs as root, so nothing leaves this module unchecked: ports are whole
numbers, ranges are written anew from their parsed form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from typing import Final

from brevplan.contract.model import FirewallRule, FirewallRules

SSH_PORT: Final = 22
PROTOCOLS: Final = ("tcp", "udp")
_WHOLE: Final = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """Ports `low` to `high`, both included. No ranges mean anywhere, by IPv4 and IPv6; an empty protocol both."""

    low: int
    high: int
    protocol: str = ""
    ranges: tuple[str, ...] = ()

    @property
    def protocols(self) -> tuple[str, ...]:
        return (self.protocol,) if self.protocol else PROTOCOLS

    def covers(self, port: int) -> bool:
        """Tell whether this says who may use a TCP port."""
        return "tcp" in self.protocols and self.low <= port <= self.high


@dataclass(frozen=True, slots=True)
class Openings:
    """The rules of one machine. `egress` None: everything out is open."""

    ssh: tuple[Opening, ...]
    """What lets SSH in; never empty."""
    ingress: tuple[Opening, ...]
    """All else that is let in."""
    egress: tuple[Opening, ...] | None

    @property
    def mark(self) -> str:
        """A name of just these rules, of letters and digits."""
        return blake2s(repr((self.ssh, self.ingress, self.egress)).encode(), digest_size=6).hexdigest()


def openings(rules: FirewallRules, ssh_ports: Sequence[int]) -> Openings:
    """Check rules and put them in one form; raise `ValueError` saying what is wrong with the first wrong one.

    Port 22 and each of `ssh_ports` are open to anywhere, unless a rule covers the port: then only as the rules say.
    """
    ingress = _unique(map(_opening, rules.ingress))
    ports = sorted({SSH_PORT, *(_port(port) for port in ssh_ports)})
    covered = [rule for rule in ingress if any(rule.covers(port) for port in ports)]
    free = [Opening(port, port, "tcp") for port in ports if not any(rule.covers(port) for rule in covered)]
    return Openings(
        ssh=(*free, *covered),
        ingress=tuple(rule for rule in ingress if rule not in covered),
        egress=None if rules.egress is None else tuple(_unique(map(_opening, rules.egress))),
    )


def _unique(found: Iterable[Opening]) -> list[Opening]:
    return sorted(set(found))


def _opening(rule: FirewallRule) -> Opening:
    low, high = _port(rule.from_port), _port(rule.to_port)
    if high < low:
        raise ValueError(f"ports {low}-{high}: the lower port comes first")
    if rule.protocol not in ("", *PROTOCOLS):
        raise ValueError(f"{rule.protocol!r} is not a protocol: write tcp, udp, or none for both")
    return Opening(low, high, rule.protocol, _ranges(rule.ip_ranges))


def _port(port: object) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError(f"{port!r} is not a port: a whole number from 1 to 65535 is needed")
    return int(port)


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    found = {_range(text) for text in texts}
    if found >= _WHOLE.keys():
        return ()
    # A firewall that shows "all of IPv4" and "anywhere" by the same words cannot take one back and keep the other.
    return tuple(sorted(part for text in found for part in _WHOLE.get(text, (text,))))


@lru_cache(maxsize=4096)
def _range(text: str) -> str:
    from ipaddress import ip_network  # Here, because it is slow to import and many machines name no range.

    try:
        if "%" in text:
            raise ValueError
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not an address range: write one such as 203.0.113.0/24") from None
