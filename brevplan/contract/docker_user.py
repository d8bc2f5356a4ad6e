"""The script that keeps containers behind a host's firewall.

Docker forwards the ports that it publishes past UFW, so the chain it leaves to the host, DOCKER-USER, has to say the
same as UFW does. What was published is seen after its address was rewritten: rules look at the port that the packet
was first sent to, not at the container's.

Docker keeps what it finds in that chain when it starts, so the script may run before Docker is there; a unit runs it
again at each start of the machine and of Docker, before the first container.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from brevplan.contract.openings import Opening, Openings

BRIDGES: Final = ("docker0", "br+", "cni+", "cali+")
CHAIN: Final = "DOCKER-USER"
OUT_CHAIN: Final = "BREVPLAN-OUT"
UNIT_NAME: Final = "brevplan-docker-user.service"

_DNS: Final = Opening(53, 53)

_HEAD: Final = """\
#!/bin/sh
# brevplan: what containers may receive and send. Run again it leaves the same rules.
set -u
export PATH="$PATH:/usr/sbin:/sbin"
failed=0
four() { iptables -w 30 "$@" || failed=1; }
six() { ip6tables -w 30 "$@" || failed=1; }
both() { four "$@"; six "$@"; }
iptables -w 30 -S >/dev/null 2>&1 || { echo "brevplan: no iptables here, so no containers to keep closed" >&2; exit 0; }
ip6tables -w 30 -S >/dev/null 2>&1 || six() { :; }
"""

UNIT: Final = """\
[Unit]
Description=Firewall rules for containers, kept by brevplan
After=ufw.service
Before=docker.service

[Service]
Type=oneshot
ExecStart=/bin/sh /etc/brevplan/docker-user.sh

[Install]
WantedBy=multi-user.target docker.service
"""


def docker_user_script(rules: Openings) -> str:
    """Write the script; it exits 1 when a rule could not be set, having set all others."""
    lines = [*_chain(CHAIN), *_lines(rules)]
    return _HEAD + "\n".join(lines) + '\nexit "$failed"\n'


def _chain(name: str) -> Iterator[str]:
    # Making the chain comes first: it is not there before Docker's first start, and a flush would fail.
    yield f"iptables -w 30 -N {name} 2>/dev/null || true"
    yield f"ip6tables -w 30 -N {name} 2>/dev/null || true"
    yield f"both -F {name}"


def _lines(rules: Openings) -> Iterator[str]:
    if rules.egress is not None:
        yield from _chain(OUT_CHAIN)
        for opening in (*rules.egress, _DNS):
            yield from _accept(OUT_CHAIN, opening, "-d", "--dport")
        yield f"both -A {OUT_CHAIN} -j DROP"
    outward = "ACCEPT" if rules.egress is None else OUT_CHAIN
    yield f"both -A {CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    for bridge in BRIDGES:
        yield f"both -A {CHAIN} -i {bridge} ! -o {bridge} -j {outward}"
    for bridge in BRIDGES:
        yield f"both -A {CHAIN} -i {bridge} -o {bridge} -j ACCEPT"
    yield f"both -A {CHAIN} -i lo -j ACCEPT"
    for opening in (*rules.ssh, *rules.ingress):
        yield from _accept(CHAIN, opening, "-s", "-m conntrack --ctdir ORIGINAL --ctorigdstport")
    yield f"both -A {CHAIN} -j DROP"
    yield f"both -A {CHAIN} -j RETURN"
    if rules.egress is None:
        for tool in ("iptables", "ip6tables"):
            yield f"{tool} -w 30 -F {OUT_CHAIN} 2>/dev/null && {tool} -w 30 -X {OUT_CHAIN}"


def _accept(chain: str, opening: Opening, side: str, port: str) -> Iterator[str]:
    ports = str(opening.low) if opening.low == opening.high else f"{opening.low}:{opening.high}"
    for protocol in opening.protocols:
        for tool, where in _sources(opening.ranges):
            network = f"{side} {where} " if where else ""
            yield f"{tool} -A {chain} {network}-p {protocol} {port} {ports} -j ACCEPT"


def _sources(ranges: Iterable[str]) -> Iterable[tuple[str, str]]:
    return [("six" if ":" in network else "four", network) for network in ranges] or [("both", "")]
