"""Firewall rules: normal form, SSH, private ranges, and the way to the contract and back."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brevplan.contract.client import FirewallReach
from brevplan.contract.model import FirewallRule, FirewallRules
from brevplan.kinds.rules import (
    PRIVATE,
    SSH,
    Rule,
    effective,
    expand_ranges,
    from_contract,
    inexact_rules,
    names_somebody,
    to_contract,
    wrong_port,
    wrong_ranges,
)
from brevplan.lang.values import Mapping_, Object, Secret, Sequence_, Tuple, Unknown, Value
from tests.kinds.build import firewall, rule

NETWORKS = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
) | st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.integers(2**64, 2**128 - 1),
    st.integers(0, 128),
)
PORTS = st.lists(st.integers(1, 65535), min_size=2, max_size=2).map(sorted)
BLOCKS = st.builds(
    lambda ports, ranges, protocol: rule(
        from_port=ports[0], to_port=ports[1], ip_ranges=Tuple(ranges) if ranges else None, protocol=protocol
    ),
    PORTS, st.lists(NETWORKS, max_size=3), st.sampled_from([None, "tcp", "udp"]),
)  # fmt: skip
FIREWALLS = st.builds(
    lambda ingress, egress: firewall(*ingress, egress=egress),
    st.lists(BLOCKS, max_size=3), st.lists(BLOCKS, max_size=2),
)  # fmt: skip


def lines(value: Value, side: str = "ingress") -> list[Value] | None:
    assert isinstance(value, Mapping_)
    found = value.items[side]
    return list(found.items) if isinstance(found, Sequence_) else None


@given(BLOCKS, st.sampled_from(["from", "to"]))
def test_a_line_is_read_back(block: Object, direction: str) -> None:
    declared = Rule.declared(block.items)
    assert Rule.parse(declared.line(direction)) == declared


@given(st.lists(FIREWALLS, max_size=3))
def test_rules_come_back_from_the_contract_as_they_went(firewalls: list[Object]) -> None:
    rules = effective(tuple(firewalls))
    assert from_contract(to_contract(rules)) == rules


@given(st.lists(FIREWALLS, max_size=3))
def test_the_order_of_firewalls_does_not_count(firewalls: list[Object]) -> None:
    rules = effective(tuple(firewalls))
    assert effective(tuple(reversed(firewalls))) == rules
    assert effective((*firewalls, *firewalls)) == rules


@given(st.lists(FIREWALLS, max_size=3))
def test_ssh_always_has_a_rule(firewalls: list[Object]) -> None:
    contract = to_contract(effective(tuple(firewalls)))
    assert any(item.protocol in ("", "tcp") and item.from_port <= 22 <= item.to_port for item in contract.ingress)


@pytest.mark.parametrize(
    ("block", "covered"),
    [
        (rule(from_port=22), True),
        (rule(from_port=22, protocol="tcp", ip_ranges=Tuple(["10.0.0.0/8"])), True),
        (rule(from_port=1, to_port=65535), True),
        (rule(from_port=20, to_port=22), True),
        (rule(from_port=22, protocol="udp"), False),
        (rule(from_port=23), False),
        (rule(from_port=1, to_port=21), False),
        (rule(from_port=443), False),
    ],
)
def test_ssh_is_added_only_where_nothing_covers_it(block: Object, covered: bool) -> None:
    found = lines(effective((firewall(block),)))
    assert found is not None
    assert (SSH.line("from") in found) is not covered
    assert len(found) == (1 if covered else 2)


def test_no_firewall_leaves_ssh_alone_open() -> None:
    assert lines(effective(())) == ["tcp 22 from anywhere"]
    assert lines(effective(()), "egress") is None
    assert to_contract(None) == FirewallRules(ingress=(SSH.contract(),))


def test_egress_is_open_until_a_rule_is_there() -> None:
    assert lines(effective((firewall(),)), "egress") is None
    assert lines(effective((firewall(), firewall(egress=[rule(from_port=53)]))), "egress") == ["tcp+udp 53 to anywhere"]
    assert to_contract(from_contract(FirewallRules(egress=()))).egress == ()
    assert to_contract(from_contract(FirewallRules())).egress is None


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (None, ()),
        ("private", tuple(sorted(PRIVATE))),
        (Tuple(["private"]), tuple(sorted(PRIVATE))),
        (Tuple(["private", "203.0.113.0/24"]), tuple(sorted([*PRIVATE, "203.0.113.0/24"]))),
        (Tuple(["0.0.0.0/0", "::/0"]), ()),
        (Tuple(["0.0.0.0/0", "::/0", "10.0.0.0/8"]), ()),
        (Tuple(["0.0.0.0/0"]), ("0.0.0.0/0",)),
        (Tuple(["::/0"]), ("::/0",)),
        (Tuple(["b::/16", "10.0.0.0/8", "10.0.0.0/8"]), ("10.0.0.0/8", "b::/16")),
        ("203.0.113.7/32", ("203.0.113.7/32",)),
        ("203.0.113.7", ("203.0.113.7/32",)),
        (Tuple(["2001:DB8:0::/32"]), ("2001:db8::/32",)),
        (Secret(Tuple([Secret("10.0.0.0/8")])), ("10.0.0.0/8",)),
    ],
)
def test_ranges_in_normal_form(given: Value, normal: tuple[str, ...]) -> None:
    assert expand_ranges(given) == normal


def test_what_a_cloud_reports_is_put_into_normal_form() -> None:
    reported = FirewallRule(from_port=80, to_port=80, ip_ranges=("::/0", "0.0.0.0/0"), id="x", description="y")
    assert lines(from_contract(FirewallRules(ingress=(reported,)))) == ["tcp+udp 80 from anywhere"]


def test_rules_wait_for_what_is_not_known() -> None:
    assert isinstance(effective((firewall(rule(from_port=Unknown())),)), Unknown)
    assert isinstance(effective((Unknown(),)), Unknown)


@pytest.mark.parametrize("line", ["", "22", "icmp 22 from anywhere", "tcp x from anywhere", "tcp 22 anywhere"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is not a firewall rule"):
        Rule.parse(line)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("private", ""),
        ("10.0.0.0/8", ""),
        (Tuple(["10.0.0.0/8", "2001:db8::/32", "private", "203.0.113.7"]), ""),
        (5, 'a list of CIDR ranges is needed, or "private"'),
        (Object({}), "a list of CIDR"),
        (Tuple([5]), "a list of texts"),
        (Tuple([None]), "a list of texts"),
        ("10.0.0.1/8", "host bits set; write 10.0.0.0/8"),
        ("10.0.0.0/33", "is not an address range: write one such as"),
        ("10.0.0", "is not an address range"),
        ("", "is not an address range"),
        ("public", "is not an address range"),
        (Tuple(["10.0.0.0/8", "nonsense"]), '"nonsense" is not an address range'),
    ],
)
def test_wrong_ranges(value: Value, says: str) -> None:
    found = wrong_ranges(value)
    assert says in found
    assert bool(found) is bool(says)


@pytest.mark.parametrize(("value", "good"), [(1, True), (65535, True), (0, False), (65536, False), (-1, False),
                                             (True, False), ("22", False), (22.5, False)])  # fmt: skip
def test_wrong_port(value: Value, good: bool) -> None:
    assert (wrong_port(value) == "") is good


@pytest.mark.parametrize(
    ("low", "high", "is_exact"), [(80, 80, True), (8000, 8063, True), (8000, 8064, False), (1, 65535, True)]
)
def test_a_range_wider_than_a_provider_takes_is_inexact_unless_it_is_every_port(
    low: int, high: int, is_exact: bool
) -> None:
    reach = FirewallReach(most_ports=64)
    found = Rule(low, high, "tcp")
    assert (found.inexact("ingress", reach) == "") is is_exact
    assert found.enforced(reach) == (found if is_exact else None)
    assert found.inexact("ingress", FirewallReach()) == ""


# Clouds that know whole addresses only


ALLOWLIST = FirewallReach(ports=False, egress=False, networks=False)
ONE = Tuple(["203.0.113.7/32"])


@pytest.mark.parametrize(
    ("block", "reason"),
    [(rule(from_port=1, to_port=65535, ip_ranges=ONE), ""),
     (rule(from_port=1, to_port=65535, ip_ranges=Tuple(["2001:db8::7/128"])), ""),
     (rule(from_port=1, to_port=65535, ip_ranges=ONE, protocol="tcp"), "every port"),
     (rule(from_port=443, ip_ranges=ONE), "every port"),
     (rule(from_port=1, to_port=65535), "single addresses"),
     (rule(from_port=1, to_port=65535, ip_ranges=Tuple(["203.0.113.0/24"])), "single addresses")],
)  # fmt: skip
def test_where_ports_are_not_told_apart_only_a_rule_for_every_port_is_exact(block: Object, reason: str) -> None:
    found = inexact_rules(firewall(block), ALLOWLIST)
    assert [where for where, _ in found] == (["ingress[0]"] if reason else [])
    assert all(reason in text for _, text in found)


@pytest.mark.parametrize(
    ("blocks", "shown"),
    [([], []),
     ([rule(from_port=443, ip_ranges=ONE)], ["tcp+udp 1-65535 from 203.0.113.7/32"]),
     ([rule(from_port=443)], []),
     ([rule(from_port=443, ip_ranges=Tuple(["203.0.113.7/32", "10.0.0.0/8"]))],
      ["tcp+udp 1-65535 from 203.0.113.7/32"])],
    ids=["none", "one", "anywhere", "some"],
)  # fmt: skip
def test_what_is_shown_is_what_a_list_of_addresses_makes_of_rules(blocks: list[Object], shown: list[str]) -> None:
    value = effective((firewall(*blocks),), ALLOWLIST)
    assert lines(value) == shown
    assert names_somebody(value) == bool(shown)


def test_a_list_of_addresses_is_one_rule_with_what_the_block_lets_in() -> None:
    reach = replace(ALLOWLIST, always=("198.51.100.7/32", "203.0.113.7/32"))
    one = firewall(rule(from_port=443, ip_ranges=ONE), rule(from_port=80, ip_ranges=Tuple(["203.0.113.8/32"])))
    among = firewall(rule(peers=True))
    assert lines(effective((), reach)) == ["tcp+udp 1-65535 from 198.51.100.7/32, 203.0.113.7/32"]
    shown = ["tcp+udp 1-65535 from 198.51.100.7/32, 203.0.113.7/32, 203.0.113.8/32"]
    assert lines(effective((one,), reach)) == shown
    assert lines(effective((among,), reach, lambda: {"firewall.w": frozenset({"203.0.113.8"})})) == shown


def test_rules_that_are_not_known_yet_may_name_somebody() -> None:
    assert names_somebody(Unknown(because="firewalls"))


def test_the_name_of_a_peer_is_no_address_that_a_rule_can_be_about() -> None:
    among = firewall(rule(peers=True))
    shown = effective((among,), peers=lambda: {"firewall.w": frozenset({"lab.example.net", "203.0.113.7"})})
    assert lines(shown) == ["tcp+udp 1-65535 from 203.0.113.7/32", "tcp 22 from anywhere"]
    alone = effective((among,), peers=lambda: {"firewall.w": frozenset({"lab.example.net"})})
    assert lines(alone) == ["tcp 22 from anywhere"]
