"""The `firewall` kind: judged offline, changed in the state alone."""

from __future__ import annotations

import pytest

from brevplan.engine.address import Address
from brevplan.engine.kind import Effect
from brevplan.kinds.firewall import FirewallKind
from brevplan.lang.values import EMPTY_TUPLE, Object, Tuple, Unknown, Value
from tests.kinds.build import rule

KIND = FirewallKind()
HOME = Address("firewall", "web")


def desired(*ingress: Object, egress: Value = EMPTY_TUPLE, on_inexact: Value = None) -> dict[str, Value]:
    return {"ingress": Tuple(ingress), "egress": egress, "on_inexact": on_inexact}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (desired(), []),
        (desired(rule(from_port=443)), []),
        (desired(rule(from_port=80, to_port=80)), []),
        (desired(rule(from_port=80, to_port=Unknown())), []),
        (desired(rule()), [("ingress[0]", "Missing argument")]),
        (desired(rule(from_port=90, to_port=80)), [("ingress[0]", "Invalid port range")]),
        (desired(rule(peers=True)), []),
        (desired(rule(peers=True, from_port=29500, to_port=29600)), []),
        (desired(rule(peers=True, ip_ranges=Tuple(["10.0.0.0/8"]))), [("ingress[0]", "Two senders")]),
        (desired(rule(peers=True, to_port=80)), [("ingress[0]", "Missing argument")]),
        (desired(egress=Tuple([rule(peers=True)])), [("egress[0]", "Peers are let in")]),
        (desired(rule(from_port=1), rule()), [("ingress[1]", "Missing argument")]),
        (
            desired(rule(), egress=Tuple([rule()])),
            [("ingress[0]", "Missing argument"), ("egress[0]", "Missing argument")],
        ),
    ],
)  # fmt: skip
def test_check(wanted: dict[str, Value], found: list[tuple[str, str]]) -> None:
    assert [(item.attribute, item.summary) for item in KIND.check(wanted, HOME, None)] == found


def test_a_new_firewall_is_known_at_once_and_costs_nothing() -> None:
    after = KIND.plan_create(desired(rule(from_port=443)), HOME, None).after
    assert after["id"] == "firewall.web"
    assert after["ingress"] == Tuple([rule(from_port=443)])
    assert after["egress"] == EMPTY_TUPLE
    assert KIND.hourly_price(after) == 0


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        (desired(rule(from_port=443)), []),
        (desired(rule(from_port=444)), ["ingress"]),
        (desired(), ["ingress"]),
        (desired(rule(from_port=443), egress=Tuple([rule(from_port=53)])), ["egress"]),
        (desired(rule(from_port=443), on_inexact="warn"), ["on_inexact"]),
        (desired(rule(from_port=443), rule(from_port=80)), ["ingress"]),
        (desired(rule(from_port=443, description="x")), ["ingress"]),
    ],
)
def test_every_change_is_made_in_place(wanted: dict[str, Value], changed: list[str]) -> None:
    there = KIND.plan_create(desired(rule(from_port=443)), HOME, None).after
    outcome = KIND.plan_update(wanted, there, HOME, None)
    assert [change.name for change in outcome.changes] == changed
    assert {change.effect for change in outcome.changes} <= {Effect.UPDATE}
    assert KIND.plan_update(wanted, outcome.after, HOME, None).changes == []


def test_no_rules_are_what_was_never_stored() -> None:
    assert KIND.plan_update(desired(), {"id": "firewall.web", "ingress": None}, HOME, None).changes == []


@pytest.mark.parametrize(
    ("block", "name", "value", "good"),
    [
        ("ingress", "protocol", "tcp", True),
        ("ingress", "protocol", "udp", True),
        ("egress", "protocol", "icmp", False),
        ("ingress", "protocol", "TCP", False),
    ],
)
def test_protocols(block: str, name: str, value: Value, good: bool) -> None:
    check = KIND.schema.blocks[block].attributes[name].check
    assert check is not None
    assert (check(value) == "") is good


@pytest.mark.parametrize(("word", "good"), [("error", True), ("warn", True), ("ignore", False)])
def test_on_inexact(word: str, good: bool) -> None:
    check = KIND.schema.attributes["on_inexact"].check
    assert check is not None
    assert (check(word) == "") is good
